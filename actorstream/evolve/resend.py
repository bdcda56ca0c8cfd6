"""Dead letters go into the pipeline again: their records are appended to its input log, each once.

    dead    0 price  1 price  2 parse  3 price (a timer)
    input   ... record 0, record 1, record 2     and, in the same transaction, how far each operator's letters are

Which letters are done is noted in the input log itself, by the id of the dead-letter log, partition and operator. So
it does not matter where this is broken off, how often it is called, or whether somebody else does so at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from actorstream.eventlog.log import EventLog
    from actorstream.operators.failures import Failure

T = TypeVar("T")

_AT_ONCE = 256


@dataclass(frozen=True)
class Resent:
    """What became of the letters of a log.

    Attributes:
        sent: How many records were appended, by this call.
        before: How many had been, by an earlier one.
        without_record: How many have no record to send: a timer's handler had raised.
    """

    sent: int
    before: int
    without_record: int


@dataclass(frozen=True)
class _Origin:
    """The `SinkContext` of what comes from one partition of a log of letters, of one operator."""

    job: str
    operator: str
    subtask: int
    attempt: int = 0
    restored: int = 0
    holder: str = ""


async def resend(dead: EventLog[Failure[T]], into: EventLog[T], *, operator: str | None = None) -> Resent:
    """Append the records of all failures that there are now in `dead` to `into`, each exactly once.

    A record that fails again is a new letter, and is sent again by the next call.

    Args:
        dead: The log of failures.
        into: The log that the pipeline reads them from: of the records that its operator was given.
        operator: Only what failed in this one; None: all. What was passed over by one call is sent by another.

    Raises:
        CodecError: A record does not fit into `into`.
        StoreError: A log is missing, damaged, or the disk refuses.
    """
    async with dead, into:
        origin = f"dead letters of {(await dead.summary()).id}"
        waiting: dict[tuple[int, str], list[tuple[int, T]]] = {}
        sent = tried = without = 0

        async def send(partition: int, name: str) -> int:
            records = waiting.pop((partition, name))
            return await into.writer(_Origin(origin, name, partition)).add_once(records)

        async for letter in dead.records(stop="now"):
            failure = letter.value
            if operator not in {None, failure.operator}:
                continue
            if failure.timer is not None:
                without += 1
                continue
            tried += 1
            some = waiting.setdefault((letter.partition, failure.operator), [])
            # A record may be None itself, where T says so.
            some.append((letter.offset, failure.value))  # type: ignore[arg-type]
            if len(some) >= _AT_ONCE:
                sent += await send(letter.partition, failure.operator)
        for partition, name in list(waiting):
            sent += await send(partition, name)
    return Resent(sent, tried - sent, without)
