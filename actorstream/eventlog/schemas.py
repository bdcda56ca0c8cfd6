"""Which schema a log's records have, and how those of each are read as the type that the log was opened with.

    ledger    0 Click(user)    1 Click(user, page = ...)    2 version 2 ...     one row each, under the writer lock
    payload   82 ...           c1 00 01 | 83 ...            c1 00 02 | 82 ...   see codec/evolution.py

A writer declares its type before its first record, and gets its number; so whoever finds a number in a record finds
it in the ledger too. A type is refused that cannot read what was declared before it. What is declared while
a reader is at work is looked up when its first record comes: a reader that cannot read it stops there, and says so.
So it is with number 0, too, where a log is opened before anything was declared in it. If it never is, records are what
the reader takes them for.

Logs of versions that gave no numbers may have several types under 0. Those are read only by a type that reads the
bytes of all of them as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from actorstream.codec.evolution import EvolvedCodec, KnownSchema, SchemaRefusedError, reader_of
from actorstream.errors import CodecError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorstream.codec.contract import Codec
    from actorstream.codec.evolution import Evolution, Reader
    from actorstream.eventlog.ledger import DeclaredType

T = TypeVar("T")


class RecordSchemas(Generic[T]):
    """What one opened log knows of its records' schemas.

    Attributes:
        decode: Gives a record's value. Where all records have one schema it is that codec's own, and `decode_any`
            is to be asked where it fails.
    """

    def __init__(
        self, codec: Codec[T], evolution: Evolution, declared: Callable[[], Sequence[DeclaredType]] | None, what: str
    ) -> None:
        """Read the declared types. Blocking.

        Args:
            codec: Of the type that the log was opened with.
            evolution: What was said beside it.
            declared: Reads the ledger; None where the codec reads records of any type, header and all.
            what: Names the log in errors.

        Raises:
            StoreError: Records of a declared type cannot be read; names both, the difference and the remedy.
        """
        self._codec = codec
        self._evolution = evolution
        self._declared: Callable[[], Sequence[DeclaredType]] = declared or list
        self._what = what
        found = self._declared()
        self.check(found)
        readers = {each.number: self._reader(each, found) for each in found}
        if declared is not None and not found:
            readers = {0: self._read_first}
        self._first: Reader | None = None
        self._evolved = EvolvedCodec(codec, 0, readers, self._learn)
        one = all(each.number == 0 for each in found) and readers.get(0, codec.decode) == codec.decode
        self.decode: Callable[[bytes], T] = codec.decode if one else self._evolved.decode

    def decode_any(self, payload: bytes) -> T:
        """Give the value of a record whose schema may have been declared since.

        Raises:
            CodecError: It is damaged, or not to be read as this type.
        """
        value: T = self._evolved.decode(payload)
        self.decode = self._evolved.decode
        return value

    def read(self, payload: bytes) -> T:
        """Give the value of one record.

        Raises:
            CodecError: It is damaged, or not to be read as this type.
        """
        try:
            return self.decode(payload)
        except CodecError:
            return self.decode_any(payload)

    def check(self, declared: Sequence[DeclaredType]) -> None:
        """Refuse types whose records cannot be read.

        Raises:
            StoreError: There is one.
        """
        for each in sorted(declared, key=lambda each: (each.version, each.number), reverse=True):
            try:
                self._reader(each, declared)
            except CodecError as error:
                raise StoreError(
                    f"{self._what}: the log holds records of another type: {error}; or open it with the type they were "
                    "written with, or choose another folder"
                ) from error

    def own(self, declared: Iterable[DeclaredType]) -> DeclaredType | None:
        """Give the declared type that is this one."""
        fingerprint, version = self._codec.schema.fingerprint, self._evolution.version
        return next((each for each in declared if (each.fingerprint, each.version) == (fingerprint, version)), None)

    def _reader(self, each: DeclaredType, declared: Sequence[DeclaredType]) -> Reader:
        known = KnownSchema(each.number, each.version, each.fingerprint, each.shape)
        if self.own((each,)) is not None:
            reader: Reader = self._codec.decode
        else:
            reader = reader_of(known, self._codec, self._evolution)
        if each.number == 0 and reader != self._codec.decode and sum(other.number == 0 for other in declared) > 1:
            raise SchemaRefusedError(
                "records of several types have no number, as older versions wrote them, and this type does not read "
                "the bytes of all of them as they are; open it with one that does, and copy the records to a new log"
            )
        return reader

    def _read_first(self, payload: bytes) -> T:
        """Give the value of a record of number 0, where that was not declared when the log was opened."""
        if self._first is None:
            self._first = self._learn(0) if self._declared() else self._codec.decode
            self._evolved = EvolvedCodec(self._codec, 0, {0: self._first}, self._learn)
            self.decode = self._codec.decode if self._first == self._codec.decode else self._evolved.decode
        value: T = self._first(payload)
        return value

    def _learn(self, number: int) -> Callable[[bytes], Any]:
        declared = self._declared()
        for each in declared:
            if each.number == number:
                return self._reader(each, declared)
        raise CodecError(f"it is of schema {number}, which was never declared in this log: it is damaged")
