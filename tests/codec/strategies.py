"""Values of every kind that a codec keeps."""

from __future__ import annotations

from datetime import time, timedelta, timezone
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.codec.domain import Color, Lazy, Level, Order, Page, Point, Reading, Refund, Right, Shape

offsets = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
instants = st.datetimes(timezones=offsets).filter(lambda at: 1 < at.year < 9999)
floats = st.floats(allow_nan=False)
int64s = st.integers(-(2**63), 2**64 - 1)
members: st.SearchStrategy[Any] = st.sampled_from([*Color, *Level, *Page, *Shape, *Right])
orders = st.builds(Order, st.text(), floats, int64s)
refunds = st.builds(Refund, st.text(), instants, st.none() | st.text())

hashables: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), floats, st.text(), st.binary(), instants, st.dates(), st.times(),
        st.timedeltas(), st.decimals(allow_nan=False), st.uuids(), members, orders, refunds,
        st.builds(Point, st.integers(), st.integers()), st.builds(Reading, st.text(), floats),
    ),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
values: st.SearchStrategy[Any] = st.recursive(
    hashables,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(hashables, inner, max_size=3),
        st.sets(hashables, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.builds(Lazy, inner),
    ),
    max_leaves=8,
)


def examples(count: int) -> settings:
    """Bound a property by its number of examples alone: machines differ in speed."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def same(a: object, b: object) -> bool:
    """Tell whether two values are equal in value and in class, all the way down. Datetimes may differ in zone."""
    if type(a) is not type(b):
        return False
    if isinstance(a, time):
        return a == b
    match a, b:
        case (list() | tuple(), list() | tuple()):
            return len(a) == len(b) and all(map(same, a, b))
        case dict(), dict():
            return all(map(same, a, b)) and all(map(same, a.values(), b.values())) and len(a) == len(b)
        case (set() | frozenset(), set() | frozenset()):
            return a == b and sorted(map(repr, map(type, a))) == sorted(map(repr, map(type, b)))
        case Lazy(), Lazy():
            return same(a.n, b.n)
        case _:
            return a == b
