"""The layout of timers in a layer, and the encoding of their times."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.state.entries import Slots
from actorstream.state.key_space import KeySpace
from actorstream.state.stack import LayerStack
from actorstream.state.timer_entries import TimerEntries, TimerWriting, time_bytes, time_in
from tests.state.rig import ALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.state.entries import Entry

PART, SUFFIX = b"0a\x00\x01", b"\x010n\x00\x01"


def writing(*, bottom: bool = False) -> TimerWriting:
    space = KeySpace(
        operator=OperatorNumber(5), name="op", key_groups=ALL, max_parallelism=8, stack=LayerStack.covering(ALL)
    )
    return TimerWriting(TimerEntries(StateNumber(9), space), Slots(), bottom=bottom)


@given(times=st.lists(st.integers(TIME_MIN, TIME_MAX), min_size=2))
def test_times_sort_as_their_bytes(times: Sequence[int]) -> None:
    """From the first to the last instant of 64 bits, through 1970."""
    for one, other in pairwise([*times, TIME_MIN, -1, 0, 1, TIME_MAX]):
        assert (one < other) == (time_bytes(one) < time_bytes(other))
        assert time_in(b"x" + time_bytes(one) + b"y", 1) == one


def test_layout_of_timers() -> None:
    """Golden: a change orphans every store."""
    write = writing()
    head = b"\x00\x05\x00\x07\x00\x09"
    assert write.change(PART, SUFFIX, 258, (1, 258)) == [
        (head + b"\x01\x01" + b"\x80\0\0\0\0\0\0\x01" + PART + SUFFIX[1:], b"\x01"),
        (head + b"\x02" + PART + SUFFIX, b"\x00" + b"\x80\0\0\0\0\0\x01\x02"),
        (head + b"\x01\x01" + b"\x80\0\0\0\0\0\x01\x02" + PART + SUFFIX[1:], b"\x00" + b"\0\0\0\x04"),
    ]
    assert write.marks((TIME_MIN, 3), [TIME_MIN, TIME_MIN]) == [(head + b"\x00\x01", b"\x00" + b"\x80\0\0\0\0\0\0\x03")]


def test_at_the_bottom_there_is_nothing_to_hide() -> None:
    """The first layer of a store has no tombstones, and so no marks."""
    write = writing(bottom=True)
    assert write.change(PART, SUFFIX, None, (1, 2)) == [None]
    assert len(write.change(PART, SUFFIX + b"2", 5, (1,))) == 2
    assert write.marks((0, 0), [TIME_MAX, TIME_MAX]) == []


def test_marks_are_written_where_they_spare_or_are_needed() -> None:
    """One entry a key group and domain: not for each timer, and none where an old one still holds."""

    def marked(at: int | None, stale: Sequence[int], floor: int, highest: int) -> list[Entry]:
        write = writing()
        write.change(PART, SUFFIX, at, stale)
        return write.marks((TIME_MIN, floor), [TIME_MIN, highest])

    assert marked(5, (), 5, TIME_MIN) == []
    assert marked(5, (), 5, 5) == []
    assert len(marked(5, (), 5, 6)) == 1, "set before a mark that may be there"
    assert len(marked(None, (5,), 6, TIME_MIN)) == 1, "a tombstone to spare"
    assert marked(None, (5,), TIME_MIN, TIME_MIN) == [], "such a mark would spare nothing"
