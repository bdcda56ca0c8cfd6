"""Records whose function raises, in the generated text: a failure aside, the others as if it had not been there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream import (
    AggregatingState,
    BroadcastProcess,
    BroadcastState,
    Failure,
    KeyedProcess,
    ListState,
    MapState,
    OperatorListState,
    OutputTag,
    PlanError,
    Process,
    ReducingState,
    ValueState,
)
from actorstream.api.pipeline import Pipeline
from actorstream.errors import StateAccessError
from tests.operators.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actorstream.api.stream import Stream
    from actorstream.operators.contexts import BroadcastContext, Context, ElementContext
    from actorstream.operators.process_timers import Timer

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


class Added:
    """Adds up in place."""

    def create(self) -> list[int]:
        """Begin with nothing."""
        return []

    def add(self, acc: list[int], value: int, /) -> list[int]:
        """Append."""
        acc.append(value)
        return acc

    def result(self, acc: list[int], /) -> int:
        """Count."""
        return len(acc)

    def merge(self, left: list[int], right: list[int], /) -> list[int]:
        """Join."""
        return left + right


class Everything(KeyedProcess[int, int, str]):
    """Touches all kinds of state, and then may raise."""

    total: ValueState[int] = ValueState(0)
    seen: ValueState[set[int]] = ValueState(factory=set)
    recent: ListState[int] = ListState()
    days: MapState[int, list[int]] = MapState()
    passing: ValueState[list[int]] = ValueState(factory=list, ttl=1_000_000)
    most: ReducingState[int] = ReducingState(max)
    added: AggregatingState[int, list[int], int] = AggregatingState(Added())

    def on_element(self, value: int, ctx: Context[int], /) -> Iterator[str]:
        """Remember, tell, and raise if it is negative; 100 and -100 forget."""
        if abs(value) == 100:
            ctx.clear()
        self.total += value
        self.seen.add(value)
        self.recent.append(value)
        self.passing.append(value)
        self.most.add(abs(value))
        self.added.add(value)
        self.days.setdefault(abs(value) % 3, []).append(value)
        self.days[7] = [*self.days.get(7, []), value]
        ctx.set_timer(abs(value))
        ctx.emit_to(SEEN, value)
        if abs(value) % 5 == 0:
            del self.days[7]
            del self.seen
        if abs(value) % 7 == 0:
            ctx.cancel_timer()
            self.days.clear()
        yield f"{self.total} {self.most.get()} {self.added.get()}"
        if value < 0:
            raise ValueError("negative")

    def on_timer(self, timer: Timer, ctx: Context[int], /) -> Iterable[str]:
        """Nothing."""
        return ()


def everything(values: list[int]) -> tuple[Any, ...]:
    """Give what the handler gave, and what it left behind."""
    given: list[Any] = []
    pipeline = Pipeline("failing")
    made = pipeline.source([1], name="in").key_by(lambda v: v).process(Everything, name="head", errors=FAILED)
    made.sink(given.append, name="out")
    made.side_output(SEEN).sink(given.append, name="seen")
    failures: list[Failure[int]] = []
    made.side_output(FAILED).sink(failures.append, name="dead")
    rig = Rig(pipeline, "head")
    for value in values:
        rig.run([value], [abs(value) % 2], [0])
    state = rig.state
    assert state is not None
    rows = {key: _without_expiry(row) for key, row in rig.rows().items()}
    maps = {key: state.maps["days"].peek(key) for key in (0, 1)}
    assert state.timers is not None
    timers = {key: state.timers.at(key, "", "event") for key in (0, 1)}
    return given, rows, maps, timers, [each.value for each in failures]


def _without_expiry(row: Any) -> Any:
    """Leave out by which clock a value will expire."""
    return tuple(part[0] if isinstance(part, tuple) else part for part in row)


@pytest.mark.parametrize("bad", [-1, -3, -5, -7, -35, -100])
@pytest.mark.parametrize("at", range(6))
def test_a_record_that_fails_leaves_nothing_behind(bad: int, at: int) -> None:
    """State, timers, results and side outputs are what they are without it, whatever it touched, and when."""
    good = [1, 2, 5, 3, 100]
    values = [*good[:at], bad, *good[at:]]

    *found, failures = everything(values)
    *expected, _ = everything(good)

    assert found == expected
    assert failures == [bad]


class Alarm(KeyedProcess[int, int, str]):
    """A timer whose handler raises."""

    count: ValueState[int] = ValueState(0)

    def on_element(self, value: int, ctx: Context[int], /) -> None:
        """Set it."""
        self.count += 1
        ctx.set_timer(value, "wake")

    def on_timer(self, timer: Timer, ctx: Context[int], /) -> Iterator[str]:
        """Change something, set it again, and raise."""
        self.count = 100
        ctx.set_timer(timer.at.timestamp() + 5, "wake")
        yield "never"
        raise LookupError(timer.name)


def test_a_timer_that_fails_is_gone_and_its_failure_says_so() -> None:
    """There is no record to send again: the failure has the key, the name and the time of the timer."""
    failures: list[Failure[int]] = []
    pipeline = Pipeline("failing")
    made = pipeline.source([1], name="in").key_by(lambda v: v).process(Alarm, name="head", errors=FAILED)
    made.sink(print, name="out")
    made.side_output(FAILED).sink(failures.append, name="dead")
    rig = Rig(pipeline, "head")
    rig.run([3], [9], [0])
    rig.bindings.clock.now = 4_000_000

    rig.part("fire").run(None, None, None, None, 0, 0)

    (failure,) = failures
    assert (failure.value, failure.timer, failure.key, failure.error) == (None, "wake", 9, "LookupError: wake")
    assert failure.timestamp is not None
    assert failure.timestamp.timestamp() == 3
    assert rig.rows() == {9: 1}
    assert rig.state is not None
    assert rig.state.timers is not None
    assert rig.state.timers.at(9, "wake", "event") is None


class Waiting(Process[int, int]):
    """Keeps a list, of things that can be changed in place."""

    waiting: OperatorListState[list[int]] = OperatorListState()

    def on_element(self, value: int, ctx: ElementContext, /) -> Iterator[int]:
        """Change it in every way."""
        self.waiting.append([value])
        self.waiting[0].append(value)
        if abs(value) % 3 == 0:
            self.waiting.clear()
        if abs(value) % 5 == 0:
            del self.waiting[:1]
            self.waiting[:] = [*self.waiting, [0]]
        yield len(self.waiting)
        if value < 0:
            raise ValueError("negative")


@pytest.mark.parametrize("bad", [-1, -3, -5])
def test_a_list_without_key_is_undone_too(bad: int) -> None:
    """Element by element: they may be changed in place."""

    def waiting(values: list[int]) -> Any:
        pipeline = Pipeline("failing")
        made = pipeline.source([1], name="in").process(Waiting, name="head", new_chain=True, errors=FAILED)
        given: list[int] = []
        made.sink(given.append, name="out")
        made.side_output(FAILED).sink(lambda _: None, name="dead")
        rig = Rig(pipeline, "head")
        rig.run(values, None, [0] * len(values))
        process: Any = rig.process
        return given, list(process.waiting)

    assert waiting([1, bad, 2]) == waiting([1, 2])


class Rules(BroadcastProcess[int, int, int, str]):
    """Broadcast state, and a visit of every key."""

    count: ValueState[int] = ValueState(0)
    pages: MapState[int, int] = MapState()
    rules: BroadcastState[str, list[int]] = BroadcastState()

    def on_element(self, value: int, ctx: Context[int], /) -> Iterator[str]:
        """Count, by the rules."""
        self.count += 1
        self.pages[value] = self.count
        yield f"{dict(self.rules)} {self.count}"

    def on_broadcast(self, value: int, ctx: BroadcastContext, /) -> Iterator[str]:
        """Change rules and keys, and raise if it is negative."""
        rules = ctx.writable(self.rules)
        rules.setdefault("all", []).append(value)
        rules[str(abs(value))] = [value]
        if abs(value) % 2 == 0:
            rules.popitem()
        if abs(value) % 3 == 0:
            rules.clear()
        if abs(value) % 5 == 0:
            del rules["all"]

        def visit(_: int, count: int) -> None:
            self.count = count + 100
            self.pages.clear()

        ctx.for_each_key(Rules.count, visit)
        yield "done"
        if value < 0:
            raise ValueError("negative")


@pytest.mark.parametrize("bad", [-1, -2, -3, -5, -30])
def test_a_broadcast_record_that_fails_leaves_rules_and_keys_alone(bad: int) -> None:
    """What one subtask undoes every other does: they all were given the same record."""

    def after(broadcast: list[int]) -> Any:
        pipeline = Pipeline("failing")
        source = pipeline.source([1], name="in")
        rules = pipeline.source([1], name="rules").broadcast()
        made = source.key_by(lambda v: v).connect(rules).process(Rules, name="head", errors=FAILED)
        given: list[str] = []
        made.sink(given.append, name="out")
        made.side_output(FAILED).sink(lambda _: None, name="dead")
        rig = Rig(pipeline, "head")
        beside = rig.beside()
        rig.run([1], [1], [0])
        for value in broadcast:
            beside.run([value], None, [0], None, 0, 1)
        rig.run([1, 2], [1, 2], [0, 0])
        assert rig.state is not None
        stored = [rig.state.unkeyed["rules"].peek(0), [rig.state.maps["pages"].peek(key) for key in (1, 2)]]
        return given, rig.rows(), stored

    assert after([1, bad, 4]) == after([1, 4])
