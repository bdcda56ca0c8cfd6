"""`job.explain()` where event time holds the output up: windows, idle inputs, alignment, timers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.time import WatermarkAlignment
from actorstream.operators.windows.assigners import Tumbling
from actorstream.testing.harness import harness
from tests.api.explained import START, key, time_of, timed
from tests.api.test_explain import Reminds, nothing
from tests.runtime.doubles import Splits, settle, until

if TYPE_CHECKING:
    from actorstream.api.stream import Stream
    from tests.api.explained import Timed


# ---- event time


def per_minute(stream: Stream[Timed]) -> None:
    stream.key_by(key).window(Tumbling(60)).count(name="per-minute")


def orders_and_payments(
    pipeline: Pipeline, orders: list[Timed], payments: list[Timed]
) -> tuple[Stream[Timed], Stream[Timed]]:
    first = timed(pipeline.source(orders, name="orders"), idle_timeout=None, name="order-times")
    second = timed(pipeline.source(payments, name="payments"), idle_timeout=None, name="payment-times")
    return first, second


async def test_window_that_closes_at_a_time_not_reached_says_when_and_who_holds_it() -> None:
    pipeline, source = Pipeline("p"), nothing()
    per_minute(timed(pipeline.source(source, name="orders"), idle_timeout=None, out_of_orderness=5))
    async with harness(pipeline) as h:
        await h.send(source, ("a", 31.0))
        text = h.job.explain()
        assert "The next window of 'per-minute' closes at 00:01:00 UTC" in text
        assert "the watermark is at 00:00:26 UTC, 34 s before that" in text
        assert "held by split '0' of 'orders'" in text
        assert "its latest record is of 00:00:31 UTC" in text
        assert "up to 5 s behind" in text

        await h.send(source, ("a", 66.0))
        assert "closes at 00:02:00 UTC" in h.job.explain()


async def test_window_with_lateness_says_only_what_is_sure() -> None:
    """What is due next may be the end of one that has closed already."""
    pipeline, source = Pipeline("p"), nothing()
    keyed = timed(pipeline.source(source), idle_timeout=None).key_by(key)
    keyed.window(Tumbling(60), allowed_lateness=3_600).count(name="per-minute")
    async with harness(pipeline) as h:
        await h.send(source, ("a", 31.0), ("a", 90.0))
        assert "No window of 'per-minute' closes, or is dropped, before" in h.job.explain()


@pytest.mark.parametrize("parallelism", [1, 2])
async def test_idle_input_without_idle_timeout_is_named_with_what_would_mend_it(parallelism: int) -> None:
    pipeline, source = Pipeline("p"), nothing()
    per_minute(timed(pipeline.source(source, name="orders"), idle_timeout=None))
    async with harness(pipeline, splits=2, parallelism=parallelism) as h:
        await h.send(source, ("a", 31.0), split=0)
        await h.send(source, ("b", 100.0), split=1)
        await h.advance(clock=45)
        text = h.job.explain()
        assert text.startswith("Split '0' of 'orders'")
        assert "gives no records (its latest record is of 00:00:31 UTC" in text
        assert "which is at 00:00:31 UTC and without it would be at 00:01:40 UTC; results are due by then" in text
        assert "'times' has no idle_timeout" in text
        assert "Nothing is wrong" not in text

        await h.send(source, ("a", 130.0), split=0)
        await h.send(source, ("b", 140.0), split=1)
        assert "idle_timeout" not in h.job.explain()


async def test_quiet_input_with_idle_timeout_says_when_it_is_not_waited_for() -> None:
    pipeline, source = Pipeline("p"), nothing()
    per_minute(timed(pipeline.source(source, name="orders"), idle_timeout=30))
    async with harness(pipeline, splits=2) as h:
        await h.send(source, ("a", 31.0), split=0)
        await h.send(source, ("b", 100.0), split=1)
        await h.advance(clock=20)
        assert "After its idle_timeout of 30 s it is not waited for: from 00:00:30 UTC on, in 10 s." in h.job.explain()

        await h.advance(clock=11)
        text = h.job.explain()
        assert "idle_timeout" not in text
        assert "whose inputs are all idle: it moves with the next record" in text


async def test_split_that_never_had_a_record_is_named() -> None:
    pipeline = Pipeline("p")
    source: Splits[Timed] = Splits({"full": [("a", 31.0), ("a", 100.0)], "empty": []}, ended=False)
    per_minute(timed(pipeline.source(source, name="orders"), idle_timeout=None))
    async with pipeline.run() as job:
        await until(lambda: job.summary().records_in == 2)
        await settle()
        text = job.explain()
    assert text.startswith("Split 'empty' of 'orders' has never had a record")
    assert "which is not at any time yet and without it would be at 2026-01-01 00:01:40 UTC" in text
    assert "'times' has no idle_timeout" in text


async def test_one_input_of_a_union_behind_is_named_with_split_and_last_record() -> None:
    pipeline, orders, payments = Pipeline("p"), nothing(), nothing()
    first, second = orders_and_payments(pipeline, orders, payments)
    per_minute(first.union(second))
    async with harness(pipeline, splits=2) as h:
        for split in (0, 1):
            await h.send(payments, ("a", 10.0 + split), split=split)
            await h.send(orders, ("a", 90.0 + split), split=split)
        text = h.job.explain()
        assert "Of the inputs of 'per-minute', 'payment-times' is behind by 1 min 20 s" in text
        assert "its watermark is at 00:00:10 UTC, that of 'order-times' at 00:01:30 UTC" in text
        assert "held by split '0' of 'payments'; its latest record is of 00:00:10 UTC" in text


async def test_one_input_of_a_join_behind_is_named() -> None:
    pipeline, orders, payments = Pipeline("p"), nothing(), nothing()
    first, second = orders_and_payments(pipeline, orders, payments)
    first.key_by(key).interval_join(second.key_by(key), before=0, after=60, name="paid")
    async with harness(pipeline) as h:
        await h.send(payments, ("a", 10.0))
        await h.send(orders, ("a", 90.0))
        text = h.job.explain()
        assert "Of the inputs of 'paid', 'payment-times' is behind by 1 min 20 s" in text
        assert "'paid' waits for the one behind" in text


async def test_what_an_outer_join_holds_back_on_purpose_is_not_called_late() -> None:
    """Its lonely rows come behind the watermark, so what it tells is less than what it knows."""
    pipeline, orders, payments = Pipeline("p"), nothing(), nothing()
    first, second = orders_and_payments(pipeline, orders, payments)
    pairs = first.key_by(key).interval_join(second.key_by(key), before=20, after=20, how="left", name="paid")
    pairs.key_by(lambda pair: pair[0]).window(Tumbling(60)).count(name="per-minute")
    async with harness(pipeline) as h:
        await h.send(orders, ("a", 50.0))
        await h.send(payments, ("a", 55.0))
        text = h.job.explain()
        assert "The next window of 'per-minute' closes at 00:01:00 UTC" in text
        assert "held by split '0' of 'orders'" in text


async def test_records_with_times_but_without_watermarks_are_named() -> None:
    pipeline, source = Pipeline("p"), nothing()
    per_minute(pipeline.source(source, name="orders"))
    async with harness(pipeline) as h:
        await h.send(source, ("a", 1.0), at=START)
        text = h.job.explain()
        assert text.startswith("Event time never moves for 'per-minute'")
        assert "assign_timestamps(...) right behind that source" in text


async def test_source_that_is_ahead_of_its_alignment_group_is_paused_and_says_for_whom() -> None:
    pipeline, orders, payments = Pipeline("p"), nothing(), nothing()
    together = WatermarkAlignment("pay", max_drift=60)
    streams = [
        pipeline.source(source, name=name).assign_timestamps(time_of, idle_timeout=None, alignment=together)
        for source, name in ((orders, "orders"), (payments, "payments"))
    ]
    per_minute(streams[0].union(streams[1]))
    async with harness(pipeline) as h:
        await h.send(payments, ("a", 10.0))
        await h.send(orders, ("a", 500.0))
        text = h.job.explain()
        assert "Split '0' of 'orders' is not read on" in text
        assert "group of aligned sources 'pay' allows, and waits for split '0' of 'payments'" in text


class RemindsByEventTime(Reminds):
    domain = "event"


async def test_timers_that_wait_for_the_clock_say_until_when() -> None:
    pipeline, source = Pipeline("p"), nothing()
    pipeline.source(source).key_by(key).process(Reminds, name="reminds")
    async with harness(pipeline) as h:
        await h.send(source, ("a", 90.0))
        await h.advance(clock=30)
        assert "'reminds' waits for the clock: next at 00:01:30 UTC, in 1 min." in h.job.explain()


async def test_timer_of_event_time_says_for_what_it_waits() -> None:
    pipeline, source = Pipeline("p"), nothing()
    stream = timed(pipeline.source(source), idle_timeout=None, out_of_orderness=2)
    stream.key_by(key).process(RemindsByEventTime, name="reminds")
    async with harness(pipeline) as h:
        await h.send(source, ("a", 90.0))
        text = h.job.explain()
        assert "The next timer of 'reminds' is set to 00:01:30 UTC, and the watermark is at 00:01:28 UTC" in text
