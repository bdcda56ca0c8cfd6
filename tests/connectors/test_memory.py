"""A sequence must be read again exactly, from wherever a checkpoint stands."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.connectors.memory import FETCH_RECORDS, SequenceSource
from actorstream.errors import RestoreError
from actorstream.model.connect import InMemorySource, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


async def read(source: SequenceSource[int], after: int | None = None) -> list[int]:
    return [value async for fetched in source.read("0", after) for value in fetched.values]


def test_it_is_a_source() -> None:
    assert isinstance(SequenceSource([1]), Source)
    assert isinstance(SequenceSource([1]), InMemorySource)


@pytest.mark.parametrize("values", [[], [1], list(range(1_300)), (1, 2), range(700), deque(range(600))])
async def test_all_records_come_in_order(values: Sequence[int]) -> None:
    """Every kind of sequence, also one without slices."""
    assert await read(SequenceSource(values)) == list(values)


async def test_slices_have_the_default_size_and_the_position_of_their_last_record() -> None:
    fetched = [fetched async for fetched in SequenceSource(range(1_025)).read("0", None)]
    assert [(len(part.values), part.position) for part in fetched] == [
        (FETCH_RECORDS, 511),
        (FETCH_RECORDS, 1_023),
        (1, 1_024),
    ]


@given(
    st.integers(0, 40),
    st.integers(-1, 39),
    st.integers(1, 50),
    st.sampled_from([list, tuple, deque, lambda kept: kept]),
)
@settings(max_examples=100)
def test_taking_goes_on_right_after_any_position(
    length: int, after: int, count: int, kind: Callable[[range], Sequence[int]]
) -> None:
    """`take` is `read` without the generator: what a checkpoint recorded is never given again, nothing is skipped."""
    source = SequenceSource(kind(range(length)))
    position = None if after < 0 else min(after, length - 1) if length else None
    start = 0 if position is None else position + 1
    got: list[int] = []
    while (taken := source.take_in_memory("0", position, count)) is not None:
        assert 0 < taken.length <= count
        # What takes from it sets its iterator to a place.
        iter(taken.values).__setstate__(taken.start)  # type: ignore[attr-defined]
        got += taken.values[taken.start : taken.start + taken.length]
        assert taken.position == start + len(got) - 1
        position = taken.position
    assert got == list(range(start, length))


@pytest.mark.parametrize("values", [[1, 2, 3], (1, 2, 3), range(1, 4)])
def test_what_can_be_read_where_it_is_is_not_copied(values: Sequence[int]) -> None:
    taken = SequenceSource(values).take_in_memory("0", None, 2)

    assert taken is not None
    assert taken.values is values


class Backwards(list[int]):
    """A list that is read in an order of its own."""

    def __getitem__(self, index: Any) -> Any:
        """Count from the end."""
        return super().__getitem__(-1 - index)

    def __iter__(self) -> Iterator[int]:
        """Begin at the end."""
        return super().__reversed__()


def test_sequence_of_the_users_own_kind_is_read_by_its_own_indexes() -> None:
    """Its iterator need not be one that can be set to a place."""
    taken = SequenceSource(Backwards([1, 2, 3])).take_in_memory("0", 0, 5)

    assert taken == ([2, 1], 0, 2, 2)


async def test_a_restored_split_goes_on_after_its_position() -> None:
    assert await read(SequenceSource([10, 11, 12]), 0) == [11, 12]
    assert await read(SequenceSource([10, 11, 12]), 2) == []


async def test_a_sequence_that_has_become_shorter_is_refused() -> None:
    """Going on silently would skip what the new sequence holds."""
    with pytest.raises(RestoreError, match="after element 7 of a sequence that now has 3"):
        await read(SequenceSource([1, 2, 3]), 7)
