"""After a rescale: how far event time had come for each key group where it was before.

    before   subtask 0   watermark 100   key groups 0 to 63
             subtask 1   watermark  40   key groups 64 to 127
    now      one subtask  watermark  40   what comes may be of 41: nothing that leaves may say more
             floor 100 for key groups 0 to 63: what was late for them is late, and what has fired is not due again

The watermark that counts for a key is the greater one of the subtask's and its floor. As soon as the watermark
has passed all floors there are none, and no record pays for them (runtime/chain_runner.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from actorstream.model.times import TIME_MIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actorstream.model.key_groups import KeyGroupRange


class Floor(NamedTuple):
    """Event time had come to `watermark` for these key groups."""

    key_groups: KeyGroupRange
    watermark: int


class Floors:
    """The floors above a subtask's watermark, by key group.

    Attributes:
        highest: Once the watermark is here, there are none.
    """

    __slots__ = ("_by_group", "_caught_up", "_key_group", "highest")

    def __init__(self, floors: Iterable[Floor], key_group: Callable[[object], int]) -> None:
        """Find a key's floor by its `key_group`."""
        self._by_group = {group: floor for groups, floor in floors for group in range(*groups)}
        self._key_group = key_group
        self.highest = max(self._by_group.values(), default=TIME_MIN)
        self._caught_up = False

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Give each key group that has a floor, with it."""
        return iter(self._by_group.items())

    def of(self, key: object) -> int:
        """Give the floor of a key; TIME_MIN if it has none."""
        return self._by_group.get(self._key_group(key), TIME_MIN)

    def at(self, key: object, watermark: int) -> int:
        """Give the watermark that counts for a key where the subtask's is `watermark`, for a record or by the clock."""
        self._caught_up = True  # before either of them comes, all that was due has been done
        floor = self.of(key)
        return max(watermark, floor)

    def at_timer(self, key: object, time: int) -> int:
        """Give the watermark that counts for a key when a timer fires, which without floors would be `time`.

        Timers that the snapshot found due find time passing from one to the next, as their old owner would have had it.
        """
        return self.at(key, time) if self._caught_up else time


@runtime_checkable
class StandsOnFloors(Protocol):
    """An operator with timers: those up to the floor of their key are due at once."""

    def on_floors(self, floors: Floors | None, watermark: int, /) -> None:
        """Go by these from `watermark` on; None: there are none any more. Called between two batches."""
        ...
