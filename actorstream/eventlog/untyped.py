"""A log opened by somebody who does not have its type: the command line, a person with a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import CodecError
from actorstream.eventlog.log import EventLog

if TYPE_CHECKING:
    from actorstream.codec.contract import Codec, Schema
    from actorstream.eventlog.ledger import DeclaredType
    from actorstream.eventlog.log import StrPath


class _ReadsAnything:
    """Decodes what it can: typed records come back as the dicts, lists and scalars that they are made of."""

    @property
    def schema(self) -> Schema:
        return SELF_DESCRIBING.schema

    def encode(self, value: object, /) -> bytes:
        return SELF_DESCRIBING.encode(value)

    def decode(self, data: bytes, /) -> object:
        try:
            return SELF_DESCRIBING.decode(data)
        except CodecError:
            return data


class _UntypedLog(EventLog[object]):
    """Reads every log; writes only where no type was declared. Never makes a log, and declares no type."""

    _makes = False
    _declares = False

    def _codec(self) -> Codec[object]:
        return _ReadsAnything()

    def _misreads(self, declared: DeclaredType) -> str | None:
        del declared
        return None


def open_untyped(path: StrPath) -> EventLog[object]:
    """Open an existing log without knowing its type.

    Records are decoded as far as their bytes say what they are: a dataclass comes back as a dict; what
    cannot be decoded comes back as bytes. Appending is refused where typed records were written before.

    Raises (on first use):
        StoreError: There is no log, or it is damaged.
    """
    return _UntypedLog(object, path)
