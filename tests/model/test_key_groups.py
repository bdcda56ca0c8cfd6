"""Key groups: stable for ever, and always owned by exactly one subtask."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.codec.ordered_keys import encode_key
from actorstream.model.key_groups import (
    MAX_PARALLELISM_DEFAULT,
    MAX_PARALLELISM_LIMIT,
    key_group_of,
    owner_of,
    range_of,
)
from tests.codec.domain import Color

GOLDEN: list[tuple[object, int]] = [
    (0, 80),
    (1, 53),
    (-1, 51),
    (7, 48),
    (2**63, 50),
    (2**80, 23),
    (-(2**80), 44),
    (True, 116),
    (False, 47),
    (1.0, 48),
    (-2.5, 72),
    ("", 103),
    ("a", 103),
    ("ann", 86),
    ("user-12345", 29),
    ("é", 62),
    (b"", 11),
    (b"\0\xff", 125),
    (datetime(2024, 5, 1, 12, 30, tzinfo=UTC), 96),
    (date(2024, 5, 1), 40),
    (timedelta(minutes=5), 7),
    (UUID(int=5), 22),
    (Color.RED, 93),
    (("ann", 7), 26),
    (("a", ("b", None), 1.5), 17),
    ((), 19),
]


@pytest.mark.parametrize(("key", "group"), GOLDEN, ids=lambda v: repr(v)[:40])
def test_key_group_of_a_key_never_changes(key: object, group: int) -> None:
    """State is stored by key group: a change here would look for every key in the wrong place."""
    assert key_group_of(encode_key(key), MAX_PARALLELISM_DEFAULT) == group


def test_golden_keys_are_spread() -> None:
    """A hash that put them together would pass the test above and load one subtask with all."""
    assert len({group for _, group in GOLDEN}) > len(GOLDEN) // 2


parallelisms = st.integers(1, MAX_PARALLELISM_LIMIT).flatmap(
    lambda m: st.tuples(st.integers(1, min(m, 300)), st.just(m))
)


@settings(max_examples=50, deadline=None)
@given(parallelisms)
def test_ranges_tile_all_key_groups_without_gap_or_overlap(sizes: tuple[int, int]) -> None:
    """A key group without an owner loses its keys; one with two owners doubles them."""
    parallelism, max_parallelism = sizes
    end = 0
    for subtask in range(parallelism):
        owned = range_of(subtask, parallelism, max_parallelism)
        assert owned.start == end
        assert owned.end > owned.start
        end = owned.end
        for group in {owned.start, (owned.start + owned.end) // 2, owned.end - 1}:
            assert owner_of(group, parallelism, max_parallelism) == subtask
    assert end == max_parallelism


@settings(max_examples=200, deadline=None)
@given(st.binary(), parallelisms)
def test_owner_of_a_keys_group_is_a_subtask(data: bytes, sizes: tuple[int, int]) -> None:
    """Whatever the key, somebody owns it."""
    parallelism, max_parallelism = sizes
    group = key_group_of(data, max_parallelism)
    owner = owner_of(group, parallelism, max_parallelism)
    assert 0 <= owner < parallelism
    assert (
        range_of(owner, parallelism, max_parallelism).start <= group < range_of(owner, parallelism, max_parallelism).end
    )
