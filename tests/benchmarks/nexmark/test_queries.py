"""The pipelines give the answers that follow from the queries' text, whatever the batches and the parallelism.

A query is tried as soon as the operators that it is made of exist.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

import actorstream
from actorstream import EventLog, Fetched, KeyedStream, Pipeline, Restart, Stream, collect
from benchmarks.nexmark.generator import DISORDER, events
from benchmarks.nexmark.queries import QUERIES
from benchmarks.nexmark.steps import time_of
from tests.benchmarks.nexmark import by_definition, story

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from actorstream import Source
    from benchmarks.nexmark.events import Event

RATE = 400
EVENTS = events(12_000, rate=RATE)

NEEDED: dict[str, tuple[tuple[object, str], ...]] = {
    "q4": ((KeyedStream, "interval_join"), (actorstream.Context, "set_timer")),
    "q5": ((KeyedStream, "window"), (Stream, "window_all"), (actorstream, "Sliding")),
    "q6": ((KeyedStream, "interval_join"), (actorstream.Context, "set_timer")),
    "q7": ((Stream, "window_all"), (actorstream, "Tumbling")),
    "q8": ((KeyedStream, "window_join"), (actorstream, "Tumbling")),
}
TIMED = tuple(NEEDED)


@cache
def by_the_text(name: str) -> list[Any]:
    """Give the answer that follows from the query's text."""
    answers: list[Any] = getattr(by_definition, name)(EVENTS)
    return answers


def runs(name: str) -> Any:
    """Give a test's parameter: skipped where an operator is missing."""
    needed = (*NEEDED[name], (Stream, "assign_timestamps")) if name in NEEDED else ()
    missing = [attribute for owner, attribute in needed if not hasattr(owner, attribute)]
    marks = [pytest.mark.skip(reason=f"actorstream has no {', '.join(missing)} yet")] if missing else []
    return pytest.param(name, marks=marks)


ALL = [runs(name) for name in QUERIES]


def answered(name: str, arrived: Stream[Event], *, disorder: float = DISORDER) -> Stream[Any]:
    """Ask a query of a stream."""
    if name in TIMED:
        arrived = arrived.assign_timestamps(time_of, out_of_orderness=disorder)
    return QUERIES[name](arrived)


async def answer(name: str, source: Sequence[Event] | Source[Event, int], *, disorder: float = DISORDER) -> list[Any]:
    """Run a query over its whole input."""
    return await collect(answered(name, Pipeline(f"nexmark-{name}").source(source), disorder=disorder))


_AT_ONCE: dict[str, list[Any]] = {}


async def answer_at_once(name: str) -> list[Any]:
    """Run a query over all events as they come by themselves: once in a process."""
    if name not in _AT_ONCE:
        _AT_ONCE[name] = await answer(name, EVENTS)
    return _AT_ONCE[name]


def in_any_order(name: str, results: list[Any]) -> list[Any]:
    """Sort what comes as it arrives: q3 says in which order."""
    return sorted(results) if name == "q3" else results


class InBatches:
    """The events, so many at a time."""

    def __init__(self, size: int) -> None:
        self.size = size

    async def splits(self) -> Sequence[str]:
        return ["all"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, Event]]:
        for start in range(0 if after is None else after + 1, len(EVENTS), self.size):
            values = EVENTS[start : start + self.size]
            yield Fetched(values, start + len(values) - 1)


@pytest.mark.parametrize("name", ALL)
async def test_query_gives_its_answer(name: str) -> None:
    """Each result once, none missing, those of event time in its order."""
    assert in_any_order(name, await answer_at_once(name)) == by_the_text(name)


@pytest.mark.parametrize("name", [runs(name) for name in story.ANSWERS])
async def test_query_agrees_with_the_story(name: str) -> None:
    """What was worked out by hand."""
    assert await answer(name, story.EVENTS) == story.ANSWERS[name]


@pytest.mark.skipif(not hasattr(actorstream, "KeyedCoProcess"), reason="actorstream has no KeyedCoProcess yet")
@pytest.mark.parametrize("size", [1, 7, 1_000])
async def test_two_inputs_join_as_one_does(size: int) -> None:
    """The two ways to write q3: whichever input's batch comes first, each pair comes once."""
    from benchmarks.nexmark import two_inputs  # noqa: PLC0415  (cannot be imported without KeyedCoProcess)

    pairs = await collect(two_inputs.q3(Pipeline("nexmark").source(InBatches(size))))
    assert sorted(pairs) == by_the_text("q3")


@pytest.mark.parametrize("size", [1, 7, 1_000])
@pytest.mark.parametrize("name", ALL)
async def test_batches_do_not_change_the_answer(name: str, size: int) -> None:
    """T136: nor do they change its order."""
    assert await answer(name, InBatches(size)) == await answer_at_once(name)


@pytest.mark.parametrize("name", ALL)
async def test_no_event_is_late_at_the_bound_of_disorder(name: str) -> None:
    """The generator and the watermark mean the same by `disorder`: over windows, and over auctions."""
    disorder = 9.5
    made = events(4_000, rate=100, disorder=disorder)
    expected = getattr(by_definition, name)(made)
    assert in_any_order(name, await answer(name, made, disorder=disorder)) == expected


class WithAPause(InBatches):
    """Stops half-way until it is told to go on."""

    def __init__(self) -> None:
        super().__init__(100)
        self.half_way, self.go_on = asyncio.Event(), asyncio.Event()

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, Event]]:
        async for fetched in super().read(split, after):
            if fetched.position > len(EVENTS) // 2:
                self.half_way.set()
                await self.go_on.wait()
            yield fetched


@pytest.mark.parametrize("name", [runs(name) for name in story.ANSWERS])
async def test_answer_survives_a_failure(name: str, tmp_path: Path) -> None:
    """Open windows, waiting auctions and timers are in the checkpoint; no result is lost, none comes twice."""
    failures = [RuntimeError("the only one")]

    def fail_once(event: Event) -> Event:
        if failures and event is EVENTS[len(EVENTS) * 3 // 4]:
            raise failures.pop()
        return event

    source, results = WithAPause(), EventLog(str, tmp_path / "results")
    pipeline = Pipeline("nexmark")
    with_failure = pipeline.source(source, name="events").map(fail_once)
    answered(name, with_failure).map(repr).sink(results, name="results")

    restart = Restart.fixed_delay(1, delay=0)
    async with pipeline.run(store=tmp_path / "store", checkpoint_interval=None, restart=restart) as job:
        await source.half_way.wait()
        await job.checkpoint()
        source.go_on.set()
        summary = await job.wait()

    assert summary.restarts == 1
    async with results:
        found = [record.value async for record in results.records(stop="now")]
    assert found == [repr(result) for result in await answer_at_once(name)]


@pytest.mark.parametrize("name", ALL)
async def test_several_subtasks_give_the_same_answer(name: str) -> None:
    """In another order, as they run beside each other: of running averages, each auction's close is counted once."""
    results: list[Any] = []
    pipeline = Pipeline("nexmark")
    answered(name, pipeline.source(EVENTS)).sink(results.append)
    await pipeline.run(parallelism=3)

    if name in ("q4", "q6"):
        results, expected = [key for key, _ in results], [key for key, _ in by_the_text(name)]
    else:
        expected = by_the_text(name)
    assert Counter(results) == Counter(expected)
