"""A sequence must be read again exactly, from wherever a checkpoint stands."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.connectors.memory import FETCH_RECORDS, SequenceSource
from actorstream.errors import RestoreError
from actorstream.model.connect import Source

if TYPE_CHECKING:
    from collections.abc import Sequence


async def read(source: SequenceSource[int], after: int | None = None) -> list[int]:
    return [value async for fetched in source.read("0", after) for value in fetched.values]


def test_it_is_a_source() -> None:
    assert isinstance(SequenceSource([1]), Source)


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


@given(st.integers(0, 40), st.integers(-1, 39), st.integers(1, 50))
@settings(max_examples=100)
def test_taking_goes_on_right_after_any_position(length: int, after: int, count: int) -> None:
    """`take` is `read` without the generator: what a checkpoint recorded is never given again, nothing is skipped."""
    source = SequenceSource(list(range(length)))
    position = None if after < 0 else min(after, length - 1) if length else None
    start = 0 if position is None else position + 1
    got: list[int] = []
    while (fetched := source.take(position, count)) is not None:
        assert 0 < len(fetched.values) <= count
        got += fetched.values
        position = fetched.position
    assert got == list(range(start, length))


async def test_a_restored_split_goes_on_after_its_position() -> None:
    assert await read(SequenceSource([10, 11, 12]), 0) == [11, 12]
    assert await read(SequenceSource([10, 11, 12]), 2) == []


async def test_a_sequence_that_has_become_shorter_is_refused() -> None:
    """Going on silently would skip what the new sequence holds."""
    with pytest.raises(RestoreError, match="after element 7 of a sequence that now has 3"):
        await read(SequenceSource([1, 2, 3]), 7)
