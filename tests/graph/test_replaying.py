"""What a plan means for a replay: how fine its turns are, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream import Count, EventLog, KeyedProcess, Pipeline, Session, Trigger, Tumbling, replayable
from actorstream.graph.chaining import plan_graph
from actorstream.graph.replaying import RECORDS, SPAN_US, Grain, grain_of, replay_lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from typing import Any

    from actorstream import KeyedStream, Stream

COARSE, EXACT, SINGLE = Grain(RECORDS, SPAN_US), Grain(RECORDS, 0), Grain(1, SPAN_US)


class Nothing(KeyedProcess[int, int, int]):
    """A process."""


def _id(number: int) -> int:
    return number


KEYED: dict[str, tuple[Callable[[KeyedStream[int, int]], object], Grain]] = {
    "count": (lambda s: s.count(), COARSE),
    "process": (lambda s: s.process(Nothing), EXACT),
    "windows of event time": (lambda s: s.window(Tumbling(5)).count(), COARSE),
    "windows of processing time": (lambda s: s.window(Tumbling(5, domain="processing")).count(), EXACT),
    "sessions": (lambda s: s.window(Session(5)).count(), COARSE),
    "counted": (lambda s: s.window(Count(3)).count(), COARSE),
    "a trigger of another kind": (lambda s: s.window(Tumbling(5), trigger=Trigger.count(2)).count(), EXACT),
}


@pytest.mark.parametrize("case", KEYED)
def test_whoever_may_look_at_the_clock_finds_the_time_of_the_record(case: str) -> None:
    build, grain = KEYED[case]
    pipeline = Pipeline("p")
    build(pipeline.source([1]).assign_timestamps(float).key_by(_id))
    assert grain_of(plan_graph(pipeline.draft.graph(), has_store=False)) == grain


def _two_sources(p: Pipeline, one: Stream[int]) -> Stream[int]:
    return one.union(p.source([2]))


def _two_ways(_: Pipeline, one: Stream[int]) -> Stream[int]:
    return one.union(one.map(_id, new_chain=True))


def _far_apart(p: Pipeline, one: Stream[int]) -> Stream[int]:
    return one.union(p.source([2])).map(_id).union(one.map(_id))


@pytest.mark.parametrize(("meet", "grain"), [(_two_sources, COARSE), (_two_ways, SINGLE), (_far_apart, SINGLE)])
def test_two_ways_from_one_source_to_one_actor_are_gone_record_by_record(
    meet: Callable[[Pipeline, Stream[int]], Stream[int]], grain: Grain
) -> None:
    pipeline = Pipeline("p")
    meet(pipeline, pipeline.source([1])).map(_id)
    assert grain_of(plan_graph(pipeline.draft.graph(), has_store=False)) == grain


def test_a_pipeline_says_whether_its_replay_is_deterministic_and_what_stands_against_it(tmp_path: Path) -> None:
    @replayable
    async def ticks(after: int | None) -> AsyncIterator[tuple[int, int]]:
        yield 1, 1

    def lines(*sources: Any, sink: Any = None) -> list[str]:
        pipeline = Pipeline("p")
        for source in sources:
            pipeline.source(source).sink(EventLog(int, tmp_path / "out") if sink is None else sink)
        return list(replay_lines(pipeline.draft.graph()))

    log = EventLog(int, tmp_path / "in")
    assert lines([1], log, log.view(stop="now")) == ["replay: deterministic"]
    assert lines([1], sink=print) == ["replay: deterministic; nothing goes to sink-1: no EventLog"]
    assert lines(iter([1]), ticks) == [
        "replay: not possible: source-0 (IterableSource) gives its records once: write them to an EventLog, "
        "and read that",
        "replay: not possible: source-2 (ReplayableSource) keeps no time with its records: write them to an EventLog, "
        "and read that",
    ]
