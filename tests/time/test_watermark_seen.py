"""What handlers and metrics show of event time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from actorstream import KeyedProcess, Pipeline, Tumbling
from actorstream.testing import harness

if TYPE_CHECKING:
    from actorstream import Context, Timer


class Late(KeyedProcess[str, tuple[str, float], datetime]):
    """By the clock it sets an event timer that is due for long."""

    def on_element(self, value: tuple[str, float], ctx: Context[str], /) -> None:
        ctx.set_timer(ctx.now.timestamp() + 10, "later", domain="processing")

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> list[datetime]:
        if timer.domain == "processing":
            ctx.set_timer(0, "past")
            return []
        return [ctx.watermark]


async def test_a_timer_set_to_the_past_by_the_clock_sees_no_older_watermark() -> None:
    """Time never goes back for a handler, whatever the timer was set to."""
    pipeline = Pipeline("p")
    source: list[tuple[str, float]] = []
    timed = pipeline.source(source).assign_timestamps(lambda record: record[1])
    seen = timed.key_by(lambda record: record[0]).process(Late)
    async with harness(pipeline) as h:
        await h.send(source, ("a", 100.0))
        await h.advance(watermark=500)
        await h.advance(clock=20)
        assert h.outputs(seen) == [datetime.fromtimestamp(500, UTC)]


async def test_late_records_are_counted() -> None:
    """Whoever does not read `.late` sees at least how many there were, and how far time has come."""
    pipeline = Pipeline("p")
    source: list[float] = []
    timed = pipeline.source(source, name="in").assign_timestamps(lambda at: at)
    timed.key_by(lambda _: "a").window(Tumbling(10)).count(name="windows")
    async with harness(pipeline) as h:
        await h.send(source, 5.0, 25.0, 6.0, 7.0, 24.0)
        metrics = h.job.metrics()
        assert metrics["in.0.late_records"] == 2
        assert metrics["in.0.watermark"] == 24.999999
