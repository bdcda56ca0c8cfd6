"""Which sealed segments may go: old enough, and no consumer needs a record in them.

    segments   [ 1 ][ 2 ][ 3 ][ 4 ][ newest
    old enough   x    x    x
    consumer a             ^ next offset it needs: 1 and 2 may go, 3 stays

Whole segments go, oldest first, without gaps; the newest never does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actorstream.eventlog.ledger import Consumer, Sealed


def removable(sealed: Iterable[Sealed], consumers: Sequence[Consumer], *, sealed_before_us: int) -> list[Sealed]:
    """Give the segments that may go, from `sealed` in order of age.

    A segment's age is that of its seal: everything in it was appended before. Consumers
    need what lies behind their positions.
    """
    gone: list[Sealed] = []
    for segment in sealed:
        if segment.sealed_us >= sealed_before_us or any(_needs(consumer, segment) for consumer in consumers):
            break
        gone.append(segment)
    return gone


def _needs(consumer: Consumer, segment: Sealed) -> bool:
    return any(
        start < end and position + 1 < end
        for position, start, end in zip(consumer.positions, segment.starts, segment.ends, strict=True)
    )
