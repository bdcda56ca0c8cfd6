"""What one epoch holds of the timers of an operator: what became of each, and in which order they fire.

    TimerEpoch   dict: encoded key -> {domain byte and encoded name -> Change}
                 heaps: for each domain, the times of those that are set

A key's timers are together, since keys are forgotten whole. A timer that moves to a
later time, as those of sessions do with each record, stays in the heap where it was
and is moved when it comes up there: so a heap has about one place a timer, however
often it moves.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from sys import getsizeof
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from actorstream.state.timer_index import At

KEY_BYTES = 330
"""About what a key takes in a dict beside its own bytes: 60 for the object, 232 for the dict of its timers."""
TIMER_BYTES = 190
"""About what a timer takes: its change 64, its time 32, its name 40, its place in a heap 56 and 8."""

_PLACE_BYTES = 72
_UNKNOWN = None, (), None


Change: TypeAlias = "tuple[int | None, tuple[int, ...], int | None]"
"""What an epoch did to one timer: (at, stale, listed).

at: when it fires; None: cancelled or fired. stale: times at which older epochs or layers have it, to be
taken out when this is written. listed: its place in the epoch's heap, not after `at`; None: it has none.

The garbage collector forgets plain tuples of ints, a NamedTuple it walks for ever: a full collection beside
300,000 timers takes 31 ms instead of 100.
"""
Changes: TypeAlias = "dict[bytes, Change]"


class TimerEpoch(dict[bytes, Changes]):
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
        self.heaps: tuple[list[At], list[At]] = ([], [])
        self.floors: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there is something left to free."""
        return bool(self.entries or self.heaps[0] or self.heaps[1])

    def change_of(self, key: bytes, suffix: bytes) -> Change | None:
        """Give what became of a timer; None if this epoch knows nothing of it."""
        changes = self.get(key)
        return None if changes is None else changes.get(suffix)

    def put(self, key: bytes, suffix: bytes, at: int | None, stale: tuple[int, ...]) -> None:
        """Say when a timer fires, or None; `stale` is what older epochs have."""
        changes = self.get(key)
        if changes is None:
            self[key] = {suffix: (at, stale, at)}
            self.entries += 1
            if at is not None:
                heappush(self.heaps[suffix[0]], (at, key, suffix))
            return
        before = changes.get(suffix)
        listed = None
        if before is None:
            self.entries += 1
        else:
            listed = before[2]
        if at is not None and (listed is None or at < listed):
            listed = at
            heappush(self.heaps[suffix[0]], (at, key, suffix))
        changes[suffix] = at, stale, listed

    def forget(self, key: bytes, suffix: bytes) -> None:
        """Know nothing of a timer any more."""
        changes = self[key]
        del changes[suffix]
        self.entries -= 1
        if not changes:
            del self[key]

    def first(self, domain: int) -> At | None:
        """Give the first timer that is set, and stays so until a newer epoch says otherwise."""
        heap = self.heaps[domain]
        while heap:
            time, key, suffix = heap[0]
            at, stale, listed = self.change_of(key, suffix) or _UNKNOWN
            if listed != time:
                heappop(heap)
            elif at == time:
                return heap[0]
            elif at is None:
                heappop(heap)
                self[key][suffix] = None, stale, None
            else:
                heapreplace(heap, (at, key, suffix))
                self[key][suffix] = at, stale, at
        return None

    def take_first(self, domain: int, up_to: int) -> At | None:
        """Give the first timer; one up to and including a time is taken out, as if cancelled."""
        heap = self.heaps[domain]
        while heap:
            found = heap[0]
            time, key, suffix = found
            changes = self.get(key)
            change = None if changes is None else changes.get(suffix)
            if change is None or changes is None or change[0] != time or change[2] != time:
                if self.first(domain) is None:  # puts the heap in order
                    return None
                continue
            if time <= up_to:
                heappop(heap)
                if change[1]:
                    changes[suffix] = None, change[1], None
                else:
                    self.forget(key, suffix)
            return found
        return None

    def drop_first(self, domain: int) -> None:
        """Take out of the heap what `first` has just given; the change stays."""
        _, key, suffix = heappop(self.heaps[domain])
        at, stale, _ = self[key][suffix]
        self[key][suffix] = at, stale, None

    def take(self, limit: int) -> list[tuple[bytes, bytes, Change]]:
        """Take out up to `limit` changes of one key, any; nothing when there are none."""
        if not len(self):
            return []
        key, changes = self.popitem()
        taken = [(key, *changes.popitem()) for _ in range(min(limit, len(changes)))]
        self.entries -= len(taken)
        if changes:
            self[key] = changes
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
        return getsizeof(self) + len(self) * KEY_BYTES + self.entries * TIMER_BYTES + spare * _PLACE_BYTES
