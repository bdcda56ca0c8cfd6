"""Windowed streams: each method is one operator, typed by what it gives."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, assert_type

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.script import collect
from actorstream.api.stream import Stream
from actorstream.api.windowed import WindowedStream, WindowResults
from actorstream.errors import PlanError
from actorstream.graph.nodes import TimedSpec
from actorstream.operators.timed import LATE_OUTPUT
from actorstream.operators.windows.assigners import Count, Global, Session, Sliding, Tumbling
from actorstream.operators.windows.definition import WindowDefinition
from actorstream.operators.windows.results import WindowResult
from actorstream.operators.windows.triggers import Trigger
from actorstream.operators.windows.window_process import WindowProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from actorstream.operators.windows.assigners import Window
    from actorstream.operators.windows.window_process import WindowContext

Page = tuple[str, int]
"""A page, and the second at which it was read."""

READ: list[Page] = [("a", 1), ("b", 3), ("a", 12), ("a", 8), ("c", 31), ("a", 2), ("b", 61)]


class Longest(WindowProcess[str, Page, int]):
    """Gives how long a window's records reach."""

    def on_window(self, key: str, window: Window, values: Sequence[Page], ctx: WindowContext, /) -> list[int]:
        return [values[-1][1] - values[0][1]]


class Mean:
    """An aggregate."""

    def create(self) -> tuple[int, int]:
        return 0, 0

    def add(self, accumulator: tuple[int, int], value: Page, /) -> tuple[int, int]:
        return accumulator[0] + value[1], accumulator[1] + 1

    def merge(self, left: tuple[int, int], right: tuple[int, int], /) -> tuple[int, int]:
        return left[0] + right[0], left[1] + right[1]

    def result(self, accumulator: tuple[int, int], /) -> float:
        return accumulator[0] / accumulator[1]


def windowed(windows: Any = None, **words: Any) -> WindowedStream[str, Page]:
    timed = Pipeline("pages").source(READ).assign_timestamps(lambda page: float(page[1]), out_of_orderness=6)
    return timed.key_by(lambda page: page[0]).window(windows or Tumbling(10), **words)


def seconds(at: datetime) -> float:
    return at.timestamp()


def test_every_word_has_its_type() -> None:
    """What a type checker says of `w.value` is what it is."""
    pages = windowed()
    assert_type(pages.count(), WindowResults[str, Page, int])
    assert_type(pages.sum(lambda page: page[1] / 2), WindowResults[str, Page, float])
    assert_type(pages.min(lambda page: page[1]), WindowResults[str, Page, int])
    assert_type(pages.max(lambda page: page[0]), WindowResults[str, Page, str])
    assert_type(pages.min_by(lambda page: page[1]), WindowResults[str, Page, Page])
    assert_type(pages.max_by(lambda page: page[1]), WindowResults[str, Page, Page])
    assert_type(pages.reduce(max), WindowResults[str, Page, Page])
    assert_type(pages.fold(0.5, lambda total, page: total + page[1]), WindowResults[str, Page, float])
    assert_type(pages.aggregate(Mean()), WindowResults[str, Page, float])
    assert_type(pages.apply(lambda values: len(values)), WindowResults[str, Page, int])  # noqa: PLW0108  (len takes more)
    assert_type(pages.process(Longest), WindowResults[str, Page, int])
    assert_type(pages.count().late, Stream[Page])
    assert_type(pages.count().map(lambda window: window.value + 1), Stream[int])


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        (lambda pages: pages.count(), "count"),
        (lambda pages: pages.sum(len), "sum"),
        (lambda pages: pages.min(len), "min"),
        (lambda pages: pages.max(len), "max"),
        (lambda pages: pages.min_by(len), "min_by"),
        (lambda pages: pages.max_by(len), "max_by"),
        (lambda pages: pages.reduce(max), "reduce"),
        (lambda pages: pages.fold(0, max, merge=max), "fold"),
        (lambda pages: pages.aggregate(Mean()), "aggregate"),
        (lambda pages: pages.apply(len), "apply"),
        (lambda pages: pages.process(Longest), "process"),
    ],
)
def test_each_word_adds_one_operator(word: Callable[[WindowedStream[str, Page]], Any], shape: str) -> None:
    """It goes by all that was said of the windows; of one windowed stream there may be several."""
    pages = windowed(trigger=Trigger.count(5), allowed_lateness=timedelta(seconds=3))
    for _ in range(2):
        node = word(pages).origin.node
        assert isinstance(node.spec, TimedSpec)
        definition = node.spec.definition
        assert isinstance(definition, WindowDefinition)
        assert definition.aggregation.shape == shape
        assert definition.allowed_lateness_us == 3_000_000
        assert definition.trigger is not None
        assert (definition.process is not None) is (shape == "process")
        assert node.name == ("Longest" if shape == "process" else f"window-{shape}-{node.id}")


def test_late_records_are_a_side_output() -> None:
    """Of the operator that found them late."""
    counts = windowed().count(name="counts")
    (edge,) = counts.late.origin.inputs
    assert (edge.source, edge.output) == (counts.origin.node.id, LATE_OUTPUT)


async def test_windows_in_a_pipeline() -> None:
    """From records out of order to results in order; what is late is not in them."""
    found = await collect(windowed().count())
    assert [(each.key, seconds(each.start), each.value) for each in found] == [
        ("a", 0, 2),
        ("b", 0, 1),
        ("a", 10, 1),
        ("c", 30, 1),
        ("b", 60, 1),
    ]
    assert all(isinstance(each, WindowResult) for each in found)
    assert await collect(windowed().count().late) == [("a", 2)]


async def test_other_windows_in_a_pipeline() -> None:
    """One of each kind that runs in another way."""
    sessions = await collect(windowed(Session(10), allowed_lateness=60).process(Longest))
    assert [(each.key, each.value) for each in sessions] == [("b", 0), ("a", 11), ("a", 11), ("c", 0), ("b", 0)]
    sliding = await collect(windowed(Sliding(10, slide=5)).apply(len))
    assert [(seconds(each.start), each.value) for each in sliding if each.key == "a"] == [
        (-5, 1),
        (0, 2),
        (5, 2),
        (10, 1),
    ]
    counted = await collect(windowed(Count(2)).apply(list))
    assert [each.value for each in counted] == [[("a", 1), ("a", 12)], [("a", 8), ("a", 2)], [("b", 3), ("b", 61)]]
    assert [(seconds(each.start), seconds(each.end)) for each in counted] == [(1, 12), (8, 2), (3, 61)]
    largest = await collect(windowed(Global(), emit="updates").max(lambda page: page[1]))
    assert [(each.key, each.value) for each in largest][-2:] == [("a", 12), ("b", 61)]


async def wait(*_: object) -> Any:
    """Never called."""


def unchecked() -> Any:
    """Let say what no type checker would let through."""
    return windowed()


@pytest.mark.parametrize(
    ("say", "says"),
    [
        (lambda: windowed(60), r"window\(60\)"),
        (lambda: windowed(allowed_lateness=-1), "window: allowed_lateness is -1"),
        (lambda: windowed(emit="never"), "emit is 'never'"),
        (lambda: unchecked().sum(wait), "async"),
        (lambda: unchecked().min(wait), "async"),
        (lambda: unchecked().max(wait), "async"),
        (lambda: unchecked().min_by(5), "expected a function"),
        (lambda: unchecked().max_by(wait), "async"),
        (lambda: unchecked().reduce(wait), "async"),
        (lambda: unchecked().fold(0, wait), "async"),
        (lambda: unchecked().fold(0, max, merge=wait), "async"),
        (lambda: unchecked().apply(wait), "async"),
        (lambda: unchecked().aggregate(Mean), "expected an object"),
        (lambda: unchecked().aggregate(5), "expected an object with create"),
        (lambda: unchecked().process(Longest()), "pass the class"),
        (lambda: unchecked().process(5), "pass the class"),
        (lambda: unchecked().process(dict), "derive the class from WindowProcess"),
        (lambda: unchecked().process(type("P", (WindowProcess,), {"on_window": wait})), "async"),
        (lambda: unchecked().count(naem="x"), "no option 'naem'"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_said(say: Callable[[], Any], says: str) -> None:
    """Nothing runs that would fail later."""
    with pytest.raises(PlanError, match=says):
        say()
