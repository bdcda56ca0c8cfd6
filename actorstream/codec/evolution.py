"""Values that outlive their class: which schema stored bytes have, and how those of each are read today.

    known schemas of a state, from its manifest          bytes                 read by
      0  version 1  Order(id, amount)                    82 a2 69 64 ...       upgrade (upgrade.py), or as they are
      1  version 1  Order(id, amount, currency = ...)    c1 00 01 | 83 ...     as they are
      2  version 2  Order(id, cents)      the newest     c1 00 02 | 82 ...     the typed codec

The first schema's bytes have no header: a state that never changed costs nothing. MessagePack never uses
the byte c1, so a header is not mistaken for a value. A schema is never rewritten in place: layers are immutable, and
compaction copies bytes, so every schema stays known, with a reader of its own; old values are upgraded
when they are read, and written with the newest schema when they are changed.

Of an older version: migrate[v] gets the plain value (plain.py) of version v. Where migrate[v + 1] is there too, that
gets what it gave, and so on; what the last one gives is a value of the declared type, or a plain one of its schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from actorstream.codec.contract import Schema
from actorstream.codec.documents import Int64, Number16  # noqa: TC001  (documents are read by it)
from actorstream.codec.plain import plain_codec
from actorstream.codec.schema import kind_of, spoken
from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.codec.upgrade import names_in, upgrade
from actorstream.codec.widening import DifferenceError
from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorstream.codec.contract import Codec

Reader: TypeAlias = Callable[[bytes], Any]

_MARK: Final = b"\xc1"
_HEADER_BYTES: Final = 3
SCHEMAS_MAX: Final = 65_536

_pack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
_unpack: Callable[[bytes], object] = msgspec.msgpack.Decoder().decode
_ERRORS: Final = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class KnownSchema:
    """A schema of which bytes may be stored, under the number that stands before them."""

    number: Number16
    version: Int64
    fingerprint: str
    shape: object

    @property
    def schema(self) -> Schema:
        """Give the schema alone."""
        return Schema(self.fingerprint, self.shape)


@dataclass(frozen=True)
class Evolution:
    """What a declaration says of values that were written before it.

    Attributes:
        version: Of the declared type; grows where old values must go through a function.
        migrate: For each older version what makes newer values of its plain ones.
        rename: From the old names of fields, and of classes in unions, to the new ones.
        each: The values are lists, and `migrate` takes their elements.
    """

    version: int = 1
    migrate: Mapping[int, Callable[[Any], Any]] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    each: bool = False

    def problem(self, schema: Schema | None = None) -> str | None:
        """Say what is wrong with it, for values of `schema` where that is known; None if nothing is."""
        if not _is_whole(self.version) or self.version < 1:
            return f"version={self.version!r}: versions are whole numbers from 1 on"
        for version, function in self.migrate.items():
            if not _is_whole(version) or not 1 <= version < self.version:
                return (
                    f"migrate={{{version!r}: ...}} with version={self.version}: it has one function for each older "
                    f"version, from 1 to {self.version - 1}"
                )
            if not callable(function):
                return f"migrate={{{version}: {function!r:.50}}}: a function of the stored value was expected"
        return None if schema is None else self._wrong_name(schema)

    def _wrong_name(self, schema: Schema) -> str | None:
        names = names_in(schema.shape)
        for old, new in self.rename.items():
            if new not in names and new not in self.rename:
                return (
                    f"rename={{{old!r}: {new!r}}}: {spoken(schema.shape, fields=True)} has no {new!r}; "
                    "rename goes from the old name to the new one"
                )
        return None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


AS_DECLARED: Final = Evolution()
"""Of what has no declaration in which it could be said: the accumulator of a fold, say."""


class Evolved(NamedTuple):
    """A codec for values of several schemas, the schema that it writes, and all others that it reads."""

    codec: Codec[Any]
    own: KnownSchema
    others: tuple[KnownSchema, ...]


def header_of(number: int) -> bytes:
    """Give what stands before the bytes of a schema: nothing before those of number 0.

    Raises:
        CodecError: No schema has this number.
    """
    if not 0 <= number < SCHEMAS_MAX:
        raise CodecError(
            f"a stored schema has number {number}, expected 0 to {SCHEMAS_MAX - 1}: what lists it is damaged, or was "
            "made by somebody else"
        )
    return _MARK + number.to_bytes(2) if number else b""


def split_header(data: bytes) -> tuple[int, bytes]:
    """Give the number of the schema of stored bytes, and the bytes behind the header."""
    if data[:1] != _MARK:
        return 0, data
    return int.from_bytes(data[1:_HEADER_BYTES]), data[_HEADER_BYTES:]


class EvolvedCodec:
    """Writes the newest schema, and reads all that are known.

    Attributes:
        schema: The newest.
        header: What it puts before the bytes.
        bare: Gives the bytes without the header: whoever puts something before them anyway puts the header there.
    """

    def __init__(
        self, newest: Codec[Any], number: int, readers: Mapping[int, Reader], learn: Callable[[int], Reader]
    ) -> None:
        """Take the newest schema's codec and number, readers by number, and what gives a reader that is missing."""
        self.schema = newest.schema
        self.header = header_of(number)
        self.bare: Callable[[Any], bytes] = newest.encode
        self._newest: Reader = newest.decode
        self._readers = {header_of(each): reader for each, reader in readers.items()}
        self._first = self._readers.get(b"", newest.decode)
        self._learn = learn

    def encode(self, value: Any, /) -> bytes:  # noqa: ANN401  (whatever the type is)
        """Give header and bytes; CodecError as the newest schema's codec."""
        return self.header + self.bare(value)

    def decode(self, data: bytes, /) -> Any:  # noqa: ANN401  (whatever the type is)
        """Give the value back, as one of the newest schema.

        Raises:
            CodecError: It is damaged, of an unknown schema, or cannot be upgraded.
        """
        if data[:1] != _MARK:
            return self._first(data)
        header = data[:_HEADER_BYTES]
        if header == self.header:
            return self._newest(data[_HEADER_BYTES:])
        reader = self._readers.get(header)
        if reader is None:
            reader = self._readers[header] = self._learn(split_header(data)[0])
        return reader(data[_HEADER_BYTES:])


def evolve(codec: Codec[Any], evolution: Evolution, known: Iterable[KnownSchema]) -> Evolved:
    """Give the codec that reads values of all known schemas and writes those of `codec`.

    Raises:
        SchemaRefusedError: Values of one cannot be read; says which, the difference and the remedy.
    """
    schemas = {each.number: each for each in known}
    same = [
        each
        for each in schemas.values()
        if (each.version, each.fingerprint) == (evolution.version, codec.schema.fingerprint)
    ]
    number = same[0].number if same else max(schemas, default=-1) + 1
    if number >= SCHEMAS_MAX:
        raise CodecError(f"{SCHEMAS_MAX:,} schemas were declared one after the other, and there is room for no more")
    own = KnownSchema(number, evolution.version, codec.schema.fingerprint, codec.schema.shape)
    others = tuple(each for each in schemas.values() if each.number != number)
    # The newest is asked first: where the program is too old, that is what should be said.
    newest_first = sorted(others, key=lambda each: (each.version, each.number), reverse=True)
    readers = {each.number: reader_of(each, codec, evolution) for each in newest_first}
    if not readers:
        return Evolved(codec, own, others)
    return Evolved(EvolvedCodec(codec, number, {**readers, number: codec.decode}, _unknown), own, others)


class SchemaRefusedError(DifferenceError):
    """Values of a known schema cannot be read as the declared type. The message says it all, but for whose they are."""


def reader_of(old: KnownSchema, codec: Codec[Any], evolution: Evolution) -> Reader:
    """Give what reads bytes of `old`, without their header, as values of `codec`'s type.

    Raises:
        SchemaRefusedError: There is no such way.
    """
    try:
        if old.version > evolution.version:
            raise DifferenceError(
                f"version {old.version} was stored, and version {evolution.version} is declared",
                f"start the program that declares version {old.version}: no older one can read what it wrote",
            )
        if old.version < evolution.version:
            return _migrating(old, codec, evolution)
        step = upgrade(old.schema, codec.schema, evolution.rename)
    except DifferenceError as error:
        declared = f"{spoken(codec.schema.shape, fields=True)} (version {evolution.version})"
        following = old.version + 1
        remedy = error.remedy or "keep the type"
        if old.version == evolution.version and evolution is not AS_DECLARED:
            remedy += (
                f", or say version={following} and migrate={{{old.version}: ...}} with a function of the old value"
            )
        raise SchemaRefusedError(
            f"{error}; stored was {spoken(old.shape, fields=True)} (version {old.version}), declared is {declared}: "
            f"{remedy}",
            remedy,
        ) from error
    if old.shape == "any" != codec.schema.shape:
        # Alone an `object` is written as it is; within another type as bytes of that.
        return _upgrading(step or _same, codec, bytes)
    return codec.decode if step is None else _upgrading(step, codec)


def _same(raw: object) -> object:
    return raw


def _raw(data: bytes) -> object:
    raw = _unpack(data)
    return SELF_DESCRIBING.decode(data) if isinstance(raw, msgspec.msgpack.Ext) else raw


def _upgrading(step: Callable[[Any], Any], codec: Codec[Any], unpack: Callable[[bytes], object] = _raw) -> Reader:
    decode = codec.decode

    def read(data: bytes) -> object:
        try:
            upgraded = _pack(step(unpack(data)))
        except _ERRORS as error:
            raise CodecError(f"{len(data)} bytes are not what their schema says: {error}") from error
        return decode(upgraded)

    return read


def _migrating(old: KnownSchema, codec: Codec[Any], evolution: Evolution) -> Reader:
    version = old.version
    functions: list[Callable[[Any], Any]] = []
    while (function := evolution.migrate.get(version)) is not None:
        functions.append(function)
        version += 1
    if not functions:
        raise DifferenceError(
            f"version {old.version} was stored, version {evolution.version} is declared, and there is no function "
            f"for version {old.version}",
            f"say migrate={{{old.version}: ...}} with a function of the old value, beside those that are there",
        )
    if evolution.each and kind_of(old.shape) != "list":
        raise DifferenceError(f"value was {spoken(old.shape)} and is a list now", "give the new state another name")
    before, after = plain_codec(old.schema), plain_codec(codec.schema)

    def migrated(value: object) -> object:
        for number, apply in enumerate(functions, old.version):
            try:
                value = apply(value)
            except Exception as error:
                raise CodecError(
                    f"migrate={{{number}: ...}}, given a stored value of version {old.version}, raised "
                    f"{type(error).__name__}: {error}"
                ) from error
        return value

    def read(data: bytes) -> object:
        value = before.decode(data)
        found = [migrated(each) for each in value] if evolution.each else migrated(value)
        try:
            return codec.decode(codec.encode(found))  # also a copy: a function may give one object for all keys
        except CodecError as error:
            misfit = error
        try:
            return codec.decode(after.encode(found))
        except CodecError as error:
            raise CodecError(
                f"migrate={{{old.version}: ...}} gave {found!r:.100} for a stored value of version {old.version}, "
                f"which is not of the declared type ({misfit}), nor a plain value of it ({error})"
            ) from error

    return read


def plain_reader(known: Iterable[KnownSchema]) -> Callable[[bytes], tuple[int, Any]]:
    """Give what reads stored bytes, header and all, with none of the user's classes loaded.

    It gives the number of their schema, and the value in plain form. What it raises is a CodecError.
    """
    codecs = {each.number: plain_codec(each.schema) for each in known}

    def read(data: bytes) -> tuple[int, Any]:
        number, payload = split_header(data)
        codec = codecs.get(number)
        return (number, codec.decode(payload)) if codec is not None else _unknown(number)(payload)

    return read


def plain_evolved(newest: KnownSchema, others: Iterable[KnownSchema]) -> Codec[Any]:
    """Give the codec of plain values: it reads those of each schema as what that says, and writes the newest.

    Raises:
        CodecError: This version does not know a schema's shape: a newer one wrote it.
    """
    codec = plain_codec(newest.schema)
    readers = {each.number: plain_codec(each.schema).decode for each in others}
    if not readers:
        return codec
    return EvolvedCodec(codec, newest.number, {**readers, newest.number: codec.decode}, _unknown)


def _unknown(number: int) -> Reader:
    raise CodecError(
        f"it is of schema {number}, which is not among those that are known: it is damaged, or a newer program wrote it"
    )
