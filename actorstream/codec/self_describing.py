"""Bytes that say themselves what they hold: MessagePack with extension types.

    plain MessagePack           None bool int(64 bits) float str bytes list, dict with such keys, instant (ext -1)
    ext  1 tuple      [items]       5 int         two's complement     9 Decimal  text
    ext  2 set        [items]       6 date        ordinal             10 UUID     16 bytes
    ext  3 frozenset  [items]       7 time        text                11 Enum     [class, member]
    ext  4 dict       [k, v, ...]   8 timedelta   microseconds        12 record   [class, {field: value}]

A set's items stand in the order of their bytes, so that equal sets give equal
bytes in every process. A record is a dataclass, NamedTuple or Struct; classes go
by "module:qualname" and are found among loaded modules only. Types are kept
exactly: a subclass of list, or any object not named here, is refused and not
flattened. An aware datetime keeps its instant and comes back in UTC.

Encoding goes down the value once and hands whole flat parts to msgspec as they
are. Hostile bytes cost no more than their own length, and end as CodecError.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NoReturn
from uuid import UUID

import msgspec
from msgspec.msgpack import Ext

from actorstream.codec.classes import find_class, find_enum, find_member, name_of_class, name_of_member
from actorstream.codec.contract import Schema
from actorstream.codec.records import record_class
from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TUPLE, _SET, _FROZENSET, _DICT, _INT, _DATE, _TIME, _TIMEDELTA, _DECIMAL, _UUID, ENUM, RECORD = range(1, 13)
NESTING_MAX: Final = 100
"""How deep containers and records may sit in each other: reading takes up to five calls a level."""

SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
NATIVE: Final = SCALARS | {datetime, date, time, timedelta, Decimal, UUID, list, dict, tuple, set, frozenset}
"""What has an encoding beside records and enums; of containers, if their items have."""
_MICROSECOND = timedelta(microseconds=1)
_INSTANT_MIN = datetime.min.replace(tzinfo=UTC)
_INSTANT_MAX = datetime.max.replace(tzinfo=UTC)
DECODING_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)

_pack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode


class Lowering:
    """One way down a value, giving what msgspec can pack as it is.

    `plain` holds the classes that msgspec takes as they are: with int in it a
    flat list is not walked, and an int over 64 bits shows as an OverflowError.
    `leaves` and `branches` say how each class is taken apart, without and with others inside.
    """

    def __init__(self, plain: frozenset[type]) -> None:
        self._plain = plain
        self.leaves: dict[type, Callable[[Any], object]] = {
            int: _lower_int,
            datetime: _lower_datetime,
            date: lambda value: Ext(_DATE, value.toordinal().to_bytes(4, "big")),
            time: _lower_time,
            timedelta: lambda value: Ext(_TIMEDELTA, _signed(value // _MICROSECOND)),
            Decimal: lambda value: Ext(_DECIMAL, str(value).encode()),
            UUID: lambda value: Ext(_UUID, value.bytes),
        }
        self.branches: dict[type, Callable[[Any, int], object]] = {
            list: self._list,
            dict: self._dict,
            tuple: self._tuple,
            set: lambda value, depth: Ext(_SET, self._sorted(value, depth)),
            frozenset: lambda value, depth: Ext(_FROZENSET, self._sorted(value, depth)),
        }

    def lower(self, value: object, depth: int) -> object:
        """Give what to pack for `value`, which sits in `depth` others."""
        kind = value.__class__
        if kind in self._plain:
            return value
        branch = self.branches.get(kind)
        if branch is not None:
            if depth >= NESTING_MAX:
                raise CodecError(
                    f"it is nested more than {NESTING_MAX} deep, or holds itself: use a flat list of parts"
                )
            return branch(value, depth + 1)
        leaf = self.leaves.get(kind)
        if leaf is not None:
            return leaf(value)
        self._learn(kind)
        return self.lower(value, depth)

    def _learn(self, kind: type) -> None:
        if issubclass(kind, Enum):
            self.leaves[kind] = _lower_member
            return
        record = record_class(kind)
        if record is None:
            raise CodecError(
                f"a {kind.__module__}.{kind.__qualname__} cannot be kept: use plain values, containers, "
                f"dataclasses, NamedTuples, Enums or Structs"
            )
        name, names, parts, plain = name_of_class(kind), record.names, record.parts, self._plain

        def lower_record(value: object, depth: int) -> Ext:
            values = parts(value)
            if not plain.issuperset(map(type, values)):
                values = tuple([self.lower(part, depth) for part in values])
            return Ext(RECORD, _pack((name, dict(zip(names, values, strict=True)))))

        self.branches[kind] = lower_record

    def _list(self, value: list[object], depth: int) -> list[object]:
        return value if self._plain.issuperset(map(type, value)) else [self.lower(item, depth) for item in value]

    def _tuple(self, value: tuple[object, ...], depth: int) -> Ext:
        if self._plain.issuperset(map(type, value)):
            return Ext(_TUPLE, _pack(value))
        return Ext(_TUPLE, _pack([self.lower(item, depth) for item in value]))

    def _sorted(self, value: set[object] | frozenset[object], depth: int) -> bytes:
        packed = sorted([_pack(self.lower(item, depth)) for item in value])
        return _pack([msgspec.Raw(item) for item in packed])

    def _dict(self, value: dict[object, object], depth: int) -> object:
        plain = self._plain
        if not plain.issuperset(map(type, value)):
            return Ext(_DICT, _pack([self.lower(part, depth) for item in value.items() for part in item]))
        if plain.issuperset(map(type, value.values())):
            return value
        return {key: self.lower(item, depth) for key, item in value.items()}


def _signed(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _lower_int(value: int) -> object:
    return value if -(1 << 63) <= value < 1 << 64 else Ext(_INT, _signed(value))


def _lower_datetime(value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise CodecError(f"{value!r} is a naive datetime: give it a time zone, as in datetime.now(UTC)")
    if not _INSTANT_MIN <= value <= _INSTANT_MAX:
        raise CodecError(f"{value!r} is outside of the years 1 to 9999 UTC")
    return value


def _lower_time(value: time) -> Ext:
    if value.tzinfo is not None:
        raise CodecError(f"{value!r} has a time zone, which a time without a date cannot keep: use a datetime")
    return Ext(_TIME, value.isoformat().encode())


def _lower_member(value: Enum) -> Ext:
    return Ext(ENUM, _pack((name_of_class(type(value)), name_of_member(value))))


_fast = Lowering(SCALARS)
_careful = Lowering(SCALARS - {int})


def _encode(value: object) -> bytes:
    try:
        return _pack(_fast.lower(value, 0))
    except OverflowError:
        return _pack(_careful.lower(value, 0))


class SelfDescribingCodec:
    """The codec of this module; `SELF_DESCRIBING` is the one instance."""

    schema: Schema = Schema("0" * 16, "any")

    def encode(self, value: object, /) -> bytes:
        """Give the bytes of any supported value; CodecError names the place of what is not."""
        if value.__class__ in SCALARS:
            try:
                return _pack(value)
            except (OverflowError, UnicodeEncodeError):
                pass
        try:
            if value.__class__ is tuple and SCALARS.issuperset(map(type, value)):
                return _pack(Ext(_TUPLE, _pack(value)))
        except (OverflowError, UnicodeEncodeError):
            pass
        try:
            return _encode(value)
        except (CodecError, UnicodeEncodeError, AttributeError, RuntimeError) as error:
            _refuse(value, error)

    def decode(self, data: bytes, /) -> object:
        """Give the value back; CodecError if the bytes are damaged or name a class that is not loaded."""
        try:
            return _decode(data)
        except CodecError:
            raise
        except RecursionError:
            raise CodecError("the bytes of a value are nested too deeply: they are damaged") from None
        except DECODING_ERRORS as error:
            raise CodecError(f"{len(data)} bytes are no value: they are damaged ({error})") from error


SELF_DESCRIBING: Final = SelfDescribingCodec()


# ---- saying where an encoding failed: walks down to the smallest part that cannot be encoded -------------------------


def _refuse(value: object, error: Exception) -> NoReturn:
    place = ""
    for _ in range(NESTING_MAX):
        inner = _failing_part(value)
        if inner is None:
            break
        step, value, error = inner
        place += step
    raise CodecError(f"value{place:.200}: {error}") from error


def _failing_part(value: object) -> tuple[str, object, Exception] | None:
    for step, part in _parts_of(value):
        try:
            _encode(part)
        except (CodecError, UnicodeEncodeError, AttributeError, RuntimeError) as error:
            return step, part, error
    return None


def _parts_of(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        for index, item in enumerate(value):
            yield f"[{index}]", item
    elif isinstance(value, set | frozenset):
        for item in value:
            yield " item", item
    elif isinstance(value, dict):
        for key, item in list(value.items()):
            yield f" key {key!r:.50}", key
            yield f"[{key!r:.50}]", item
    elif (record := record_class(type(value))) is not None:
        for name in record.names:
            if hasattr(value, name):
                yield f".{name}", getattr(value, name)


# ---- reading ---------------------------------------------------------------------------------------------------------


def _read_member(name: str, member: str | int) -> Enum:
    return find_member(find_enum(name), member)


def _read_record(name: str, fields: dict[str, Any]) -> object:
    cls = find_class(name)
    record = record_class(cls)
    if record is None:
        raise CodecError(f"the bytes hold a record of {name!r}, which is no dataclass, NamedTuple or Struct any more")
    return record.build(fields)


_decode_member = msgspec.msgpack.Decoder(tuple[str, str | int]).decode


class Reading:
    """One way up from bytes, given what makes a member and a record of what stands in them."""

    def __init__(
        self, member: Callable[[str, str | int], object], record: Callable[[str, dict[str, Any]], object]
    ) -> None:
        self.decode: Callable[[bytes], object] = msgspec.msgpack.Decoder(object, ext_hook=self._read_ext).decode
        self._tuple: Callable[[memoryview], tuple[Any, ...]] = msgspec.msgpack.Decoder(
            tuple[Any, ...], ext_hook=self._read_ext
        ).decode
        read_fields = msgspec.msgpack.Decoder(tuple[str, dict[str, Any]], ext_hook=self._read_ext).decode
        self._readers: dict[int, Callable[[memoryview], object]] = {
            _TUPLE: self._tuple,
            _SET: self._set,
            _FROZENSET: lambda data: frozenset(self._set(data)),
            _DICT: self._pairs,
            _INT: lambda data: int.from_bytes(data, "big", signed=True),
            _DATE: lambda data: date.fromordinal(int.from_bytes(data, "big")),
            _TIME: lambda data: time.fromisoformat(str(data, "ascii")),
            _TIMEDELTA: lambda data: int.from_bytes(data, "big", signed=True) * _MICROSECOND,
            _DECIMAL: lambda data: Decimal(str(data, "ascii")),
            _UUID: lambda data: UUID(bytes=bytes(data)),
            ENUM: lambda data: member(*_decode_member(data)),
            RECORD: lambda data: record(*read_fields(data)),
        }

    def _read_ext(self, code: int, data: memoryview) -> object:
        return self._readers[code](data)

    def _set(self, data: memoryview) -> set[object]:
        items = self._tuple(data)
        found = set(items)
        if len(found) != len(items):
            raise ValueError("a set holds an item twice")
        return found

    def _pairs(self, data: memoryview) -> dict[object, object]:
        flat = self._tuple(data)
        found = dict(zip(flat[::2], flat[1::2], strict=True))
        if 2 * len(found) != len(flat):
            raise ValueError("a dict holds a key twice")
        return found


_decode = Reading(_read_member, _read_record).decode
