"""What one epoch holds of the timers of an operator: what became of each, and in which order they fire.

    TimerEpoch   dict: encoded key -> Change, or {domain byte and encoded name -> Change} where a key has several
                 heaps: for each domain, the times of those that are set, with key and name as they are

A key's timers are together, since keys are forgotten whole. Most keys have one: a dict for it would take 230 bytes,
and the garbage collector would walk all of them.

A timer that moves to a later time, as those of sessions do with each record, stays in the heap where it was
and is moved when it comes up there: so a heap has about one place a timer, however often it moves.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from sys import getsizeof
from typing import TYPE_CHECKING, Final, TypeAlias

from actorstream.codec.ordered_keys import decode_key
from actorstream.model.times import TIME_MAX
from actorstream.state.missing import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_BYTES: Final = 160
"""About what a key takes in a dict beside its own bytes: 60 for the object, 100 for its place."""
TIMER_BYTES: Final = 220
"""About what a timer takes: its change 72, its time 32, its name 40, its place in a heap 72 and 8."""

_DICT_BYTES: Final = 232
_PLACE_BYTES: Final = 88

Change: TypeAlias = "tuple[int | None, tuple[int, ...], int | None, bytes]"
"""What an epoch did to one timer: (at, stale, listed, suffix).

at: when it fires; None: cancelled or fired. stale: times at which older epochs or layers have it, to be
taken out when this is written. listed: its place in the epoch's heap, not after `at`; None: it has none. suffix:
domain byte and encoded name.

The garbage collector forgets plain tuples of ints and bytes, a NamedTuple it walks for ever: a full collection beside
300,000 timers takes 31 ms instead of 100.
"""
Changes: TypeAlias = "dict[bytes, Change]"
Place: TypeAlias = "tuple[int, bytes, bytes, object, object]"
"""Where a timer stands in a heap: time, encoded key, domain byte and encoded name; then key and name themselves.

The last two never decide: where the encoded ones are the same, they are equal.
"""


class TimerEpoch(dict[bytes, "Change | Changes"]):
    """The changes of one epoch. True while it holds anything, places in heaps included.

    Attributes:
        entries: How many changes there are.
        floors: For each domain a time before which no timer was set at the freeze.
    """

    __slots__ = ("entries", "floors", "heaps")

    def __init__(self) -> None:
        """Start with no change."""
        super().__init__()
        self.entries = 0
        self.heaps: tuple[list[Place], list[Place]] = ([], [])
        self.floors: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there is something left to free."""
        return bool(self.entries or self.heaps[0] or self.heaps[1])

    # ---- changes

    def change_of(self, key: bytes, suffix: bytes) -> Change | None:
        """Give what became of a timer; None if this epoch knows nothing of it."""
        held = self.get(key)
        if held is None:
            return None
        if type(held) is dict:
            return held.get(suffix)
        return held if held[3] == suffix else None  # type: ignore[index, return-value]  # isinstance: 0.1 of a timer

    def changes(self) -> Iterator[tuple[bytes, Change]]:
        """Give all changes, each with its key."""
        for key, held in self.items():
            if isinstance(held, dict):
                for change in held.values():
                    yield key, change
            else:
                yield key, held

    def suffixes_of(self, key: bytes) -> list[bytes]:
        """Name what this epoch knows of a key."""
        held = self.get(key)
        if held is None:
            return []
        return list(held) if isinstance(held, dict) else [held[3]]

    def put(
        self,
        part: bytes,
        suffix: bytes,
        at: int | None,
        stale: tuple[int, ...],
        key: object = MISSING,
        name: object = MISSING,
    ) -> None:
        """Say when a timer fires, or None; `stale` is what older epochs have. Who has key and name need not decode."""
        before = self.change_of(part, suffix)
        listed = None if before is None else before[2]
        if at is not None and (listed is None or at < listed):
            listed = at
            if key is MISSING:
                key, name = decode_key(part), decode_key(suffix[1:])
            heappush(self.heaps[suffix[0]], (at, part, suffix, key, name))
        self.store(part, (at, stale, listed, suffix))

    def store(self, key: bytes, change: Change) -> None:
        """Put a change in place of what this epoch knows of the timer."""
        held = self.get(key)
        suffix = change[3]
        if held is None:
            self[key] = change
            self.entries += 1
        elif isinstance(held, dict):
            self.entries += suffix not in held
            held[suffix] = change
        elif held[3] == suffix:
            self[key] = change
        else:
            self[key] = {held[3]: held, suffix: change}
            self.entries += 1

    def forget(self, key: bytes, suffix: bytes) -> None:
        """Know nothing of a timer any more."""
        held = self[key]
        if isinstance(held, dict):
            del held[suffix]
        if not isinstance(held, dict) or not held:
            del self[key]
        self.entries -= 1

    # ---- which is next

    def first(self, domain: int, steps: int, up_to: int = TIME_MAX) -> tuple[Place | None, int]:
        """Give the first timer that is set, and stays so until a newer epoch says otherwise; None if there is none.

        In so many steps at most, each past a place of the heap whose timer has moved or gone; how many are left stands
        beside it. With -1 there would be more of them: then it is a place that no timer lies before. So it may be
        where that is after `up_to`.
        """
        heap = self.heaps[domain]
        while heap:
            time, part, suffix, key, name = heap[0]
            if time > up_to:
                return heap[0], steps
            change = self.change_of(part, suffix)
            if change is not None and change[0] == time == change[2]:
                return heap[0], steps
            if not steps:
                return heap[0], -1
            steps -= 1
            if change is None or change[2] != time:
                heappop(heap)
                continue
            at, stale, _, _ = change
            if at is None:
                heappop(heap)
            else:
                heapreplace(heap, (at, part, suffix, key, name))
            self.store(part, (at, stale, at, suffix))
        return None, steps

    def drop_first(self, domain: int) -> None:
        """Take out of the heap what `first` has just given; the change stays."""
        _, part, suffix, _, _ = heappop(self.heaps[domain])
        change = self.change_of(part, suffix)
        if change is not None:
            self.store(part, (change[0], change[1], None, suffix))

    # ---- slice by slice

    def take(self, limit: int) -> list[tuple[bytes, Change]]:
        """Take out up to `limit` changes of one key, any; nothing when there are none."""
        if not len(self):
            return []
        key, held = self.popitem()
        if isinstance(held, dict):
            taken = [(key, held.popitem()[1]) for _ in range(min(limit, len(held)))]
            if held:
                self[key] = held
        else:
            taken = [(key, held)]
        self.entries -= len(taken)
        return taken

    def empty(self, limit: int) -> int:
        """Free up to `limit` changes and places; give how many."""
        freed = 0
        while freed < limit and (taken := self.take(limit - freed)):
            freed += len(taken)
        for heap in self.heaps:
            count = min(limit - freed, len(heap))
            if count:
                del heap[-count:]
                freed += count
        return freed

    @property
    def bytes(self) -> int:
        """Estimate what this takes."""
        spare = max(0, len(self.heaps[0]) + len(self.heaps[1]) - self.entries)
        several = min(len(self), self.entries - len(self))
        keys = getsizeof(self) + len(self) * KEY_BYTES + several * _DICT_BYTES
        return keys + self.entries * TIMER_BYTES + spare * _PLACE_BYTES
