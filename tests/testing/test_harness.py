"""The harness at rest: what was sent has been processed when `send` returns, and `outputs` gives it once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from actorstream import Context, EventLog, KeyedProcess, OutputTag, Pipeline, PlanError, replayable
from actorstream.testing.harness import harness
from actorstream.testing.manual_clock import START_US
from tests.testing.words import Words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def test_what_was_sent_is_processed_when_send_returns() -> None:
    words = Words()
    async with harness(words.pipeline) as h:
        await h.send(words.source, "a b", "a")

        assert words.sunk == [("a", 1), ("b", 1), ("a", 2)]
        assert await h.job.get(words.counts, "a") == 2


async def test_outputs_gives_each_element_of_any_stream_once() -> None:
    words = Words()
    async with harness(words.pipeline) as h:
        await h.send(words.source, "a b")
        assert h.outputs(words.lines) == ["a b"]
        assert h.outputs(words.words) == ["a", "b"]
        await h.send(words.source, "c")
        assert h.outputs(words.words) == ["c"]
        assert h.outputs(words.words) == []
        assert h.outputs(words.counts) == [("a", 1), ("b", 1), ("c", 1)]


async def test_the_job_knows_the_pipelines_own_streams() -> None:
    """Also the sources, though others stand in for them."""
    words = Words()
    async with harness(words.pipeline) as h, h.job.subscribe(words.lines) as lines:
        await h.send(words.source, "a b")

        assert await anext(lines) == "a b"


@pytest.mark.parametrize("batch", [1, 7, 1000])
async def test_results_do_not_depend_on_the_batch_size(batch: int) -> None:
    """T136, as far as it can be seen without time."""
    words = Words()
    async with harness(words.pipeline, batch=batch) as h:
        await h.send(words.source, *["a b", "a"] * 600)

        assert h.outputs(words.counts) == [
            result for n in range(600) for result in (("a", 2 * n + 1), ("b", n + 1), ("a", 2 * n + 2))
        ]


async def test_batch_is_the_most_that_travels_together() -> None:
    """Otherwise a test that re-batches tests nothing."""
    pipeline = Pipeline("p")
    source: list[int] = []
    seen: list[str] = []
    pipeline.source(source).key_by(lambda n: n % 2).process(lambda: Origins(seen))
    async with harness(pipeline, batch=2) as h:
        await h.send(source, 1, 2, 3, 4, 5)
        metrics = h.job.metrics()

    assert metrics["source-0.0.records_in"] == 5
    assert seen == ["1", "2", "3", "4", "5"]


class Origins(KeyedProcess[int, int, str]):
    """Notes what it gets."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    def on_element(self, element: int, ctx: Context[int]) -> Iterator[str]:
        self.seen.append(str(element))
        yield str(element)


async def test_parallel_subtasks_are_all_at_rest() -> None:
    """Records of many keys go through four subtasks; each key's results are in order."""
    words = Words(parallelism=4)
    async with harness(words.pipeline, parallelism=2) as h:
        await h.send(words.source, *[f"w{n % 50}" for n in range(500)])
        results = h.outputs(words.counts)

    assert len(results) == 500
    for key in range(50):
        assert [n for word, n in results if word == f"w{key}"] == list(range(1, 11))


async def test_a_union_gives_what_all_of_its_streams_gave_in_order_of_arrival() -> None:
    pipeline = Pipeline("p")
    left: list[int] = []
    right: list[int] = []
    a, b = pipeline.source(left), pipeline.source(right)
    both = a.union(b)
    async with harness(pipeline) as h:
        await h.send(left, 1)
        await h.send(right, 10)
        await h.send(left, 2)

        assert h.outputs(both) == [1, 10, 2]
        assert h.outputs(a) == [1, 2]


async def test_a_stream_joined_with_itself_gives_every_record_twice() -> None:
    pipeline = Pipeline("p")
    source: list[int] = []
    stream = pipeline.source(source)
    twice = stream.union(stream)
    async with harness(pipeline) as h:
        await h.send(source, 1, 2)

        assert sorted(h.outputs(twice)) == [1, 1, 2, 2]


LARGE = OutputTag[int]("large")


class Sorts(KeyedProcess[int, int, int]):
    def on_element(self, element: int, ctx: Context[int]) -> Iterator[int]:
        if element > 9:
            ctx.emit_to(LARGE, element)
        else:
            yield element


async def test_side_outputs_are_streams_like_others() -> None:
    """Also one that no operator reads: a test may look at it."""
    pipeline = Pipeline("p")
    source: list[int] = []
    small = pipeline.source(source).key_by(lambda n: n).process(Sorts)
    large = small.side_output(LARGE)
    async with harness(pipeline) as h:
        await h.send(source, 1, 10, 2)
        await h.crash_and_recover()

        assert h.outputs(large) == [10]
        assert h.outputs(small) == [1, 2]


# -- which source ------------------------------------------------------------------------------------------------------


@replayable
async def numbers(after: int | None) -> AsyncIterator[tuple[int, int]]:
    raise AssertionError("the source itself is not read")
    yield 0, 0


class Feed:
    async def records(self) -> AsyncIterator[int]:
        raise AssertionError("the source itself is not read")
        yield 0


async def test_any_source_is_found_by_what_the_pipeline_was_given(tmp_path: Path) -> None:
    """A sequence, an iterator, a Source, an async generator function, a method, a log, or the stream."""
    pipeline = Pipeline("p")
    feed, log, iterator, values = Feed(), EventLog(int, tmp_path / "log"), iter([1]), (1, 2)
    streams = [pipeline.source(each) for each in (numbers, log)]
    others = [pipeline.source(iterator), pipeline.source(values), pipeline.source(feed.records)]
    everything = streams[0].union(streams[1], *others)
    async with harness(pipeline) as h:
        await h.send(numbers, 1)
        await h.send(log, 2)
        await h.send(iterator, 3)
        await h.send(values, 4)
        await h.send(feed.records, 5)
        await h.send(streams[1], 6)

        assert h.outputs(everything) == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "log").exists()


async def test_every_source_that_reads_the_same_thing_gets_what_is_sent_to_it() -> None:
    pipeline = Pipeline("p")
    source: list[int] = []
    one, other = pipeline.source(source), pipeline.source(source)
    one.union(other)
    async with harness(pipeline) as h:
        await h.send(source, 7)

        assert (h.outputs(one), h.outputs(other)) == ([7], [7])


async def test_an_unknown_source_is_refused_and_the_known_ones_are_named() -> None:
    words = Words()
    async with harness(words.pipeline) as h:
        equal_but_another: list[str] = []
        with pytest.raises(PlanError, match=r"'words' reads nothing from \[\].* source-0 \(reads \[\]\)"):
            await h.send(equal_but_another, "a")


async def test_a_log_gives_the_time_that_its_records_have(tmp_path: Path) -> None:
    """Without `timestamp=` an append would take the clock's time; a list has no times at all."""
    pipeline = Pipeline("p")
    stamped = EventLog(int, tmp_path / "stamped", timestamp=float)
    plain = EventLog(int, tmp_path / "plain")
    times = pipeline.source(stamped).union(pipeline.source(plain)).key_by(lambda n: n).process(Times)
    async with harness(pipeline) as h:
        await h.send(stamped, 5)
        await h.advance(clock=60)
        await h.send(plain, 6)
        await h.send(plain, 7, at=NOON)

        start = datetime.fromtimestamp(START_US / 1e6, UTC)
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        assert h.outputs(times) == [epoch + timedelta(seconds=5), start + timedelta(seconds=60), NOON]


class Times(KeyedProcess[int, int, datetime]):
    def on_element(self, element: int, ctx: Context[int]) -> Iterator[datetime]:
        yield ctx.timestamp


async def test_each_split_can_be_fed_by_itself() -> None:
    words = Words()
    async with harness(words.pipeline, splits=2, parallelism=2) as h:
        await h.send(words.source, "a", split=1)
        await h.send(words.source, "a")
        assert h.outputs(words.counts) == [("a", 1), ("a", 2)]
        with pytest.raises(PlanError, match="source-0 has no split 2"):
            await h.send(words.source, "b", split=2)
