"""A map state inside a handler: a sorted mapping of the current key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream.errors import CodecError
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import MapState, SortedMap
from tests.operators.processes import feed, rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorstream.operators.contexts import Context


class Days(KeyedProcess[Any, Any, Any]):
    """Does with its map what the record says."""

    days: MapState[int, str] = MapState()

    def on_element(self, value: Callable[[SortedMap[int, str]], Any], ctx: Context[Any], /) -> Iterable[Any]:
        """Do it, and emit what that gave."""
        return [value(self.days)]


def fill(days: SortedMap[int, str]) -> None:
    for day in (3, 10, 1, -2):
        days[day] = str(day)


SORTED = [(-2, "-2"), (1, "1"), (3, "3"), (10, "10")]


def test_map_iterates_in_order_of_its_keys_not_of_their_arrival() -> None:
    """Numbers by size: 10 after 3, -2 before 1."""
    made = rig(Days)

    assert feed(made, ("a", fill), ("a", lambda days: list(days.items()))) == [None, SORTED]


@pytest.mark.parametrize("frozen", [False, True])
def test_scan_gives_a_half_open_range_from_either_end(frozen: bool) -> None:
    made = rig(Days)
    feed(made, ("a", fill))
    if frozen and made.state is not None:
        made.state.freeze()

    def scans(days: SortedMap[int, str]) -> list[list[int]]:
        return [
            [day for day, _ in days.scan(1, 10)],
            [day for day, _ in days.scan(1)],
            [day for day, _ in days.scan(stop=3)],
            [day for day, _ in days.scan(reverse=True, limit=2)],
            [day for day, _ in days.scan(limit=0)],
            [day for day, _ in days.scan(5, 4)],
        ]

    assert feed(made, ("a", scans)) == [[[1, 3], [1, 3, 10], [-2, 1], [10, 3], [], []]]


def test_map_behaves_as_a_mapping() -> None:
    def use(days: SortedMap[int, str]) -> Any:
        days.update({1: "a", 2: "b", 3: "c"})
        del days[2]
        popped = days.pop(3)
        return popped, days.setdefault(9, "z"), 1 in days, 2 in days, len(days), days.get(2), list(days)

    assert feed(rig(Days), ("a", use)) == [("c", "z", True, False, 2, None, [1, 9])]


def test_popitem_takes_the_first_until_there_is_none() -> None:
    """And an empty map is false."""

    def use(days: SortedMap[int, str]) -> Any:
        popped = []
        while days:
            popped.append(days.popitem())
        with pytest.raises(KeyError, match="the map is empty"):
            days.popitem()
        return popped, bool(days), len(days)

    assert feed(rig(Days), ("a", fill), ("a", use)) == [None, (SORTED, False, 0)]


def test_missing_entry_is_a_key_error_to_read_and_to_delete() -> None:
    def use(days: SortedMap[int, str]) -> None:
        with pytest.raises(KeyError):
            _ = days[1]
        with pytest.raises(KeyError):
            del days[1]

    feed(rig(Days), ("a", use))


def test_clear_empties_the_map_of_this_key_only() -> None:
    made = rig(Days)
    feed(made, ("a", fill), ("b", fill), ("a", lambda days: days.clear()))

    assert feed(made, ("a", len), ("b", len)) == [0, 4]


def test_key_that_has_no_order_is_refused() -> None:
    """T137: None has no place among numbers."""

    def use(days: SortedMap[Any, str]) -> None:
        days[None] = "x"

    with pytest.raises(CodecError):
        feed(rig(Days), ("a", use))
