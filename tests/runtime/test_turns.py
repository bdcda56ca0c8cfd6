"""Actors that take turns: whoever runs first, what an actor takes is in one order; and no barrier breaks it."""

from __future__ import annotations

from collections import deque
from itertools import permutations
from typing import TYPE_CHECKING, cast

import pytest

from actorstream.errors import InvariantError
from actorstream.model.batch import Batch
from actorstream.model.ids import CheckpointId
from actorstream.model.signals import Barrier, EndOfInput
from actorstream.runtime.mailbox import LANE_RECORDS, Mailbox
from actorstream.runtime.turns import Turn, TurnSubtask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorstream.model.signals import ChannelItem


class Lanes(TurnSubtask):
    """The lanes of an actor that does nothing with what it takes, but for the blocking of barriers."""

    def __init__(self, lanes: int) -> None:
        self.mailbox = Mailbox(lanes)
        self.identity = cast("object", "lanes")  # type: ignore[assignment]
        self._lane = 0
        self._ended_lanes = set()
        self._aside = [deque() for _ in range(lanes)]
        self.taken: list[str] = []
        self._blocked: set[int] = set()

    def put(self, lane: int, item: object) -> None:
        self.mailbox.lanes[lane].put(cast("ChannelItem", item), len(item) if isinstance(item, Batch) else 0)

    def take_all(self) -> None:
        """Take what there is to take now."""
        while (found := self._next_item()) is not None:
            lane, item = found
            match cast("object", item):
                case Turn(number):
                    self.taken.append(f"turn {number}")
                case Batch() as batch:
                    self.taken.append(f"{lane}: {batch.values[0]}")
                case EndOfInput():
                    self._ended_lanes.add(lane)
                    self.taken.append(f"{lane} ends")
                case _:
                    self._blocked_at(lane)

    def _blocked_at(self, lane: int) -> None:
        self.taken.append(f"{lane}: barrier")
        self._blocked.add(lane)
        self.mailbox.lanes[lane].blocked = True
        if len(self._blocked) == len(self.mailbox.lanes) - len(self._ended_lanes):
            self.taken.append("snapshot")
            for blocked in self._blocked:
                self.mailbox.lanes[blocked].blocked = False
            self._blocked.clear()


def batch(value: str) -> Batch:
    return Batch([value])


LEFT: list[object] = [Turn(1, 0), batch("a"), Barrier(CheckpointId(1)), Turn(2, 0), Turn(3, 0), batch("d"), Turn(4, 0)]
RIGHT: list[object] = [Turn(1, 0), batch("b"), Barrier(CheckpointId(1)), Turn(2, 0), batch("c"), EndOfInput()]
EXPECTED = [
    *("turn 1", "0: a", "0: barrier", "1: b", "1: barrier", "snapshot"),
    *("turn 2", "1: c", "1 ends", "turn 3", "0: d", "turn 4"),
]


def _interleavings(left: int, right: int) -> Iterable[tuple[int, ...]]:
    """Give orders in which two senders may be scheduled: who sends next, as lane numbers."""
    return set(permutations([0] * left + [1] * right)) if left + right < 8 else ()


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("ahead", [1, 2, 3, 5, 7])
def test_what_is_taken_is_in_one_order_however_far_one_sender_is_ahead(first: int, ahead: int) -> None:
    lanes = Lanes(2)
    items = {0: list(LEFT), 1: list(RIGHT)}
    while items[0] or items[1]:
        for lane in (first, 1 - first):
            for _ in range(ahead if lane == first else 1):
                if items[lane]:
                    lanes.put(lane, items[lane].pop(0))
                    lanes.take_all()
    assert lanes.taken == EXPECTED


@pytest.mark.parametrize("order", sorted(_interleavings(4, 3)))
def test_what_is_taken_is_in_one_order_whoever_sends_first(order: tuple[int, ...]) -> None:
    lanes = Lanes(2)
    items: dict[int, list[object]] = {
        0: [Turn(1, 0), batch("a"), Turn(2, 0), Turn(3, 0)],
        1: [Turn(1, 0), batch("b"), Turn(2, 0)],
    }
    for lane in order:
        lanes.put(lane, items[lane].pop(0))
        lanes.take_all()
    assert lanes.taken == ["turn 1", "0: a", "1: b", "turn 2"]


def test_what_waits_for_its_lane_holds_nobody_up_and_what_waits_for_its_turn_does() -> None:
    """The sender of a later lane must not wait for that of an earlier one, which may wait for it elsewhere."""
    lanes = Lanes(2)
    for lane in (0, 1):
        lanes.put(lane, Turn(1, 0))
    lanes.take_all()
    lanes.put(1, Batch(["x"] * LANE_RECORDS))
    lanes.take_all()
    assert lanes.mailbox.lanes[1].has_credit()
    lanes.put(1, Turn(2, 0))
    lanes.put(1, Batch(["y"] * LANE_RECORDS))
    lanes.take_all()
    assert not lanes.mailbox.lanes[1].has_credit()
    lanes.put(0, batch("a"))
    lanes.put(0, Turn(2, 0))
    lanes.take_all()
    assert lanes.taken == ["turn 1", "0: a", "1: x", "turn 2"]
    lanes.put(0, Turn(3, 0))
    lanes.take_all()
    assert lanes.taken[-1] == "1: y"


def test_lanes_at_different_turns_are_our_mistake_and_told() -> None:
    lanes = Lanes(2)
    lanes.put(0, Turn(1, 0))
    lanes.put(1, Turn(2, 0))
    with pytest.raises(InvariantError, match=r"lanes is at several turns: \[1, 2\]"):
        lanes.take_all()
