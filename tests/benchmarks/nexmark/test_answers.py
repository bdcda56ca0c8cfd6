"""The loops that `cost` takes as its measure give the answers to the queries."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings

from benchmarks.nexmark import answers
from benchmarks.nexmark.generator import events
from tests.benchmarks.nexmark import by_definition, story
from tests.benchmarks.nexmark.strategies import Arrivals, arrivals

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.nexmark.events import Event

    Windowed = Callable[[list[Event], float], list[Any]]

WINDOWED = [
    pytest.param(answers.q5, by_definition.q5, id="q5"),
    pytest.param(answers.q5_by_slices, by_definition.q5, id="q5 by slices"),
    pytest.param(answers.q5_with_windows_at_hand, by_definition.q5, id="q5 at hand"),
    pytest.param(answers.q7_with_the_window_at_hand, by_definition.q7, id="q7 at hand"),
    pytest.param(answers.q7, by_definition.q7, id="q7"),
    pytest.param(answers.q8, by_definition.q8, id="q8"),
]


@pytest.mark.parametrize(("loop", "definition"), WINDOWED)
@pytest.mark.parametrize(("rate", "disorder"), [(400, 0.0), (400, 0.1), (100, 9.5), (3, 30.0)])
def test_loop_gives_the_answer_in_order(loop: Windowed, definition: Any, rate: int, disorder: float) -> None:
    """Over windows with thousands of events and with a few, and with disorder over several windows."""
    made = events(min(8_000, rate * 100), rate=rate, disorder=disorder)
    assert loop(made, disorder) == definition(made)


@pytest.mark.parametrize(("loop", "definition"), WINDOWED)
@given(arrived=arrivals())
@settings(max_examples=80, deadline=None)
def test_loop_gives_the_answer_for_any_events(loop: Windowed, definition: Any, arrived: Arrivals) -> None:
    """Equal counts and prices, empty windows between full ones, events on the first and last instant of a window."""
    assert loop(arrived.events, arrived.disorder) == definition(arrived.events)


@given(arrived=arrivals())
@settings(max_examples=80, deadline=None)
def test_q3_joins_whoever_comes_first(arrived: Arrivals) -> None:
    """A seller after the auctions, before them, in between, and one who never comes."""
    assert sorted(answers.q3(arrived.events)) == by_definition.q3(arrived.events)


def test_q3_gives_a_pair_as_soon_as_both_are_there() -> None:
    """In the order of arrival, which is also that of the pipeline."""
    seller = story.ANN
    first, second = (event for event in story.EVENTS if getattr(event, "seller", None) == seller.id)
    before, after = answers.q3([second, first, seller]), answers.q3([seller, second, first])

    assert [item.auction for item in before] == [item.auction for item in after] == [13, 10]
    assert [item.auction for item in answers.q3([first, seller, second])] == [10, 13]
    assert answers.q3([first, second]) == []


@pytest.mark.parametrize("query", ["q3", "q5", "q7", "q8"])
def test_loop_agrees_with_the_story(query: str) -> None:
    """What was worked out by hand."""
    assert getattr(answers, query)(story.EVENTS) == story.ANSWERS[query]


@pytest.mark.parametrize("loop", [answers.q5, answers.q5_by_slices], ids=["q5", "q5 by slices"])
def test_windows_that_have_ended_are_let_go(loop: Windowed) -> None:
    """As in the pipeline: to keep all windows to the end would be another task, and less work."""

    def peak(seconds: int) -> int:
        made = events(100 * seconds, rate=100)
        tracemalloc.start()
        loop(made, 0.1)
        bytes_max = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return bytes_max

    assert peak(100) < 2 * peak(20)
