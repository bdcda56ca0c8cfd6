"""Whole pipelines with joins against naive computations, out of order, with crashes in between."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream import Change, OutputTag, Session, Sliding, Tumbling
from actorstream.operators.joins.cogroup import CoGroup
from actorstream.operators.joins.interval import IntervalJoin
from actorstream.operators.joins.table_join import TableJoin
from actorstream.operators.user_time import datetime_of
from actorstream.operators.windows.results import WindowResult
from tests.operators.joins import naive as naive_joins
from tests.operators.joins.rig import Record as JoinRecord
from tests.operators.joins.rig import Watermark as JoinWatermark
from tests.time.definition import Arrival, Passed, Told, moves
from tests.time.driving import SIDES, Event, Manner, plans, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actorstream import KeyedStream, Stream, WindowAssigner
    from tests.operators.joins.rig import Event as JoinEvent
    from tests.time.driving import Step
from tests.time.codes import FEW, MANNERS, MICROSECOND, code_of, compare, key_of

LATE: OutputTag[int] = OutputTag("too late")


def with_key(pair: Any) -> tuple[str, Any]:
    return key_of(next(each for each in pair if each is not None)), pair


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
