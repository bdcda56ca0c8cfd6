"""Copies share nothing mutable with the original, and cost nothing where nothing is mutable."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given

from actorstream.codec.copying import copy_value, is_immutable
from actorstream.errors import CodecError
from tests.codec import strategies
from tests.codec.domain import Box, Cart, Color, Lazy, Level, Numbered, Order, Packed, Point, Reading, Spot
from tests.codec.strategies import examples

NOW = datetime(2024, 5, 1, tzinfo=UTC)

IMMUTABLE: list[object] = [
    None, True, 1, 1.5, "a", b"a", NOW, date(2024, 1, 1), time(1), timedelta(1), Decimal(1), UUID(int=1), Color.RED,
    Level.LOW, (), (1, ("a", None)), frozenset({(1, 2)}), Order("a", 1.0), Point(1), Spot("a", NOW), Reading("a"),
    (Order("a", 1.0), Color.RED),
]  # fmt: skip


class Lenient(Order):
    """Not a dataclass itself: it can be given attributes."""


MUTABLE: list[object] = [
    [], {}, set(), bytearray(), ([],), (1, (2, [3])), Cart(), Lazy(1), Box(1), Packed(1), Point([]),  # type: ignore[arg-type]
    Order([], 1.0), Reading({}), Counter(), object(), Lenient("a", 1.0),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.parametrize("value", IMMUTABLE, ids=repr)
def test_immutable_value_is_its_own_copy(value: object) -> None:
    """The epoch swap relies on it: no copy on access for these."""
    assert is_immutable(value)
    assert copy_value(value) is value


@pytest.mark.parametrize("value", MUTABLE, ids=lambda v: type(v).__name__)
def test_value_that_can_be_changed_anywhere_inside_is_mutable(value: object) -> None:
    """T135: what is taken for immutable and is not leaks into a snapshot taken before."""
    assert not is_immutable(value)


@examples(80)
@given(strategies.values)
def test_copy_is_the_same_and_shares_nothing_mutable(value: object) -> None:
    """T92, T125, T135: a change through one must not show in the other."""
    copied = copy_value(value)
    assert strategies.same(copied, value)
    assert not mutables(value) & mutables(copied)
    assert is_immutable(value) == (not mutables(value))


def mutables(value: object) -> set[int]:
    """Give the identities of all mutable parts of a value that the strategies make."""
    parts: list[Any]
    match value:
        case list() | set():
            parts = list(value)
        case dict():
            parts = list(value.values())
        case Lazy():
            parts = [value.n]
        case tuple():
            return set().union(*map(mutables, value))
        case _:
            return set()
    return {id(value)}.union(*map(mutables, parts))


def test_records_are_copied_field_by_field() -> None:
    """Without `__init__` and `__post_init__`; caches are left behind."""
    cart = Cart([Order("a", 1.0)], {"x"})
    copied = copy_value(cart)
    assert copied == cart
    assert isinstance(copied, Cart)
    copied.items.append(Order("b", 2.0))
    copied.tags.add("y")
    assert cart == Cart([Order("a", 1.0)], {"x"})
    numbered = copy_value(Numbered("a", seed=7))
    assert isinstance(numbered, Numbered)
    assert numbered.made == 7
    packed = Packed(1, [2])
    struct = copy_value(packed)
    assert isinstance(struct, Packed)
    assert struct == packed
    assert struct.b is not packed.b
    frozen = Order([], 1.0)  # type: ignore[arg-type]
    thawed = copy_value(frozen)
    assert isinstance(thawed, Order)
    assert thawed.id is not frozen.id
    point = copy_value(Point([1]))  # type: ignore[arg-type]
    assert isinstance(point, Point)
    assert copy_value(bytearray(b"a")) == bytearray(b"a")


def _endless() -> list[object]:
    endless: list[object] = []
    endless.append(endless)
    return endless


def _extra() -> Cart:
    cart = Cart()
    cart.extra = 1  # type: ignore[attr-defined]
    return cart


def _unset() -> Cart:
    cart = Cart()
    del cart.items
    return cart


@pytest.mark.parametrize(
    "value", [Counter("a"), [object()], _endless(), _extra(), _unset()], ids=lambda v: type(v).__name__
)
def test_value_that_cannot_be_copied_is_refused(value: object) -> None:
    """It could not be kept either; better here than at the next checkpoint."""
    with pytest.raises(CodecError):
        copy_value(value)
