"""Process classes: state in plain attributes, for the current key, inside a handler, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest

from actorstream.errors import MissingTimestampError, PlanError, StateAccessError
from actorstream.operators.contexts import OperatorContext, RecordContext
from actorstream.operators.process_binding import ProcessBinding, class_of, make_process
from actorstream.operators.state_declarations import ListState, MapState, ValueState
from actorstream.state.memtable import MISSING
from tests.operators.processes import Process, feed, rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from actorstream.operators.contexts import Context


class Count(Process):
    """One value."""

    count: ValueState[int] = ValueState(0)

    def on_element(self, value: Any, ctx: Context[Any], /) -> Iterable[Any]:
        """Count; "forget" goes back to the default, "clear" forgets the key, "look" changes nothing."""
        match value:
            case "forget":
                del self.count
            case "clear":
                ctx.clear()
            case "look":
                pass
            case "back":
                del self.count
                self.count += 10
            case _:
                self.count += 1
        return [(ctx.key, self.count)]


class Many(Process):
    """Several states of every kind."""

    total: ValueState[int] = ValueState(0)
    last: ValueState[str | None] = ValueState(None)
    seen: ValueState[set[int]] = ValueState(factory=set)
    recent: ListState[int] = ListState()
    days: MapState[int, int] = MapState()

    def on_element(self, value: Any, ctx: Context[Any], /) -> Iterable[Any]:
        """Do what the record says."""
        match value:
            case int():
                self.total += value
                self.last = str(value)
                self.seen.add(value)
                self.recent.append(value)
                self.days[value] = self.days.get(value, 0) + 1
            case "clear":
                ctx.clear()
            case "forget last":
                del self.last
            case "forget recent":
                del self.recent
                self.recent.append(-1)
            case "forget days":
                del self.days
            case _:
                pass
        yield self.total, self.last, sorted(self.seen), list(self.recent), dict(self.days)


NOTHING: Any = (0, None, [], [], {})


def test_each_key_has_its_own_state() -> None:
    made = rig(Count)

    assert feed(made, ("a", 1), ("b", 1), ("a", 1)) == [("a", 1), ("b", 1), ("a", 2)]
    assert made.rows() == {"a": 2, "b": 1}


def test_state_outlives_a_batch_and_a_freeze() -> None:
    made = rig(Many)
    feed(made, ("a", 1))
    assert made.state is not None
    made.state.freeze()

    assert feed(made, ("a", 2)) == [(3, "2", [1, 2], [1, 2], {1: 1, 2: 1})]


def test_reading_a_scalar_writes_nothing() -> None:
    """A row written is a row in the next snapshot."""
    made = rig(Count)

    assert feed(made, ("a", "look")) == [("a", 0)]
    assert made.rows() == {}


def test_deleted_state_is_the_default_at_once_and_gone_from_the_row() -> None:
    made = rig(Count)

    assert feed(made, ("a", 1), ("a", "forget"), ("a", 1)) == [("a", 1), ("a", 0), ("a", 1)]
    feed(made, ("a", "forget"))
    assert made.rows() == {"a": MISSING}


def test_state_that_is_deleted_and_set_again_is_stored() -> None:
    made = rig(Count)

    assert feed(made, ("a", 1), ("a", "back"), ("a", "look")) == [("a", 1), ("a", 10), ("a", 10)]


def test_one_state_of_many_can_be_deleted() -> None:
    made = rig(Many)

    assert feed(made, ("a", 1), ("a", "forget last")) == [
        (1, "1", [1], [1], {1: 1}),
        (1, None, [1], [1], {1: 1}),
    ]
    assert made.rows() == {"a": (1, MISSING, {1}, [1])}


def test_default_that_is_changed_in_place_after_a_delete_is_stored() -> None:
    """`del self.recent` gives a new list, and what is then put into it is no default."""
    made = rig(Many)

    assert feed(made, ("a", 1), ("a", "forget recent"), ("a", "look"))[-1] == (1, "1", [1], [-1], {1: 1})


def test_clear_forgets_every_state_of_the_key_and_of_no_other() -> None:
    made = rig(Many)

    assert feed(made, ("a", 1), ("b", 1), ("a", "clear"), ("a", "look"), ("b", "look"))[2:] == [
        NOTHING,
        NOTHING,
        (1, "1", [1], [1], {1: 1}),
    ]


def test_deleted_map_is_an_error_and_not_a_loss() -> None:
    """What a map holds may be larger than memory: it is emptied by `clear`, not by dropping a name."""
    made = rig(Many)

    with pytest.raises(StateAccessError, match=r"Many\.days was assigned or deleted: .*clear\(\)"):
        feed(made, ("a", 1), ("a", "forget days"), ("a", 2))


def test_value_changed_in_place_is_written_and_not_shared_with_a_frozen_one() -> None:
    """T135: `self.seen.add` only reads the attribute."""
    made = rig(Many)
    feed(made, ("a", 1))
    assert made.state is not None
    frozen = made.state.freeze()
    feed(made, ("a", 2))

    assert made.rows() == {"a": (3, "2", {1, 2}, [1, 2])}
    assert frozen is not None
    parts = frozen.encode(100)
    feed(made, ("a", 3))
    again = rig(Many)
    feed(again, ("a", 1))
    assert again.state is not None
    generation = again.state.freeze()
    assert generation is not None
    assert sorted(parts) == sorted(generation.encode(100))


def test_factory_gives_every_key_a_value_of_its_own() -> None:
    made = rig(Many)
    feed(made, ("a", 1), ("b", 2))

    assert made.rows() == {"a": (1, "1", {1}, [1]), "b": (2, "2", {2}, [2])}


class Base(Process):
    """Declares one state."""

    count: ValueState[int] = ValueState(0)

    def on_element(self, value: Any, ctx: Context[Any], /) -> Iterable[Any]:
        """Count."""
        self.count += value
        return [self.count]


class Derived(Base):
    """Adds one, and calls its base."""

    largest: ValueState[int] = ValueState(0)

    def on_element(self, value: Any, ctx: Context[Any], /) -> Iterable[Any]:
        """Count, and keep the largest."""
        (count,) = super().on_element(value, ctx)
        self.largest = max(self.largest, value)
        return [(count, self.largest)]


def test_subclass_has_the_states_of_its_base_and_its_own() -> None:
    made = rig(Derived)

    assert feed(made, ("a", 5), ("a", 3)) == [(5, 5), (8, 5)]
    assert isinstance(made.process, Derived)


@dataclass
class Limited(Process):
    """Built with an argument, by a function."""

    limit: int
    plain: list[int] = field(default_factory=list)

    hits = ValueState(0)

    def on_element(self, value: Any, ctx: Context[Any], /) -> Iterable[Any]:
        """Stop at the limit; remember everything in a plain attribute, which is no state."""
        self.plain.append(value)
        if self.hits < self.limit:
            self.hits += 1
            return [self.hits]
        return []


def test_object_is_of_its_generated_class_at_once_and_still_of_the_user_s() -> None:
    """Changing an object's class later costs every access to its attributes; queries ask for the user's class."""
    process = make_process(Derived, Derived)

    assert type(process) is not Derived
    assert (type(process).__name__, type(process).__qualname__, type(process).__module__) == (
        "Derived",
        "Derived",
        __name__,
    )
    assert class_of(process) is Derived
    assert type(make_process(Derived, Derived)) is not type(process)


def test_object_that_a_function_makes_gets_its_class_when_it_is_bound() -> None:
    process = make_process(lambda: Limited(2), None)
    assert type(process) is Limited
    assert class_of(process) is Limited

    made = rig(lambda: Limited(2))

    assert type(made.process) is not Limited
    assert class_of(made.process) is Limited


def test_function_may_build_the_object_and_plain_attributes_are_no_state() -> None:
    made = rig(lambda: Limited(2))

    assert feed(made, ("a", 1), ("a", 2), ("a", 3), ("b", 4)) == [1, 2, 1]
    assert cast("Limited", made.process).plain == [1, 2, 3, 4]
    assert made.rows() == {"a": 2, "b": 1}


class Emitting(Process):
    """Gives back whatever it is told."""

    def on_element(self, value: Any, ctx: Context[Any], /) -> Any:
        """Give it back."""
        return value


@pytest.mark.parametrize("result", [[1, 2], (1, 2), iter([1, 2]), (n for n in (1, 2)), {1: 0, 2: 0}])
def test_anything_iterable_can_be_emitted(result: Any) -> None:
    assert feed(rig(Emitting), ("a", result)) == [1, 2]


def test_none_emits_nothing() -> None:
    assert feed(rig(Emitting), ("a", None), ("a", [])) == []


class Late(Process):
    """Changes its state after its last emit."""

    count: ValueState[int] = ValueState(0)

    def on_element(self, value: Any, ctx: Context[Any], /) -> Iterable[Any]:
        """Count late."""
        yield self.count
        self.count += 1


def test_generator_handler_may_change_state_after_its_last_yield() -> None:
    assert feed(rig(Late), ("a", 1), ("a", 1)) == [0, 1]


def test_two_objects_of_one_class_do_not_share_attributes() -> None:
    """Each subtask has its own object, of a class of its own."""
    one, other = rig(Count), rig(Count)

    assert feed(one, ("a", 1), ("a", 1)) == [("a", 1), ("a", 2)]
    assert feed(other, ("a", 1)) == [("a", 1)]


# ---- what is refused


class Waiting(Process):
    """Asynchronous."""

    async def on_element(self, value: Any, ctx: Context[Any], /) -> Any:
        """Wait."""


class WaitingToEmit(Process):
    """Asynchronous, and a generator."""

    async def on_element(self, value: Any, ctx: Context[Any], /) -> AsyncIterator[Any]:
        """Wait."""
        yield value


@pytest.mark.parametrize("owner", [Waiting, WaitingToEmit])
def test_async_handler_is_refused_also_behind_a_function(owner: type[Process]) -> None:
    """A partial or a lambda hides it from the plan."""
    with pytest.raises(PlanError, match="on_element is async"):
        rig(partial(owner))


# ---- the context


class FixedClock:
    """Stands still."""

    def now_us(self) -> int:
        """Read the wall clock."""
        return 1_500_000

    def monotonic(self) -> float:
        """Read the other one."""
        return 0.0


class Telling(Process):
    """Emits what its context says."""

    def on_element(self, value: Any, ctx: Context[Any], /) -> Iterable[Any]:
        """Tell."""
        return [(ctx.key, ctx.timestamp, ctx.now)]


def test_context_tells_key_event_time_and_the_jobs_clock() -> None:
    made = rig(Telling, clock=FixedClock())
    (lists,) = made.run(["x"], ["a"], [250_000])

    event, now = datetime(1970, 1, 1, 0, 0, 0, 250_000, UTC), datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)
    assert lists.values == [("a", event, now)]


def test_missing_event_time_is_an_error_that_says_where_it_would_come_from() -> None:
    with pytest.raises(
        MissingTimestampError, match=r"head: the source of this record gives no timestamps; say .assign_timestamps"
    ):
        feed(rig(Telling), ("a", 1))


def test_base_class_does_nothing_and_says_what_is_missing() -> None:
    process = Process()

    with pytest.raises(NotImplementedError):
        process.on_element(1, cast("Context[Any]", None))


async def test_open_and_close_may_be_left_out() -> None:
    process = Process()

    await process.open(cast("OperatorContext", None))
    await process.close()


def test_binding_knows_its_operator() -> None:
    made = rig(Count)
    assert isinstance(made.bindings.process, ProcessBinding)
    assert made.bindings.process.operator == "head"
    assert isinstance(made.bindings.process.context, RecordContext)
