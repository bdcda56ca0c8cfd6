"""What a crash does under the harness: nothing is lost or doubled, and what depends on more than state is found."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from actorstream import Context, EventLog, KeyedProcess, Pipeline, ValueState
from actorstream.testing.harness import harness
from actorstream.testing.harness_outputs import ReplayDiffersError, is_same
from tests.testing.words import Words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


async def test_without_a_checkpoint_everything_comes_again_and_is_given_once() -> None:
    words = Words()
    async with harness(words.pipeline) as h:
        await h.send(words.source, "a b")
        assert h.outputs(words.counts) == [("a", 1), ("b", 1)]
        await h.send(words.source, "a")
        await h.crash_and_recover()

        assert h.outputs(words.counts) == [("a", 2)]
        assert words.sunk == [("a", 1), ("b", 1), ("a", 2)] * 2
        assert await h.job.get(words.counts, "a") == 2


async def test_after_a_checkpoint_only_what_came_later_comes_again() -> None:
    words = Words()
    async with harness(words.pipeline) as h:
        await h.send(words.source, "a b")
        await h.checkpoint()
        await h.send(words.source, "a")
        words.sunk.clear()
        await h.crash_and_recover()

        assert words.sunk == [("a", 2)]
        assert h.outputs(words.counts) == [("a", 1), ("b", 1), ("a", 2)]


async def test_many_crashes_and_checkpoints_change_no_output() -> None:
    """At every place between sends: outputs taken or not, a checkpoint or not, a crash or two."""
    words = Words()
    expected = [(f"w{n % 3}", n // 3 + 1) for n in range(48)]
    found: list[tuple[str, int]] = []
    async with harness(words.pipeline) as h:
        for n in range(48):
            await h.send(words.source, f"w{n % 3}")
            if n & 1:
                found += h.outputs(words.counts)
            if n & 2:
                await h.checkpoint()
            if n & 4:
                await h.crash_and_recover()
            if n & 8:
                await h.crash_and_recover()
        found += h.outputs(words.counts)

    assert found == expected


async def test_inputs_come_again_in_the_order_in_which_they_were_sent() -> None:
    """Two inputs have no order between them; a test must not fail by chance because of that."""
    pipeline = Pipeline("p")
    left: list[str] = []
    right: list[str] = []
    both = pipeline.source(left).union(pipeline.source(right)).key_by(len)
    texts = both.fold("", lambda text, each: text + each, name="texts")
    async with harness(pipeline, batch=3) as h:
        for n in range(10):
            await h.send(left if n % 2 else right, str(n), str(n))
        before = h.outputs(texts)
        await h.crash_and_recover()
        await h.send(left, "x")

        assert before[-1] == (1, "00112233445566778899")
        assert h.outputs(texts) == [(1, "00112233445566778899x")]


async def test_a_checkpoint_that_the_test_took_from_the_job_counts_too() -> None:
    words = Words()
    async with harness(words.pipeline) as h:
        await h.send(words.source, "a")
        await h.job.checkpoint()
        words.sunk.clear()
        await h.crash_and_recover()

        assert words.sunk == []
        assert h.outputs(words.counts) == [("a", 1)]


class Remembers(KeyedProcess[str, str, int]):
    """Counts in an attribute that is no state: wrong after a crash."""

    def __init__(self) -> None:
        self.seen = 0

    def on_element(self, element: str, ctx: Context[str]) -> Iterator[int]:
        self.seen += 1
        yield self.seen


async def test_what_depends_on_more_than_state_is_found_by_a_crash() -> None:
    """The object that remembers is built anew: what the test has seen before is not what comes again."""
    pipeline = Pipeline("p")
    source: list[str] = []
    counts = pipeline.source(source).key_by(str.lower).process(Remembers)
    async with harness(pipeline) as h:
        await h.send(source, "a")
        await h.checkpoint()
        await h.send(source, "a")
        assert h.outputs(counts) == [1, 2]
        with pytest.raises(ReplayDiffersError, match=r"Remembers .* gave 1 as its output number 2, before .* was 2"):
            await h.crash_and_recover()


async def test_an_output_that_does_not_come_again_is_found_too() -> None:
    pipeline = Pipeline("p")
    source: list[int] = []
    calls = count()
    first = pipeline.source(source).filter(lambda _: next(calls) == 0, name="first")
    async with harness(pipeline) as h:
        await h.send(source, 5)
        assert h.outputs(first) == [5]
        with pytest.raises(ReplayDiffersError, match=r"first .* gave nothing more .* before the crash it was 5"):
            await h.crash_and_recover()


async def test_outputs_that_nobody_has_seen_may_differ() -> None:
    """They were never there: nothing is promised of uncommitted output that no one has read."""
    pipeline = Pipeline("p")
    source: list[str] = []
    calls = count(1)
    numbered = pipeline.source(source).map(lambda _: next(calls))
    async with harness(pipeline) as h:
        await h.send(source, "a")
        await h.crash_and_recover()

        assert h.outputs(numbered) == [2]


async def test_a_transactional_sink_holds_each_result_once(tmp_path: Path) -> None:
    """A real log beside the harness: committed with checkpoints, aborted by the crash."""
    pipeline = Pipeline("p")
    source: list[int] = []
    log = EventLog(int, tmp_path / "log")
    pipeline.source(source).map(lambda n: n * 10).sink(log, name="out")
    async with log:
        async with harness(pipeline) as h:
            await h.send(source, 1, 2)
            await h.checkpoint()
            assert [record.value async for record in log.records(stop="now")] == [10, 20]
            await h.send(source, 3)
            await h.crash_and_recover()
            assert [record.value async for record in log.records(stop="now")] == [10, 20]
            await h.end_input()

        assert [record.value async for record in log.records(stop="now")] == [10, 20, 30]


class Total(KeyedProcess[str, int, int]):
    total: ValueState[int] = ValueState(0)

    def on_element(self, element: int, ctx: Context[str]) -> Iterator[int]:
        self.total += element
        yield self.total


async def test_declared_state_survives_a_crash() -> None:
    pipeline = Pipeline("p")
    source: list[int] = []
    totals = pipeline.source(source).key_by(lambda _: "all").process(Total)
    async with harness(pipeline) as h:
        await h.send(source, 1, 2)
        await h.checkpoint()
        await h.send(source, 3)
        await h.crash_and_recover()

        assert h.outputs(totals) == [1, 3, 6]
        assert await h.job.get(Total.total, "all") == 6


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (float("nan"), float("nan"), True),
        ([1, float("nan")], [1, float("nan")], True),
        (1, 1.0, True),
        ("a", "b", False),
        (object, object, True),
        (len, print, False),
    ],
)
def test_the_same_is_what_a_reader_cannot_tell_apart(one: object, other: object, same: bool) -> None:
    assert is_same(one, other) is same
