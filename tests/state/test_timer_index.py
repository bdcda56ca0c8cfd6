"""The index of timers in the layers: the nearest are known, memory and each look are bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.times import TIME_MIN
from actorstream.state.entries import Slots
from actorstream.state.key_space import KeySpace
from actorstream.state.stack import LayerStack
from actorstream.state.timer_entries import DOMAINS, TimerEntries, TimerWriting
from actorstream.state.timer_index import FEW, MANY, MOST, TimerIndex
from tests.state.rig import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.state.timer_index import At
    from tests.state.rig import Shelf

GROUP = 7
KEY, OTHER = b"0a\x00\x01", b"0b\x00\x01"  # of key groups 7 and 6
SUFFIX = b"\x000n\x00\x01"


def at(time: int, key: bytes = KEY) -> At:
    return time, key, SUFFIX


class Bench:
    """A stack of layers with timers, and an index over it."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.stack = LayerStack.covering(ALL)
        self.space = KeySpace(
            operator=OperatorNumber(5), name="op", key_groups=ALL, max_parallelism=8, stack=self.stack
        )
        self.layout = TimerEntries(StateNumber(9), self.space)

    def push(self, times: Sequence[int], gone: Sequence[int] = (), key: bytes = KEY) -> None:
        """Put a layer on top; a name of its own for each time."""
        writing = TimerWriting(self.layout, Slots(), bottom=False)
        made = [writing.change(key, self.suffix(time), time, ()) for time in times]
        made += [writing.change(key, self.suffix(time), None, (time,)) for time in gone]
        with self.shelf.layer([entry for some in made for entry in some if entry is not None]) as layer:
            self.stack.push(layer)

    def suffix(self, time: int) -> bytes:
        return b"\x000%d\x00\x01" % time

    def index(self, mark: int = TIME_MIN) -> TimerIndex:
        return TimerIndex(DOMAINS[0], self.layout.heads, self.stack, {GROUP: mark})


@pytest.fixture
def bench(shelf: Shelf) -> Iterator[Bench]:
    made = Bench(shelf)
    yield made
    made.stack.release()


def all_of(index: TimerIndex, rows: int = 1_000) -> list[int]:
    """Take everything out; looks that are not sure must come to an end."""
    times: list[int] = []
    while True:
        first, sure = index.look(rows)
        if first is None:
            return times
        if sure:
            times.append(first[0])
            index.drop(first)
        else:
            assert not times or first[0] >= times[-1]


def test_newest_layer_says_whether_a_timer_is_there(bench: Bench) -> None:
    bench.push([1, 2, 3, 4])
    bench.push([], gone=[2, 3])
    bench.push([3, 5])
    assert all_of(bench.index()) == [1, 3, 4, 5]


def test_all_are_found_in_order_however_many_and_in_small_portions(bench: Bench) -> None:
    """Memory has the nearest of each key group, the layers have the rest."""
    times = [*range(0, 3 * MOST, 2)]
    bench.push(times)
    bench.push([time + 1 for time in times], key=OTHER)
    index = bench.index()
    assert index.look(1_000)[0] == (0, KEY, bench.suffix(0))
    assert sum(len(near.timers) for near in index._near.values()) <= 2 * FEW
    assert all_of(index) == list(range(len(times) * 2))


def test_look_reads_no_more_than_it_may(bench: Bench) -> None:
    """What it cannot tell then is a time that is not too late."""
    bench.push([10_000])
    bench.push([], gone=range(1, 1_000))
    index = bench.index(mark=-5)
    looks = []
    while not (found := index.look(1))[1]:
        looks.append(found[0])
    assert found == ((10_000, KEY, bench.suffix(10_000)), True)
    times = [place[0] for place in looks if place is not None]
    assert times[-1] < 10_000
    assert times == sorted(times)
    assert len(times) >= 1_000 // MOST


def test_mark_is_where_reading_begins(bench: Bench) -> None:
    """At the mark itself there may be one."""
    bench.push([5, 6, 7])
    assert all_of(bench.index(mark=6)) == [6, 7]


def test_what_came_into_a_layer_is_kept_as_far_as_the_index_reaches(bench: Bench) -> None:
    """Beyond that it will be read; nothing is there twice."""
    bench.push(range(0, 100, 2))
    index = bench.index()
    index.look(1_000)
    known = index._near[GROUP].known[0]
    bench.push([1, 3, 99])
    for time in (1, 3, 3, 99):
        index.insert(GROUP, (time, KEY, bench.suffix(time)))
    assert len(index._near[GROUP].timers) == FEW + 2
    assert known < 99
    assert all_of(index) == sorted([*range(0, 100, 2), 1, 3, 99])


def test_index_of_an_empty_store_takes_in_what_comes_and_lets_the_farthest_go(bench: Bench) -> None:
    """Everything is known at first; from MOST on the layers must be asked again."""
    index = bench.index()
    assert index.look(1) == (None, True)
    bench.push(range(3 * MOST))
    for time in reversed(range(3 * MOST)):
        index.insert(GROUP, (time, KEY, bench.suffix(time)))
        assert len(index._near[GROUP].timers) <= MOST
    assert len(index._tops) <= 4 + MANY + 1
    assert all_of(index) == list(range(3 * MOST))
    assert index.look(1) == (None, True)


def test_timer_that_is_removed_is_not_given(bench: Bench) -> None:
    """Also the first one, and one that was never known."""
    bench.push([1, 2, 3])
    index = bench.index()
    index.look(1_000)
    for time in (1, 3, 4):
        index.remove(GROUP, (time, KEY, bench.suffix(time)))
    index.remove(0, at(5))
    assert all_of(index) == [2]
