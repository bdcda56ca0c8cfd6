"""Random windows, triggers and inputs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from hypothesis import strategies as st

from actorstream.operators.windows.aggregates import (
    Aggregation,
    aggregating,
    applying,
    counting,
    extreme_by,
    folding,
    reducing,
)
from actorstream.operators.windows.assigners import Global, Session, Sliding, Tumbling, Window, WindowAssigner
from actorstream.operators.windows.definition import WindowDefinition
from actorstream.operators.windows.triggers import Trigger
from tests.operators.windows.naive import Words
from tests.operators.windows.rig import us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime, timedelta

    from actorstream.operators.process_timers import Domain, Timer
    from actorstream.operators.windows.definition import Emit
    from actorstream.operators.windows.triggers import Fire, TriggerContext
    from tests.operators.windows.naive import Record
    from tests.operators.windows.rig import Outcome


class Around(WindowAssigner[int]):
    """Windows of a user's own: some overlap, some lie behind, some records are in none."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain

    def assign(self, value: int, timestamp: datetime, /) -> Iterable[Window]:
        if value % 5:
            yield Window(timestamp - us(3), timestamp + us(4))
            yield Window(timestamp - us(20 + value % 2), timestamp - us(15))
            yield Window(timestamp - us(3), timestamp + us(4))


class Quiet(Trigger[int]):
    """A trigger of a user's own: fires when time has come a while beyond the record that came last."""

    def __init__(self, wait: timedelta) -> None:
        self.wait = wait

    def on_element(self, value: int, window: Window, ctx: TriggerContext, /) -> Fire:
        ctx.set_timer(ctx.timestamp + self.wait, "quiet")
        return "continue"

    def on_timer(self, timer: Timer, window: Window, ctx: TriggerContext, /) -> Fire:
        assert timer.at <= ctx.watermark
        return "fire"

    def on_merge(self, window: Window, ctx: TriggerContext, /) -> None:
        assert ctx.merged


def _number(value: int) -> int:
    return value


def definition(words: Words, aggregation: Aggregation) -> WindowDefinition:
    """Say the same in the user's way."""
    emit: Emit = "updates" if words.updates else "on_close"
    return WindowDefinition(_assigner(words), aggregation, _trigger(words), words.lateness, emit)


def _assigner(words: Words) -> WindowAssigner[Any]:
    domain: Domain = "processing" if words.clock else "event"
    match words.kind:
        case "aligned" if words.size == words.slide:
            return Tumbling(us(words.size), offset=us(words.offset), domain=domain)
        case "aligned":
            return Sliding(us(words.size), slide=us(words.slide), offset=us(words.offset), domain=domain)
        case "session":
            gap: Any = (lambda value: us(value % words.size + 1)) if words.by_value else us(words.size)
            return Session(gap, domain=domain)
        case "global":
            return Global()
        case "custom":
            return Around(domain)


def _trigger(words: Words) -> Trigger[Any] | None:
    if words.trigger is None:
        return None
    kind, number = words.trigger
    trigger: Trigger[Any]
    match kind:
        case "end":
            trigger = Trigger.at_clock() if words.clock else Trigger.at_watermark()
        case "count":
            trigger = Trigger.count(number)
        case "every":
            trigger = Trigger.every(us(number))
        case "every by clock":
            trigger = Trigger.every(us(number), domain="processing")
        case "delta":
            trigger = Trigger.delta(number, _number)
        case "quiet":
            trigger = Quiet(us(number))
    return trigger.purging() if words.purging else trigger


@st.composite
def words_of_windows(draw: st.DrawFn) -> Words:
    """Say any windows that are allowed."""
    kind: Literal["aligned", "session", "global", "custom"] = draw(
        st.sampled_from(["aligned", "session", "aligned", "session", "global", "custom"])
    )
    clock = kind != "global" and draw(st.integers(0, 3)) == 0
    size = draw(st.integers(1, 12))
    slide = size if kind != "aligned" or draw(st.booleans()) else draw(st.integers(1, 15))
    kinds = ["count", "every", "every by clock", "delta", "quiet"]
    how = draw(st.sampled_from(["default", "default", "updates", *kinds, *(["end"] if kind != "global" else [])]))
    if how == "default" and kind == "global":
        how = "count"
    trigger = None if how in {"default", "updates"} else (how, draw(st.integers(1, 5 if how == "count" else 9)))
    return Words(
        kind=kind,
        size=size,
        slide=slide,
        offset=draw(st.integers(-9, 9)),
        by_value=draw(st.booleans()),
        clock=clock,
        lateness=0 if clock or kind == "global" else draw(st.sampled_from([0, 0, 3, 11])),
        updates=how == "updates",
        trigger=trigger,  # type: ignore[arg-type]  # drawn from the words that it may be
        purging=trigger is not None and draw(st.booleans()),
    )


def _values(records: list[Record]) -> list[int]:
    return [record.value for record in records]


def _by_time(records: list[Record]) -> list[int]:
    return [record.value for record in sorted(records, key=lambda record: (record.time, record.number))]


def _with(held: list[int], value: int) -> list[int]:
    held.append(value)
    return held


def _both(left: list[int], right: list[int]) -> list[int]:
    left += right
    return left


class Shared:
    """An aggregate of a user's own that gives its accumulator away."""

    def create(self) -> list[int]:
        return []

    def add(self, accumulator: list[int], value: int, /) -> list[int]:
        return _with(accumulator, value)

    def merge(self, left: list[int], right: list[int], /) -> list[int]:
        return _both(left, right)

    def result(self, accumulator: list[int], /) -> list[int]:
        return accumulator


AGGREGATIONS: dict[str, tuple[Callable[[], Aggregation], Callable[[list[Record], Words], object]]] = {
    "count": (counting, lambda records, _: len(records)),
    "all": (partial(applying, list), lambda records, _: _by_time(records)),
    "greatest": (partial(extreme_by, _number, "max_by"), lambda records, _: max(_values(records))),
    "added": (partial(reducing, lambda left, right: left + right), lambda records, _: sum(_values(records))),
    "folded": (partial(folding, [], _with, _both), lambda records, _: _values(records)),
    "shared": (lambda: aggregating(Shared()), lambda records, _: _values(records)),
    "not merged": (
        partial(folding, (), lambda held, value: (*held, value), None),
        lambda records, words: tuple(_by_time(records) if words.kind == "session" else _values(records)),
    ),
}
"""The operator's word, and what it means for the records of a window as they came."""


def spoiled(outcome: Outcome, *, in_any_order: bool) -> Outcome:
    """Give a copy of results to compare, and change what was given, as nobody may whose value it still is (T125).

    Of a list that was folded the order depends on which sessions there were.
    """
    found: Outcome = []
    for each, time in outcome:
        if isinstance(each.value, list):
            found.append((each._replace(value=sorted(each.value) if in_any_order else list(each.value)), time))
            each.value.append(1_000)
        else:
            found.append((each, time))
    return found


Step = tuple[Any, ...]


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """Give an input: records out of order, watermarks and ticks that only grow, checkpoints anywhere."""
    found: list[Step] = []
    watermark, now, ahead = -60, 0, 0
    for _ in range(draw(st.integers(1, 30))):
        what = draw(st.sampled_from(["record"] * 6 + ["watermark", "tick", "tick", "restart", "checkpoint"]))
        match what:
            case "record":
                ahead += draw(st.integers(0, 4))
                time = -40 + ahead + draw(st.integers(-25, 6))
                found.append(("record", draw(st.sampled_from("abc")), draw(st.integers(0, 20)), time))
            case "watermark":
                watermark = max(watermark, -40 + ahead + draw(st.integers(-12, 4)))
                found.append(("watermark", watermark))
            case "tick":
                now += draw(st.integers(0, 7))
                found.append(("tick", now))
            case _:
                found.append((what,))
    return found
