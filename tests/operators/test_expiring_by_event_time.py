"""A value that expires by event time, which a watermark brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.operators.test_expiring_value import (
    ByEvents,
    look,
    put,
)
from tests.operators.ttl_rig import Hands, Keeper

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorstream.operators.contexts import Context
    from actorstream.operators.process_timers import Timer
    from tests.state.rig import Shelf


def test_event_time_expires_by_the_watermark_before_the_record(shelf: Shelf) -> None:
    """Not by the record's own time, nor by the clock: others that are as old may still come."""
    keeper = Keeper(ByEvents, shelf, Hands(10**15))
    records = [("a", put(1)), *[("a", look)] * 3]
    assert keeper.feed(*records, times=[100, 500, 500, 500], marks=[0, 100, 109, 110])[1:] == [1, 1, 0]


@pytest.mark.parametrize(("time", "mark", "expiry"), [(100, 50, 110), (50, 100, 110), (100, 100, 110)])
def test_event_time_counts_from_the_record_or_from_a_later_watermark(
    shelf: Shelf, time: int, mark: int, expiry: int
) -> None:
    """A late record would else write what has expired already."""
    keeper = Keeper(ByEvents, shelf, Hands())
    keeper.feed(("a", put(1)), times=[time], marks=[mark])
    assert keeper.feed(("a", look), times=[0], marks=[expiry - 1]) == [1]
    assert keeper.feed(("a", look), times=[0], marks=[expiry]) == [0]


def test_event_time_without_timestamps_goes_by_the_watermark(shelf: Shelf) -> None:
    keeper = Keeper(ByEvents, shelf, Hands())
    keeper.advance(100)
    keeper.feed(("a", put(1)))
    keeper.advance(109)
    assert keeper.feed(("a", look)) == [1]
    keeper.advance(110)
    assert keeper.feed(("a", look)) == [0]


class Timed(ByEvents):
    """Writes when a timer fires."""

    def on_timer(self, timer: Timer, ctx: Context[Any], /) -> Iterable[Any]:
        """Show what there is, and write."""
        before, self.seen = self.seen, 9
        return [(timer.name, before, self.seen)]


def test_timer_of_event_time_reads_and_writes_at_its_own_time(shelf: Shelf) -> None:
    """However far the watermark has gone on: as if time had passed from timer to timer."""
    keeper = Keeper(Timed, shelf, Hands())

    def set_timers(op: Any, ctx: Any) -> None:
        op.seen = 1
        for at_us in (105, 112, 125):
            ctx.set_timer(at_us / 1e6, str(at_us))

    keeper.feed(("a", lambda op: set_timers(op, keeper.binding.context)), times=[100], marks=[0])
    keeper.advance(1_000)
    assert keeper.fire() == [("105", 1, 9), ("112", 9, 9), ("125", 0, 9)]


def test_timer_of_the_clock_writes_at_the_watermark(shelf: Shelf) -> None:
    """Its own time is not of the records' clock: it would keep alive for years what it writes."""
    keeper = Keeper(Timed, shelf, Hands(10**15))
    ctx: Any = keeper.binding.context
    set_timer: Any = lambda _: ctx.set_timer(0.0, "t", domain="processing")  # noqa: E731
    keeper.feed(("a", set_timer), times=[100], marks=[95])
    assert keeper.fire(10**15) == [("t", 0, 9)]
    assert keeper.feed(("a", look), times=[100], marks=[104]) == [9]
    assert keeper.feed(("a", look), times=[100], marks=[105]) == [0]


def test_value_written_at_the_end_of_time_is_there(shelf: Shelf) -> None:
    """T129: its expiry is beyond what a clock can show."""
    end = (1 << 63) - 1
    keeper = Keeper(ByEvents, shelf, Hands())
    assert keeper.feed(("a", put(1)), ("a", look), times=[5, 5], marks=[end, end])[1:] == [1]
    keeper.checkpoint()
    assert keeper.restarted(ByEvents).feed(("a", look), times=[5], marks=[end]) == [1]
