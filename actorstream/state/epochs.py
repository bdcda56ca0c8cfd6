"""Epochs of one table: what was written since the last freeze, what is on its way to disk, what is there.

    newest    live        this epoch's writes; the write is the dirty mark
              returned    dicts whose write failed: they go out with the next freeze
              frozen      generations that are being encoded or written, never changed
              settling    written generations, moved into `clean` a slice at a time
              clean       values that the layers hold too: the latest to be read or written
    oldest    aged        earlier clean dicts, the oldest of which is dropped for room
              layer stack

A freeze is `frozen, live = live, {}`. The same key may be in several dicts: the
newest one counts. So `live`, `returned`, `frozen` and `settling` keep all they
have, and only clean dicts, below which there are just layers, may lose entries.

A written generation is not merged by one `dict.update`, which stalls the loop
when it is large: it stays where it is, by reference, and each slice that the next
generation encodes moves as many entries over. A table thus takes in as fast as
it gives out, and at most one generation or two are settling.

A failed generation takes every newer one with it: were the newer one to reach
the stack first, its values would come to lie below older ones.

**Trials.** What a handler does that may fail lies apart until it has ended well: `live` is a fresh dict meanwhile, and
the one before it a dict below. That is how a record is either processed or failed (operators/trial.py).

**Room.** When entries must go, `clean` is put aside as `aged` and the oldest aged dict
loses its entries, in the order in which they came. Nobody keeps a list of what was
used last: what is read from an aged dict moves into `clean`, and what was not read since
is dropped. An entry is in one clean dict at most, so none can come to light that is
older than what was dropped.

No C call takes longer than 10,000 entries do. Growing is one: a dict of 350,000 entries
that takes one more is copied in 19 ms, one of 175,000 in 9. So a clean dict is put aside
at `CLEAN_ENTRIES_MAX`, and the budget has `live` frozen at as many. Freeing is another:
what may be large is emptied by slices (`_waste`).
"""

from __future__ import annotations

from itertools import islice
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from actorstream.errors import InvariantError
from actorstream.state.footprint import EntrySizes

if TYPE_CHECKING:
    from actorstream.state.entries import Entry, Slots

D = TypeVar("D", bound="dict[Any, Any]")  # one epoch of a table

CLEAN_ENTRIES_MAX = 300_000
"""How many entries one dict may hold, before a new one is begun."""

_GLIMPSED = 6
_WITHIN = 2_000
_GOLDEN_RATIO = 0.6180339887498949  # steps of it never come near an earlier one


class Weight(NamedTuple):
    """What a state takes in memory, in bytes, an estimate.

    Attributes:
        live: Changed and not frozen, failed writes included.
        waiting: Frozen, and not in a layer yet.
        clean: In the layers too: what can be dropped.
    """

    live: int
    waiting: int
    clean: int


class Part(Generic[D]):
    """What one table gave to one generation.

    `newest` is the frozen epoch. `returned` holds failed ones, newest first; encoding
    moves what is still valid in them into `newest`, so that failures do not pile up.
    While `encoded` is false, nothing in it may be changed in place (T135).
    """

    __slots__ = ("cursor", "drained", "encoded", "newest", "returned")

    def __init__(self, newest: D, returned: list[D]) -> None:
        """Take the dicts over."""
        self.newest = newest
        self.returned = returned
        self.encoded = False
        self.drained = False
        self.cursor: Any = None  # where its table is in it

    def dicts(self) -> tuple[D, ...]:
        """Give all dicts, newest first."""
        return (self.newest, *self.returned)


class Epochs(Generic[D]):
    """The dicts of one table. `below` is everything under `live` in memory, newest first.

    Attributes:
        unsettled: What of `below` stands over the clean dicts.
        sizes: What an entry takes.
    """

    live: D
    clean: D
    below: tuple[D, ...]
    unsettled: tuple[D, ...]

    def __init__(self) -> None:
        """Start with nothing in memory."""
        self.live = self._new_dict()
        self.clean = self._new_dict()
        self.sizes = EntrySizes()
        self._aged: list[D] = []
        self._returned: list[D] = []
        self._frozen: list[Part[D]] = []
        self._settling: list[D] = []
        self._unwanted: D | None = None
        self._held: D | None = None
        self._gone: tuple[object, bytes] | None = None  # of this key's map there is nothing below this map key
        self._waste: list[dict[Any, Any]] = []
        self._spot = 0.0
        self._stack_up()

    def freeze(self) -> Part[D] | None:
        """Begin a new epoch; give what goes out with the old one, None if there is nothing."""
        if not self.live and not self._returned:
            return None
        part = Part(self.live, self._returned)
        self.live, self._returned = self._new_dict(), []
        self._frozen.insert(0, part)
        self._stack_up()
        return part

    def on_written(self, part: Part[D]) -> None:
        """The oldest frozen part is in a layer on the stack."""
        self._frozen.remove(part)
        self._settling.insert(0, part.newest)
        self._stack_up()

    def on_write_failed(self, part: Part[D]) -> None:
        """Take a part back for the next freeze. The newest part comes first, where there are several."""
        self._frozen.remove(part)
        self._returned.extend(part.dicts())
        self._stack_up()

    def begin_trial(self) -> None:
        """Let what is written from here on lie apart, so that it can be dropped. No freeze before `end_trial`.

        What may be changed in place, and is handed out meanwhile, is a copy.
        """
        self._held, self.live = self.live, self._new_dict()
        self.unsettled, self.below = (self._held, *self.unsettled), (self._held, *self.below)

    def end_trial(self, *, keep: bool) -> None:
        """Keep what was written since `begin_trial`, or let it never have been."""
        if self._held is None:
            raise InvariantError("a trial ends that has not begun")
        tried, self.live, self._held = self.live, self._held, None
        self.unsettled, self.below = self.unsettled[1:], self.below[1:]
        if not keep:
            self._gone = None
        elif tried:
            self._take_over(tried)

    def _take_over(self, newer: D) -> None:
        """Put what `newer` holds over what is in `live`."""
        self.live.update(newer)

    def encode(self, part: Part[D], slots: Slots, limit: int, *, bottom: bool) -> list[Entry]:
        """Give the entries of what `limit` allows to look at of a part; it is `drained` when that was the last.

        With `bottom` nothing is below it that a tombstone could hide.
        """
        raise NotImplementedError

    def settle(self, limit: int) -> int:
        """Move up to `limit` written entries into `clean`; give how many more could have been moved."""
        limit -= self._free(limit)
        while self._settling and limit > 0:
            oldest = self._settling[-1]
            if self._entries_in(self.clean) >= CLEAN_ENTRIES_MAX:
                self._age()
            limit -= self._settle_from(oldest, limit, keep=oldest is not self._unwanted)
            if oldest:
                break
            self._settling.pop()
            self._unwanted = None
            self._stack_up()
        return max(limit, 0)

    def evict(self, limit: int) -> int:
        """Drop up to `limit` clean entries, the oldest dict's first; give how many were dropped.

        Written entries that wait to be moved to the clean ones are dropped in their place, when
        there are no clean ones left: they alone exceed what there is room for.
        """
        dropped = self._free(limit)
        while dropped < limit:
            if self._aged:
                oldest = self._aged[-1]
                dropped += self._drop_from(oldest, limit - dropped)
                if not oldest:
                    self._aged.pop()
                    self._stack_up()
            elif self.clean:
                self._age()
            elif self._settling:
                self._unwanted = self._settling[-1]
                dropped = limit - self.settle(limit - dropped)
            else:
                break
        return dropped

    def dismantle(self, limit: int) -> int:
        """Drop up to `limit` entries of whatever there is; give how many were dropped. The table is of no use after."""
        for part in self._frozen:
            self._waste += part.dicts()
        self._waste += [self.live, *self._returned]
        self.live, self._returned, self._frozen = self._new_dict(), [], []
        self._stack_up()
        return self.evict(limit)

    def weigh(self) -> Weight:
        """Estimate what the dicts take: a few measurements, no look at every entry."""
        if self._entries_in(self.clean) >= CLEAN_ENTRIES_MAX:
            self._age()
        self._glimpse()
        live, settled = self.sizes.live, self.sizes.settled
        returned = sum(self._bytes_of(each, settled) for each in self._returned)
        frozen = sum(self._bytes_of(each, settled) for part in self._frozen for each in part.dicts())
        clean = sum(self._bytes_of(each, settled) for each in (*self._settling, self.clean, *self._aged))
        return Weight(
            int(self._bytes_of(self.live, live) + returned),
            int(frozen),
            int(clean + sum(getsizeof(each) + len(each) * settled for each in self._waste)),
        )

    @property
    def dirty(self) -> bool:
        """Tell whether a freeze now would have something to write."""
        return bool(self.live or self._returned)

    @property
    def keys_in_memory(self) -> int:
        """Count the keys of all dicts; one that is in several counts several times."""
        return len(self.live) + sum(map(len, self.below))

    @property
    def live_entries(self) -> int:
        """Count the entries of this epoch."""
        return self._entries_in(self.live)

    def _new_dict(self) -> D:
        raise NotImplementedError

    def _entries_in(self, epoch: D) -> int:
        return len(epoch)

    def _bytes_of(self, epoch: D, entry: float) -> float:
        return getsizeof(epoch) + len(epoch) * entry

    def _glimpse(self) -> None:
        """Measure some entries of the live dict, early or late ones: to get to one in the middle takes too long."""
        self._spot = (self._spot + _GOLDEN_RATIO) % 1.0
        start = int(self._spot * min(len(self.live), _WITHIN))
        items = self.live.items()
        for key, value in islice(items if self._spot < 0.5 else reversed(items), start, start + _GLIMPSED):
            memory = self._measure(key, value)
            if memory is not None:
                self.sizes.glimpse(memory)

    def _measure(self, key: object, value: Any) -> float | None:  # noqa: ANN401  (what the dicts hold)
        """Give the bytes of one entry in memory; three names and tuples of ours hold `key` and `value` too."""
        raise NotImplementedError

    def _settle_from(self, oldest: D, limit: int, *, keep: bool) -> int:
        """Move up to `limit` entries out of `oldest` into `clean`, or only out of it; give how many were moved."""
        raise NotImplementedError

    def _drop_from(self, oldest: D, limit: int) -> int:
        """Drop the first entries of a clean dict, up to `limit`; give how many were dropped."""
        raise NotImplementedError

    def _age(self) -> None:
        """Put the clean dict aside."""
        self._aged.insert(0, self.clean)
        self.clean = self._new_dict()
        self._stack_up()

    def _free(self, limit: int) -> int:
        """Empty what nobody sees any more, a slice of it."""
        freed = 0
        while self._waste and freed < limit:
            last = self._waste[-1]
            freed += self._empty(last, limit - freed)
            if not last:
                self._waste.pop()
        return freed

    def _empty(self, unseen: dict[Any, Any], limit: int) -> int:
        count = min(limit, len(unseen))
        for _ in range(count):
            unseen.popitem()
        return count

    def _changeable(self, holder: D) -> bool:
        """Tell whether a value in `holder` may be changed in place: it is not waiting to be encoded."""
        return self._held is None and not any(
            holder is each for part in self._frozen if not part.encoded for each in part.dicts()
        )

    def _stack_up(self) -> None:
        held = () if self._held is None else (self._held,)
        frozen = (each for part in self._frozen for each in part.dicts())
        self.unsettled = (*held, *self._returned, *frozen, *self._settling)
        self.below = (*self.unsettled, self.clean, *self._aged)
