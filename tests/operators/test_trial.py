"""A record whose handler raises leaves nothing behind, whatever kind of state it touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

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
    Process,
    ReducingState,
    ValueState,
)
from actorstream.api.pipeline import Pipeline
from tests.operators.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorstream.operators.contexts import BroadcastContext, Context, ElementContext
    from actorstream.operators.process_timers import Timer

FAILED = OutputTag[Failure[int]]("failed")
SEEN = OutputTag[int]("seen")


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
    return [cast("tuple[object, int]", part)[0] if isinstance(part, tuple) else part for part in row]


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

    rig.fire()

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
        rig.run([1], [1], [0])
        for value in broadcast:
            rig.run_beside([value], [0])
        rig.run([1, 2], [1, 2], [0, 0])
        assert rig.state is not None
        stored = [rig.state.unkeyed["rules"].peek(0), [rig.state.maps["pages"].peek(key) for key in (1, 2)]]
        return given, rig.rows(), stored

    assert after([1, bad, 4]) == after([1, 4])
