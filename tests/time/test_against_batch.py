"""Whole pipelines against naive computations: every kind of window, out of order, with crashes in between.

The operators alone are tried in tests/operators; here the watermarks are those of real sources, results travel between
actors, and a crash takes the whole job back to its last checkpoint.
"""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.windows.aggregates import counting
from actorstream.operators.windows.results import WindowResult
from actorstream.testing.manual_clock import ManualClock
from tests.operators.windows.cases import AGGREGATIONS, Shared, definition, words_of_windows
from tests.operators.windows.naive import Naive, Words
from tests.time.definition import Arrival, Passed, Told, moves
from tests.time.driving import Checkpoint, Crash, Event, Manner, plans, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream import Stream, WindowedStream, WindowResults
    from tests.time.driving import Case, Step
from tests.time.codes import FEW, MANNERS, MICROSECOND, code_of, compare, key_of, same

WORDS = words_of_windows().filter(
    # Of windows that lie in the past of the clock it is not fixed how many records they get before they are dropped,
    # and windows of the clock do not bring event time with them.
    lambda words: not (words.clock and (words.kind == "custom" or _goes_by_event_time(words)))
)


def _goes_by_event_time(words: Words) -> bool:
    return words.trigger is not None and words.trigger[0] in {"every", "quiet"}


def computed(windows: WindowedStream[str, int], aggregate: str) -> WindowResults[str, int, Any]:
    """Say it in the user's way."""

    def written(held: list[int], code: int) -> list[int]:
        return [*held, code]

    match aggregate:
        case "count":
            return windows.count()
        case "all":
            return windows.apply(list)
        case "greatest":
            return windows.max_by(same)
        case "added":
            return windows.reduce(add)
        case "folded":
            return windows.fold([], written, merge=add)
        case "shared":
            return windows.aggregate(Shared())
        case _:
            return windows.fold((), lambda held, code: (*held, code))


def pipeline_of(words: Words, aggregate: str) -> Case:
    said = definition(words, counting())

    def case(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
        codes = left.map(code_of).union(right.map(code_of)).key_by(key_of)
        windows = codes.window(
            said.assigner, trigger=said.trigger, allowed_lateness=words.lateness * MICROSECOND, emit=said.emit
        )
        results = computed(windows, aggregate)
        return {"results": results, "late": results.late.map(lambda code: (key_of(code), code))}

    return case


def by_definition(words: Words, aggregate: str, steps: Sequence[Step], parallelism: int) -> dict[str, list[Any]]:
    _, meaning = AGGREGATIONS[aggregate]
    naive = Naive(words, lambda records: meaning(records, words))
    naive.now = ManualClock().now_us()
    found: list[Any] = []
    for move in moves(steps, parallelism):
        match move:
            case Arrival(_, event, watermark):
                found += naive.advance(watermark)
                code = code_of(event)
                found += naive.record(key_of(code), code, event.at)
            case Told(watermark):
                found += naive.advance(watermark)
            case Passed(units):
                found += naive.tick(naive.now + units)
    found += naive.advance(TIME_MAX)
    found += naive.tick(TIME_MAX)  # what waits for the clock is fired at the end
    late = [(key_of(code), code) for code in naive.late if isinstance(code, int)]
    return {"results": [result for result, _ in found], "late": late}


def saved_before_crashes(steps: Sequence[Step]) -> list[Step]:
    """Let nothing be replayed: the clock does not go back, so what goes by it may differ then."""
    return [each for step in steps for each in ((Checkpoint(), step) if isinstance(step, Crash) else (step,))]


def in_any_order(outputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Of a list that was folded the order depends on which sessions or slices there were."""
    return {
        name: [
            each._replace(value=sorted(each.value))
            if isinstance(each, WindowResult) and isinstance(each.value, list)
            else each
            for each in values
        ]
        for name, values in outputs.items()
    }


@FEW
@given(
    words=WORDS,
    aggregate=st.sampled_from(sorted(AGGREGATIONS)),
    steps=plans(disturbed=True),
    manner=MANNERS,
)
def test_windows_give_what_their_definition_says(
    words: Words, aggregate: str, steps: list[Step], manner: Manner
) -> None:
    """Of any kind, with any trigger, in any batches, on one subtask or four, over checkpoints and crashes."""
    if words.clock or (words.trigger is not None and words.trigger[0] == "every by clock"):
        steps = saved_before_crashes(steps)
    found = run(pipeline_of(words, aggregate), steps, manner)
    expected = by_definition(words, aggregate, steps, manner.parallelism)
    compare(in_any_order(found), in_any_order(expected), manner)


def test_the_plans_reach_what_matters() -> None:
    """A property that never sees a late record, a crash after a checkpoint or a second split proves little."""
    seen: set[str] = set()

    @settings(max_examples=150, database=None, deadline=None)
    @given(steps=plans(disturbed=True))
    def look(steps: list[Step]) -> None:
        for move in moves(steps, 2):
            if isinstance(move, Arrival):
                seen.add("late" if move.event.at <= move.watermark else "in time")
                seen.add("first" if move.watermark == TIME_MIN else "later")
        names = [type(step).__name__ for step in steps]
        if "Checkpoint" in names and "Crash" in names[names.index("Checkpoint") :]:
            seen.add("crash after a checkpoint")

    look()
    assert seen == {"late", "in time", "first", "later", "crash after a checkpoint"}
