"""A log opened by somebody who does not have its type: the command line, a person with a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.codec.evolution import AS_DECLARED, split_header
from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import CodecError, StoreError
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.schemas import RecordSchemas

if TYPE_CHECKING:
    from actorstream.codec.contract import Codec, Schema
    from actorstream.eventlog.ledger import DeclaredType
    from actorstream.eventlog.log import StrPath
    from actorstream.eventlog.open_log import OpenLog


class _ReadsAnything:
    """Decodes what it can: typed records come back as the dicts, lists and scalars that they are made of."""

    @property
    def schema(self) -> Schema:
        return SELF_DESCRIBING.schema

    def encode(self, value: object, /) -> bytes:
        return SELF_DESCRIBING.encode(value)

    def decode(self, data: bytes, /) -> object:
        payload = split_header(data)[1]
        try:
            return SELF_DESCRIBING.decode(payload)
        except CodecError:
            return payload


class _UntypedLog(EventLog[object]):
    """Reads every log; writes only where no type was declared. Never makes a log, and declares no type."""

    _makes = False

    def _codec(self) -> Codec[object]:
        return _ReadsAnything()

    def _schemas_of(self, log: OpenLog) -> RecordSchemas[object]:
        del log
        return RecordSchemas(self._codec(), AS_DECLARED, None, repr(self))

    async def _declare(self, log: OpenLog) -> DeclaredType | None:
        declared = await log.world.offload.run(log.declared_types)
        own = self._readable().own(declared)
        if declared and own is None:
            raise StoreError(
                f"{self!r}: the log holds records of another type: open it with the type they were written with, or "
                "choose another folder"
            )
        return own


def open_untyped(path: StrPath) -> EventLog[object]:
    """Open an existing log without knowing its type.

    Records are decoded as far as their bytes say what they are: a dataclass comes back as a dict; what
    cannot be decoded comes back as bytes. Appending is refused where typed records were written before.

    Raises (on first use):
        StoreError: There is no log, or it is damaged.
    """
    return _UntypedLog(object, path)
