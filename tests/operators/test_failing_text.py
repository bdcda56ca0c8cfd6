"""Records whose function raises, in the generated text: a failure aside, the others as if it had not been there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream import (
    Failure,
    OutputTag,
    PlanError,
    Process,
)
from actorstream.api.pipeline import Pipeline
from actorstream.errors import StateAccessError
from tests.operators.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorstream.api.stream import Stream
    from actorstream.operators.contexts import ElementContext

FAILED = OutputTag[Failure[int]]("failed")
SEEN = OutputTag[int]("seen")


def inverse(value: int) -> float:
    return 1 / value


def around(value: int) -> Iterator[int]:
    yield value
    yield 12 // value


class Unclear:
    """Neither true nor false."""

    def __bool__(self) -> bool:
        """Tell nothing."""
        raise ValueError("unclear")


def kept(value: int) -> Any:
    return Unclear() if not value else value > 1


def run(build: Callable[[Stream[int]], Stream[Any]], values: list[int]) -> tuple[Any, list[Any]]:
    """Run a chain over some records; give the results, and the failures as (record, error)."""
    given: list[object] = []
    failures: list[Failure[int]] = []
    pipeline = Pipeline("failing")
    made = build(pipeline.source([1], name="in"))
    made.sink(given.append, name="out")
    made.side_output(FAILED).sink(failures.append, name="dead")
    Rig(pipeline, "in").run(values, None, [0] * len(values))
    return given, [(each.value, each.error.partition(":")[0]) for each in failures]


def test_what_a_function_cannot_handle_goes_aside() -> None:
    """The record itself, in its place among the results of the others."""
    divided = ([(0, "ZeroDivisionError")], [0, 2, 0])
    assert run(lambda s: s.map(inverse, errors=FAILED), [2, 0, 4]) == ([0.5, 0.25], divided[0])
    assert run(lambda s: s.filter(kept, errors=FAILED), [1, 0, 3]) == ([3], [(0, "ValueError")])
    assert run(lambda s: s.flat_map(around, errors=FAILED), [3, 0, 4]) == ([3, 4, 4, 3], divided[0])
    assert run(lambda s: s.flat_map(lambda _: None, errors=FAILED), [1]) == ([], [])


def test_an_error_is_that_operator_s_alone() -> None:
    """What is chained behind it is outside of its try."""
    pipeline = Pipeline("failing")
    made = pipeline.source([1], name="in").map(abs, name="abs", errors=FAILED)
    made.map(inverse, name="inverse").sink(print, name="out")
    made.side_output(FAILED).sink(print, name="dead")

    with pytest.raises(ZeroDivisionError):
        Rig(pipeline, "in").run([0], None, [0])

    chained = run(lambda s: s.map(abs, name="abs").map(inverse, errors=FAILED), [-2, 0])
    assert chained == ([0.5], [(0, "ZeroDivisionError")])


def test_a_failure_has_the_time_that_the_record_was_given() -> None:
    """Also where times are made exact only where they are asked for; and so has whatever its output is given to."""
    failures: list[Failure[int]] = []
    times: list[float] = []

    class Note(Process[Failure[int], int]):
        """Looks at the time."""

        def on_element(self, value: Failure[int], ctx: ElementContext, /) -> None:
            """Note it."""
            times.append(ctx.timestamp.timestamp())

    pipeline = Pipeline("failing")
    timed = pipeline.source([1], name="in").assign_timestamps(lambda value: value + 0.1000004, name="time")
    made = timed.filter(lambda _: True, name="all").map(lambda value: 1 // (value - 1), name="inverse", errors=FAILED)
    made.sink(print, name="out")
    made.side_output(FAILED).sink(failures.append, name="dead")
    made.side_output(FAILED).process(Note, name="note")

    Rig(pipeline, "in").run([1], None, None)

    assert [failure.timestamp and failure.timestamp.timestamp() for failure in failures] == [1.1]
    assert times == [1.1]


def test_failures_can_fail_in_their_turn() -> None:
    """Each operator has an output of its own, also one that takes failures."""
    worse = OutputTag[Failure[Failure[int]]]("worse")
    found: list[Any] = []
    pipeline = Pipeline("failing")
    made = pipeline.source([1], name="in").map(inverse, name="inverse", errors=FAILED)
    made.sink(print, name="out")
    again = made.side_output(FAILED).map(lambda failure: 1 / (failure.value or 0), name="again", errors=worse)
    again.sink(print, name="never")
    again.side_output(worse).sink(found.append, name="dead")

    Rig(pipeline, "in").run([0], None, [0])

    (failure,) = found
    assert (failure.operator, failure.value.operator, failure.value.value) == ("again", "inverse", 0)


def test_an_operator_without_errors_costs_nothing() -> None:
    """Its text is what it was."""
    pipeline = Pipeline("plain")
    pipeline.source([1], name="in").map(inverse).sink(print, name="out")

    assert "try" not in Rig(pipeline, "in").step.source


def test_a_rule_broken_is_no_failure_of_the_record() -> None:
    """State used where there is no key: the program is wrong, whatever the record is."""

    def use(_: int) -> int:
        raise StateAccessError("there is no key")

    with pytest.raises(StateAccessError):
        run(lambda s: s.map(use, errors=FAILED), [1])


def test_failures_that_nobody_takes_are_refused() -> None:
    """They would be lost, and nobody know it."""
    pipeline = Pipeline("lost")
    pipeline.source([1]).map(inverse, name="inverse", errors=FAILED).sink(print)

    with pytest.raises(PlanError, match=r"map 'inverse' puts the records that fail on the side output 'failed'.*lost"):
        Rig(pipeline, "in")


@pytest.mark.parametrize("tag", ["failed", OutputTag[Any]("")])
def test_errors_is_a_tag_with_a_name(tag: Any) -> None:
    """A name alone would say nothing of the type; an empty one is the main output."""
    with pytest.raises(PlanError, match="errors is"):
        Pipeline("odd").source([1]).map(inverse, errors=tag)


@pytest.mark.parametrize("text", ["two words", "", b"bytes", bytearray(b"more")], ids=repr)
def test_a_text_is_no_list_of_results(text: Any) -> None:
    """It would be taken apart into characters; where errors go aside, only its record does."""

    def mostly_lists(value: int) -> Any:
        return [value] if value else text

    given, failures = run(lambda stream: stream.flat_map(mostly_lists, errors=FAILED), [1, 0, 2])
    assert (given, failures) == ([1, 2], [(0, "TypeError")])
    with pytest.raises(TypeError, match=f"gave a {type(text).__name__}, expected a list of results"):
        Rig(_flat_mapped(mostly_lists), "in").run([1, 0, 2], None, [0] * 3)


def _flat_mapped(fn: Callable[[int], Any]) -> Pipeline:
    pipeline = Pipeline("texts")
    pipeline.source([1], name="in").flat_map(fn).sink(lambda value: None)
    return pipeline


class Wordy(Process[int, Any]):
    """Gives a text for 0, which is no list of results."""

    def on_element(self, value: int, ctx: ElementContext) -> Any:
        """Give the value in a tuple, which is one."""
        return (value,) if value else "words"


def test_a_handler_that_gives_a_text_is_refused() -> None:
    """As a function is."""
    given, failures = run(lambda stream: stream.process(Wordy, errors=FAILED), [1, 0, 2])
    assert (given, failures) == ([1, 2], [(0, "TypeError")])


def test_whatever_else_can_be_iterated_over_is_a_list_of_results() -> None:
    """Lists, tuples, generators, sets, ranges, None, and what is false."""
    kinds: list[Any] = [[1], (2,), around(3), {4}, range(5, 6), None, False, iter([6])]

    given, _ = run(
        lambda stream: stream.flat_map(lambda at: kinds[at]).map(int, errors=FAILED), list(range(len(kinds)))
    )

    assert given == [1, 2, 3, 4, 4, 5, 6]
