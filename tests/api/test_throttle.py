"""A throttled stream: at its rate by the job's clock, exactly once, and no checkpoint waits for it."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import EventLog, Fetched, Pipeline, PlanError, Settings, collect
from actorstream.testing import simulate
from actorstream.testing.harness import harness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), True, "10", None])
def test_a_rate_that_is_none_is_refused(rate: Any) -> None:
    with pytest.raises(PlanError, match=r"throttle: rate is .*expected a number of records a second"):
        Pipeline("p").source([1]).throttle(rate)


def throttled(*, hop: bool = False, parallelism: int = 1) -> tuple[Pipeline, Any, Any]:
    pipeline = Pipeline("p")
    source = pipeline.source([0], name="in", parallelism=parallelism)
    return (
        pipeline,
        source,
        source.throttle(2, name="slow", new_chain=hop, parallelism=parallelism).map(abs, name="abs"),
    )


@pytest.mark.parametrize("hop", [False, True])
async def test_records_come_at_the_rate_by_the_jobs_clock(*, hop: bool) -> None:
    pipeline, source, slow = throttled(hop=hop)
    async with harness(pipeline) as h:
        await h.send(source, *range(10))
        assert h.outputs(slow) == [0]
        await h.advance(clock=0.4)
        assert h.outputs(slow) == []
        await h.advance(clock=0.2)
        assert h.outputs(slow) == [1]
        await h.advance(clock=2)
        assert h.outputs(slow) == [2, 3, 4, 5]
        await h.advance(clock=60)
        assert h.outputs(slow) == [6, 7, 8, 9]
        await h.send(source, 10)
        assert h.outputs(slow) == [10]


async def test_subtasks_share_the_rate() -> None:
    pipeline, source, slow = throttled(parallelism=2)
    async with harness(pipeline, splits=2) as h:
        for split in (0, 1):
            await h.send(source, *range(10), split=split)
        h.outputs(slow)
        await h.advance(clock=4.05)
        assert len(h.outputs(slow)) == 8


async def test_a_checkpoint_does_not_wait_and_holds_what_waits() -> None:
    """The clock stands still, so nothing more would pass however long the checkpoint waited."""
    pipeline, source, slow = throttled()
    async with harness(pipeline) as h:
        await h.send(source, *range(6))
        assert h.outputs(slow) == [0]
        await h.checkpoint()
        await h.advance(clock=0.6)
        assert h.outputs(slow) == [1]
        await h.checkpoint()
        await h.crash_and_recover()
        await h.advance(clock=60)
        assert h.outputs(slow) == [2, 3, 4, 5]


async def test_a_hundred_made_of_one_are_paid_for() -> None:
    pipeline = Pipeline("p")
    source = pipeline.source([0], name="in")
    slow = source.flat_map(range).throttle(10)
    async with harness(pipeline) as h:
        await h.send(source, 20, 1, 1)
        assert len(h.outputs(slow)) == 20
        await h.advance(clock=1.9)
        assert h.outputs(slow) == []
        await h.advance(clock=0.2)
        assert h.outputs(slow) == [0, 0]


async def test_what_a_filter_drops_costs_nothing() -> None:
    stream = Pipeline("p").source(range(2_000)).filter(lambda n: n % 1_000 == 0).throttle(20)

    assert await collect(stream) == [0, 1_000]


class Sevens:
    """Two splits, read seven records at a time: a throttle lets a part of such a batch pass."""

    async def splits(self) -> Sequence[str]:
        """Name them."""
        return ["a", "b"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, int]]:
        """Give every second number."""
        numbers = list(range("ab".index(split), 42, 2))
        for start in range(0 if after is None else after + 1, len(numbers), 7):
            values = numbers[start : start + 7]
            yield Fetched(values, start + len(values) - 1)


async def test_a_savepoint_and_a_stop_wait_for_no_throttle(tmp_path: Path) -> None:
    """Nothing is in flight in them, so what was taken already passes at once: here one batch of each split, at most."""
    out: list[int] = []
    for rate in (0.001, 1e6):
        pipeline = Pipeline("p")
        pipeline.source(Sevens(), name="in").throttle(rate, name="throttle").sink(out.append, name="out")
        async with pipeline.run(store=tmp_path) as job:
            if rate < 1:
                await job.savepoint("early")
                assert len(out) <= 14
            else:
                await job.wait()

    assert sorted(out) == list(range(42))


@pytest.mark.parametrize(
    ("source", "timeout"),
    [(list(range(42)), None), (Sevens(), None), (Sevens(), 0.05)],
    ids=["memory", "read", "overtaken"],
)
def test_throttled_output_is_exactly_once_under_crashes(source: Any, timeout: float | None) -> None:
    """In virtual time: of a batch that is passing, the rest is in the checkpoint, whatever barriers do elsewhere."""

    def slow() -> Pipeline:
        pipeline = Pipeline("slow")
        stream = pipeline.source(source, name="in").throttle(40, name="throttle").map(abs, name="abs")
        stream.key_by(lambda n: n % 2).reduce(max, name="highest").sink(EventLog(tuple[int, int], "out"), name="out")
        return pipeline

    expected = [(n % 2, n) for n in range(42)]
    settings = Settings(alignment_timeout=timeout)
    report = simulate(slow, seeds=3, settings=settings, reference=lambda: expected, in_order_by=itemgetter(0))
    report.check()


def test_a_throttle_in_a_loop_is_refused() -> None:
    pipeline = Pipeline("p")
    pipeline.source([1], name="in").feedback(lambda s: ((t := s.throttle(1, name="slow")), t), name="again").sink(print)
    with pytest.raises(PlanError, match="throttle 'slow' is inside loop 'again'"):
        pipeline.describe()


def test_describe_says_the_rate_and_warns_where_checkpoints_have_to_wait() -> None:
    pipeline, _, _ = throttled()
    assert "slow: throttle: 2 records/s" in pipeline.describe()
    assert "warning" not in pipeline.describe()
    pipeline, _, _ = throttled(hop=True)
    assert "warning: throttle slow is in another actor than the source" in pipeline.describe()
