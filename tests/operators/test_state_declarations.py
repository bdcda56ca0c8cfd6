"""State as annotated class attributes: what a class declares, and what is refused where it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from actorstream import BroadcastProcess, Context, KeyedCoProcess, KeyedProcess, Pipeline, Process
from actorstream.errors import PlanError
from actorstream.operators.state_declarations import (
    ListState,
    MapState,
    StateRef,
    ValueState,
    declarations_of,
    default_of,
)


class Base(KeyedProcess[str, int, int]):
    """Two states."""

    first: ValueState[int] = ValueState(1)
    second: ListState[int] = ListState()


class Derived(Base):
    """One more, and another default for the first."""

    third: MapState[int, int] = MapState()
    first: ValueState[int] = ValueState(5)


@dataclass
class Cart:
    """Can be changed in place."""

    items: int = 0


def test_declarations_come_in_order_bases_first() -> None:
    """The order is that of the columns in a row."""
    assert list(declarations_of(Derived)) == ["first", "second", "third"]
    assert default_of(declarations_of(Derived)["first"]) == (5, None)


def test_on_the_class_a_state_is_its_address() -> None:
    assert Base.first == StateRef(Base, "first")
    assert Derived.second == StateRef(Derived, "second")
    assert Derived.third == StateRef(Derived, "third")


@pytest.mark.parametrize("base", [KeyedProcess, KeyedCoProcess, BroadcastProcess, Process])
def test_state_that_hides_what_the_runtime_calls_is_refused(base: type) -> None:
    """`open` is a natural name for the state of an order; it failed the job, with an error that spoke of keys."""
    for name in ("open", "close"):
        hiding = type("Hiding", (base,), {name: ValueState(0)})
        with pytest.raises(PlanError, match=rf"Hiding\.{name} is a state, and hides \w+\.{name}.*rename the state"):
            declarations_of(hiding)


async def test_state_that_hides_a_method_is_refused_before_anything_runs() -> None:
    class Hiding(KeyedProcess[str, str, str]):
        open: ValueState[int] = ValueState(0)  # type: ignore[assignment]

        def on_element(self, value: str, ctx: Context[str], /) -> None:
            self.open = 1

    pipeline = Pipeline("p")
    pipeline.source(["a"]).key_by(lambda value: value).process(Hiding)
    with pytest.raises(PlanError, match="rename the state"):
        await pipeline.run()


def test_state_may_be_declared_anew() -> None:
    class Again(Base):
        first: ValueState[int] = ValueState(7)

    assert default_of(declarations_of(Again)["first"]) == (7, None)


def test_plain_attribute_that_hides_a_state_is_refused() -> None:
    """Else the state would silently be none."""

    class Hiding(Base):
        first = 3

    with pytest.raises(PlanError, match=r"Hiding\.first hides a state"):
        declarations_of(Hiding)


@pytest.mark.parametrize("default", [[], {}, set(), bytearray(), Cart(), ([],)], ids=repr)
def test_default_that_all_keys_would_share_and_change_is_refused(default: Any) -> None:
    """T125: one key's `append` would show in every other one."""
    kind = type(default).__name__
    with pytest.raises(PlanError, match=rf"ValueState\({kind}\) would be shared by all keys: say ValueState\(factory="):
        ValueState(default)


@pytest.mark.parametrize("default", [0, None, "", (1, "a"), frozenset({1})], ids=repr)
def test_default_that_cannot_change_is_taken(default: object) -> None:
    assert default_of(ValueState(default)) == (default, None)


def test_factory_and_list_make_a_new_default_each_time() -> None:
    for declaration in (ValueState(factory=list[int]), ListState[int]()):
        _, factory = default_of(declaration)
        assert factory is not None
        assert factory() == []
        assert factory() is not factory()


def test_map_has_no_default() -> None:
    with pytest.raises(TypeError):
        default_of(MapState())
