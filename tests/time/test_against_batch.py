"""Whole pipelines against naive computations: every window kind and join, out of order, with crashes in between.

The operators alone are tried in tests/operators; here the watermarks are those of real sources, results travel between
actors, and a crash takes the whole job back to its last checkpoint.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from operator import add
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorstream import Change, OutputTag, Session, Sliding, Tumbling
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.joins.cogroup import CoGroup
from actorstream.operators.joins.interval import IntervalJoin
from actorstream.operators.joins.table_join import TableJoin
from actorstream.operators.user_time import datetime_of
from actorstream.operators.windows.aggregates import counting
from actorstream.operators.windows.results import WindowResult
from actorstream.testing.manual_clock import ManualClock
from tests.operators.joins import naive as naive_joins
from tests.operators.joins.rig import Record as JoinRecord
from tests.operators.joins.rig import Watermark as JoinWatermark
from tests.operators.windows.cases import AGGREGATIONS, Shared, definition, words_of_windows
from tests.operators.windows.naive import Naive, Words
from tests.time.definition import Arrival, Passed, Told, moves
from tests.time.driving import SIDES, Checkpoint, Crash, Event, Manner, by_key, plans, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actorstream import KeyedStream, Stream, WindowAssigner, WindowedStream, WindowResults
    from tests.operators.joins.rig import Event as JoinEvent
    from tests.time.driving import Case, Step

MICROSECOND = 1e-6
LATE: OutputTag[int] = OutputTag("too late")
MANNERS = st.builds(
    Manner,
    batch=st.sampled_from([1, 7, 512, 0]),
    fired=st.sampled_from([1, 2, 256]),
    piece=st.sampled_from([1, 5, 512]),
    parallelism=st.sampled_from([1, 1, 2, 3, 4]),
    seed=st.integers(0, 1_000),
    unit=st.just(MICROSECOND),
)
WORDS = words_of_windows().filter(
    # Of windows that lie in the past of the clock it is not fixed how many records they get before they are dropped,
    # and windows of the clock do not bring event time with them.
    lambda words: not (words.clock and (words.kind == "custom" or _goes_by_event_time(words)))
)
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _goes_by_event_time(words: Words) -> bool:
    return words.trigger is not None and words.trigger[0] in {"every", "quiet"}


def code_of(event: Event) -> int:
    """Say all of a record in one number: what the naive windows take."""
    return event.number * 12 + event.value


def key_of(code: int) -> str:
    return "abc"[code % 3]


def same(code: int) -> int:
    return code


def with_key(pair: Any) -> tuple[str, Any]:
    return key_of(next(each for each in pair if each is not None)), pair


def compare(found: dict[str, list[Any]], expected: dict[str, list[Any]], manner: Manner) -> None:
    """Find no difference: in the whole order where there is one subtask, else in that of each key."""
    if manner.parallelism == 1:
        assert found == expected
    assert by_key(found) == by_key(expected)


# ---- windows


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


# ---- joins


def arrivals(steps: Sequence[Step], splits: int, sides: Sequence[str] = SIDES) -> list[JoinEvent]:
    """Give what comes to a join, in its naive definition's words."""
    events: list[JoinEvent] = []
    for move in moves(steps, splits, sides):
        match move:
            case Arrival(side, event, watermark):
                events.append(JoinWatermark(watermark))
                events.append(JoinRecord(side, key_of(code_of(event)), code_of(event), event.at))
            case Told(watermark):
                events.append(JoinWatermark(watermark))
            case Passed():
                pass
    return events


def outputs_of(given: naive_joins.Given, shown: Any = with_key) -> dict[str, list[Any]]:
    late = [(key_of(code), code) for code in given.late if isinstance(code, int)]
    return {"results": [shown(value) for value, _ in given.outputs], "late": late}


def late_of(results: Stream[Any]) -> Stream[tuple[str, int]]:
    return results.side_output(LATE).map(lambda code: (key_of(code), code))


@FEW
@given(
    before=st.integers(-4, 6),
    length=st.integers(0, 8),
    how=st.sampled_from(["inner", "left", "right", "full"]),
    steps=plans(disturbed=True, clock=False),
    manner=MANNERS,
)
def test_interval_joins_give_what_their_definition_says(
    before: int, length: int, how: Any, steps: list[Step], manner: Manner
) -> None:
    """Every pair once, every lonely row once and in time, and late what came too late."""
    after = length - before

    def case(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
        pairs = (
            left.map(code_of)
            .key_by(key_of)
            .interval_join(
                right.map(code_of).key_by(key_of),
                before=before * MICROSECOND,
                after=after * MICROSECOND,
                how=how,
                late=LATE,
            )
        )
        return {"results": pairs.map(with_key), "late": late_of(pairs)}

    join = IntervalJoin(before, after, how)
    expected = outputs_of(naive_joins.interval_join(join, arrivals(steps, manner.parallelism)))
    compare(run(case, steps, manner), expected, manner)


ALIGNED: list[tuple[Any, dict[str, int]]] = [
    (Tumbling, {"size": 6}),
    (Tumbling, {"size": 5, "offset": 3}),
    (Sliding, {"size": 9, "slide": 3}),
    (Sliding, {"size": 3, "slide": 5}),
]
WINDOWS = st.sampled_from([*ALIGNED, (Session, {"gap": 3})])


def windows_of(kind: tuple[Any, dict[str, int]]) -> WindowAssigner[Any]:
    made: WindowAssigner[Any] = kind[0](**{name: number * MICROSECOND for name, number in kind[1].items()})
    return made


def result_of(key: object, window: tuple[int, int], value: object) -> WindowResult[Any, Any]:
    return WindowResult(key, datetime_of(window[0]), datetime_of(window[1]), value)


def both(lefts: Iterable[int], rights: Iterable[int]) -> list[tuple[list[int], list[int]]]:
    return [(list(lefts), list(rights))]


def products(lefts: Sequence[int], rights: Sequence[int]) -> list[tuple[int, int]]:
    return [(left, right) for left in lefts for right in rights]


def met(
    word: str,
    ours: KeyedStream[str, int],
    theirs: KeyedStream[str, int],
    kind: tuple[Any, dict[str, int]],
    lateness: int,
) -> dict[str, Stream[Any]]:
    """Say it in the user's way."""
    said: dict[str, Any] = {"allowed_lateness": lateness * MICROSECOND, "late": LATE}
    groups: Stream[Any]
    if word == "cogroup":
        groups = ours.cogroup(theirs, windows_of(kind), both, **said)
    else:
        groups = ours.window_join(theirs, windows_of(kind), **said)
    return {"results": groups, "late": late_of(groups)}


def met_by_definition(
    word: str, events: Sequence[JoinEvent], kind: tuple[Any, dict[str, int]], lateness: int
) -> dict[str, list[Any]]:
    join = CoGroup(windows_of(kind), both if word == "cogroup" else products, lateness)
    return outputs_of(naive_joins.cogroup(join, events, result_of), shown=lambda value: value)


@pytest.mark.parametrize("word", ["cogroup", "window_join"])
@FEW
@given(kind=WINDOWS, lateness=st.sampled_from([0, 0, 4]), steps=plans(disturbed=True, clock=False), manner=MANNERS)
def test_joins_by_window_give_what_their_definition_says(
    word: str, kind: tuple[Any, dict[str, int]], lateness: int, steps: list[Step], manner: Manner
) -> None:
    """All records of both sides that share a window meet there, and again for each that is late."""

    def case(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
        ours, theirs = (side.map(code_of).key_by(key_of) for side in (left, right))
        return met(word, ours, theirs, kind, lateness)

    expected = met_by_definition(word, arrivals(steps, manner.parallelism), kind, lateness)
    compare(run(case, steps, manner), expected, manner)


@pytest.mark.parametrize("word", ["cogroup", "window_join"])
@FEW
@given(
    kind=st.sampled_from(ALIGNED),
    lateness=st.sampled_from([0, 0, 4]),
    steps=plans(disturbed=True, clock=False, sides=["left"]),
    manner=MANNERS.map(lambda manner: replace(manner, parallelism=1, splits=1 + manner.seed % 3)),
    filtered=st.booleans(),
)
def test_joins_of_a_stream_with_itself_give_what_their_definition_says(
    word: str, kind: tuple[Any, dict[str, int]], lateness: int, steps: list[Step], manner: Manner, filtered: bool
) -> None:
    """Both inputs come out of the source's actor: each record is put to the left first, then to the right."""

    def goes_to(code: int, side: int) -> bool:
        return not filtered or code % 5 < 3 - side

    def case(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
        right.map(code_of)
        codes = left.map(code_of)
        ours, theirs = (
            (codes.filter(partial(goes_to, side=side)) if filtered else codes).key_by(key_of) for side in (0, 1)
        )
        return met(word, ours, theirs, kind, lateness)

    coming: list[JoinEvent] = []
    for event in arrivals(steps, manner.splits, ["left"]):
        if isinstance(event, JoinRecord):
            assert isinstance(event.value, int)
            coming += [event._replace(side=side) for side in (0, 1) if goes_to(event.value, side)]
        else:
            coming.append(event)
    compare(run(case, steps, manner), met_by_definition(word, coming, kind, lateness), manner)


def newest_of(code: int) -> int | None:
    return code if code % 4 else None


def changed(events: Iterable[JoinEvent]) -> list[JoinEvent]:
    """Put in place of each record of the right the change that it is to the table."""
    table: dict[object, int | None] = {}
    found: list[JoinEvent] = []
    for event in events:
        if isinstance(event, JoinRecord) and event.side == 1:
            assert isinstance(event.value, int)
            old, new = table.get(event.key), newest_of(event.value)
            table[event.key] = new
            found.append(event._replace(value=Change(event.key, old, new)))
        else:
            found.append(event)
    return found


@FEW
@given(
    as_of=st.sampled_from(["arrival", "event_time"]),
    how=st.sampled_from(["left", "inner"]),
    versions=st.sampled_from([0, 5]),
    steps=plans(disturbed=True, clock=False),
    manner=MANNERS,
)
def test_joins_with_a_table_give_what_their_definition_says(
    as_of: Any, how: Any, versions: int, steps: list[Step], manner: Manner
) -> None:
    """The value that is there, or the one that was valid then, however the changes came."""

    def case(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
        table = right.map(code_of).key_by(key_of).latest(newest_of, versions=versions * MICROSECOND)
        rows = left.map(code_of).key_by(key_of).join_table(table, how=how, as_of=as_of)
        return {"results": rows.map(with_key)}

    join = TableJoin(how, as_of, versions)
    expected = outputs_of(naive_joins.table_join(join, changed(arrivals(steps, manner.parallelism))))
    compare(run(case, steps, manner), {"results": expected["results"]}, manner)


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
