"""A slice column: aggregates by slice of time and key, of which windows are put together.

    live      {10:00: {a: 3, b: 1}, 10:02: {a: 1}}      what this epoch wrote, by start of slice
    below     the same, older: see state/epochs.py
    layers    time | key -> value, and for each key group a mark: below it there is none

The record path is two dicts. `d = enter(start)` when the slice changes, and at each batch,
since a freeze replaces the dicts; then `v = d.get(k, MISSING)`, `older(start, k)` if that is
MISSING, and `d[k] = v`. Time goes on, so most keys of a slice are new to it: where nothing
older knows the slice, `older` is one look into a set, and where memory has all of the slice
it does not look into layers.

Invariants:
- `known` are the slices that some older dict or layer may hold; `_cold`, of these, the ones of
  which a layer may hold entries that memory does not.
- A dropped slice never comes back: nothing is entered, read or written below `floor`. A
  generation that was frozen before the drop still has it, for its checkpoint's sake.
- While a `read` is in hand nothing is moved from dict to dict, nor evicted: so it may be left between
  two pieces for as long as one likes, and freezes, writes and failures may come.
- Mutable values follow the rule of rows: handed out by `older` they count as written, and come as
  a copy while an older generation waits to be encoded (T135).

**Marks.** After a rescale the key groups of one subtask may have different ones. Below the mark of its
key group an entry is dead; nothing may be written there. Whoever asks late records back by
the time to which their key group had come (ARCHITECTURE §9) never does.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from actorstream.codec.values import is_immutable
from actorstream.errors import InvariantError
from actorstream.model.times import TIME_MAX
from actorstream.state.epochs import Epochs
from actorstream.state.footprint import footprint
from actorstream.state.large_values import STEP_BYTES
from actorstream.state.missing import MISSING, PLAIN, private_copy
from actorstream.state.slice_entries import SliceEntries
from actorstream.state.slice_epoch import SliceEpoch, empty

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.state.entries import Entry, Slots
    from actorstream.state.epochs import Part
    from actorstream.state.key_space import KeySpace
    from actorstream.state.operator_state import StateColumn
    from actorstream.state.slice_entries import Items
    from actorstream.state.slice_epoch import Slice

_PIECE = 1_000
"""How many entries of memory a piece of a `read` holds."""


class SliceTable(Epochs[SliceEpoch]):
    """The slices of one state. Their starts are int microseconds; how long they are is not known here.

    Attributes:
        known: Slices that something older than `live` may hold: of any other, `older` gives MISSING.
        floor: The first slice that was not dropped.
    """

    def __init__(self, column: StateColumn, space: KeySpace) -> None:
        """Hold the slice column `column`; go on with what the stack of `space` holds."""
        self._layout = SliceEntries(column, space)
        self._marks = self._layout.marks()
        self.floor = min(self._marks.values())
        super().__init__()
        self._space = space
        self.known = self._layout.slices(self._marks)
        self._cold = set(self.known)
        self._buried = False
        self._reads = 0

    def enter(self, start: int) -> Slice:
        """Give this epoch's entries of a slice, to write into; bind it anew for each batch.

        Raises:
            InvariantError: The slice was dropped.
            CodecError: Its start is not of 64 bits.
        """
        entries = self.live.get(start)
        if entries is None:
            self._layout.check_slice(start)
            if start < self.floor:
                raise InvariantError(f"{self._space.name}: slice {start} is entered, all below {self.floor} are gone")
            entries = self.live[start] = {}
        return entries

    def older(self, start: int, key: object) -> object:
        """Give the value of a key that this epoch has not written in a slice; MISSING where there is none.

        Raises:
            CodecError: What the layers hold cannot be decoded, or a mutable value cannot be copied.
        """
        if start not in self.known:
            return MISSING
        for epoch in self.below:
            entries = epoch.get(start)
            if entries is not None:
                value = entries.get(key, MISSING)
                if value is not MISSING:
                    return value if value.__class__ in PLAIN else self._hand_out(start, key, value, epoch)
        if start not in self._cold:
            return MISSING
        value = self._layout.load(start, key, self._marks)
        return value if value.__class__ in PLAIN else self._hand_out(start, key, value, self.clean)

    def peek(self, start: int, key: object) -> object:
        """Give a private copy of a value, MISSING where there is none; nothing is loaded or marked."""
        for epoch in (self.live, *self.below):
            entries = epoch.get(start)
            if entries is not None:
                value = entries.get(key, MISSING)
                if value is not MISSING:
                    return private_copy(value)
        return self._layout.load(start, key, self._marks) if start in self._cold else MISSING

    def slices(self) -> list[int]:
        """Give the slices that there are, ascending."""
        return sorted(self.known.union([start for start, entries in self.live.items() if entries]))

    def read(self, start: int) -> Iterator[Items]:
        """Give (key, value) of all keys of a slice, in pieces of some ms at most, also empty ones, in no order.

        Values are those of the table: copy what can be changed before it goes anywhere. Between two pieces
        the table may be frozen, written and asked; write into the slice and drop it only when this is over.
        Until it is exhausted or dropped, nothing settles and nothing is evicted.
        """
        self._reads += 1
        try:
            holders = [entries for epoch in (self.live, *self.below) if (entries := epoch.get(start))]
            with self._space.stack.pin():
                runs = self._space.stack.runs()
                for at, entries in enumerate(holders):
                    items = iter(entries.items())
                    while piece := list(islice(items, _PIECE)):
                        for newer in holders[:at]:
                            piece = [each for each in piece if each[0] not in newer]
                        yield piece
                if start in self._cold:
                    yield from self._layout.read(start, self._marks, runs, holders)
        finally:
            self._reads -= 1

    def drop_before(self, start: int) -> None:
        """Let all slices below `start` be gone for good. What they take is freed by `free`, settling and eviction."""
        if start <= self.floor:
            return
        self.floor = min(start, TIME_MAX)
        gone = {each for each in self.known if each < self.floor}
        self.known -= gone
        self._cold -= gone
        self._buried = self._buried or bool(gone)
        for epoch in (self.live, *self._returned, *self._settling, self.clean, *self._aged):
            self._waste += epoch.bury(self.floor)

    def free(self, limit: int) -> bool:
        """Free up to `limit` entries of what was dropped; True: there are more."""
        if not self._reads:
            self._free(limit)
        return bool(self._waste)

    # ---- epochs ------------------------------------------------------------------------------------------------------

    def freeze(self) -> Part[SliceEpoch] | None:
        """Begin a new epoch; see `Epochs`. A drop alone is something to write, if layers hold what was dropped."""
        self.live.floor, self.live.buried = self.floor, self._buried
        part = super().freeze()
        if part is not None:
            self._buried = False
            self.known.update([start for start, entries in part.newest.items() if entries])
        return part

    def on_written(self, part: Part[SliceEpoch]) -> None:
        """The oldest frozen part is in a layer on the stack."""
        super().on_written(part)
        part.newest.buried = False
        self._waste += part.newest.bury(self.floor)

    def on_write_failed(self, part: Part[SliceEpoch]) -> None:
        """Take a part back for the next freeze; see `Epochs`."""
        super().on_write_failed(part)
        self._buried = self._buried or part.newest.buried
        for epoch in part.dicts():
            epoch.buried = False
            self._waste += epoch.bury(self.floor)

    def encode(self, part: Part[SliceEpoch], slots: Slots, limit: int, *, bottom: bool) -> list[Entry]:
        """Give the next entries of a part: its frozen epoch, what is still valid of failed ones, marks."""
        if part.cursor is None:
            part.cursor = _Cursor(part.newest)
        entries: list[Entry] = []
        room = STEP_BYTES
        while limit > 0 <= room:
            start, keys, values = part.cursor.take(limit)
            if keys:
                limit -= len(keys)
            elif not part.returned:
                if part.newest.buried and not bottom:
                    entries += self._new_marks(part.newest.floor)
                part.drained = True
                self._stack_up()
                break
            elif self._reads:
                break  # nothing is moved now
            else:
                start, looked_at = self._revive(part, limit, keys, values)
                limit -= looked_at
            more, size = self._layout.encode(start, keys, values, slots, self.sizes, room)
            entries += more
            room -= size
            if keys:
                part.cursor.give_back(start, keys, values)
        return entries

    @staticmethod
    def _revive(part: Part[SliceEpoch], limit: int, keys: list[object], values: list[object]) -> tuple[int, int]:
        """Move failed entries of a slice into the newest dict, where no newer one is there, and into the lists.

        A whole slice that the newest dict lacks is given to the cursor. Give the slice, and how much that was.
        """
        newest, failed = part.newest, part.returned[0]
        start = next(iter(failed), None)
        if start is None:
            part.returned.pop(0)
            return 0, 1
        entries, newer = failed[start], newest.get(start)
        if newer is None:
            newest[start] = failed.pop(start)
            part.cursor.add(start)
            return start, 1
        count = min(limit, len(entries))
        for _ in range(count):
            key, value = entries.popitem()
            if key not in newer:
                newer[key] = value
                keys.append(key)
                values.append(value)
        if not entries:
            del failed[start]
        return start, count + 1

    def _new_marks(self, floor: int) -> list[Entry]:
        return [self._layout.mark(group, floor) for group, mark in self._marks.items() if mark < floor]

    def settle(self, limit: int) -> int:
        """See `Epochs`; nothing is moved while a read is in hand."""
        return 0 if self._reads else super().settle(limit)

    def evict(self, limit: int) -> int:
        """See `Epochs`; nothing is dropped while a read is in hand."""
        return 0 if self._reads else super().evict(limit)

    def dismantle(self, limit: int) -> int:
        """See `Epochs`; reads are over."""
        self._reads = 0
        return super().dismantle(limit)

    @property
    def dirty(self) -> bool:
        """Tell whether a freeze now would have something to write."""
        return super().dirty or self._buried

    @property
    def keys_in_memory(self) -> int:
        """Count the entries of all dicts; one that is in several counts several times."""
        return sum(epoch.entries for epoch in (self.live, *self.below))

    def _new_dict(self) -> SliceEpoch:
        return SliceEpoch(self.floor)

    def _entries_in(self, epoch: SliceEpoch) -> int:
        return epoch.entries

    def _bytes_of(self, epoch: SliceEpoch, entry: float) -> float:
        return epoch.bytes_at(entry)

    def _measure(self, key: object, value: Slice) -> float | None:
        """Measure an entry of a slice, one of the first or the last: those that are there for long grow."""
        del key
        for each, item in islice(value.items() if self._spot < 0.5 else reversed(value.items()), 1):
            return footprint(each, 4) + footprint(item, 4)
        return None

    def _settle_from(self, oldest: SliceEpoch, limit: int, *, keep: bool) -> int:
        """See `Epochs`. What an aged dict has of the same key may stay: it is older, and is dropped earlier."""
        moved = 0
        while len(oldest) and moved < limit:
            start, entries = oldest.popitem()
            clean = self.clean.get(start)
            moved += 1
            if not keep:
                self._cold.add(start)
                moved += empty(entries, limit - moved)
            elif clean is None:
                self.clean[start] = entries
                continue
            else:
                count = min(limit - moved, len(entries))
                for _ in range(count):
                    key, value = entries.popitem()
                    clean[key] = value
                moved += count
            if entries:
                oldest[start] = entries
        return moved

    def _drop_from(self, oldest: SliceEpoch, limit: int) -> int:
        dropped = 0
        while len(oldest) and dropped < limit:
            start = next(iter(oldest))
            self._cold.add(start)
            dropped += 1 + oldest.drop_first(start, limit - dropped)
        return dropped

    def _empty(self, unseen: dict[Any, Any], limit: int) -> int:
        return unseen.empty(limit) if isinstance(unseen, SliceEpoch) else empty(unseen, limit)

    def _hand_out(self, start: int, key: object, value: object, holder: SliceEpoch) -> object:
        if is_immutable(value):
            return value
        if not self._changeable(holder):
            value = private_copy(value)
        self.enter(start)[key] = value
        return value


class _Cursor:
    """Where the encoding of a frozen epoch is: nobody changes the slices that it has not passed."""

    def __init__(self, epoch: SliceEpoch) -> None:
        self._epoch = epoch
        self._left = list(epoch)[::-1]
        self._start = 0
        self._keys: Iterator[object] = iter(())
        self._values: Iterator[object] = iter(())
        self._again: tuple[int, list[object], list[object]] = 0, [], []

    def add(self, start: int) -> None:
        """Encode one more slice."""
        self._left.append(start)

    def take(self, limit: int) -> tuple[int, list[object], list[object]]:
        """Give a slice, and the next of its keys and values; no keys when all are done."""
        start, again_keys, again_values = self._again
        if again_keys:
            keys, values = again_keys[:limit], again_values[:limit]
            del again_keys[:limit], again_values[:limit]
            return start, keys, values
        keys = list(islice(self._keys, limit))
        while not keys and self._left:
            self._start = self._left.pop()
            entries = self._epoch[self._start]
            self._keys, self._values = iter(entries), iter(entries.values())
            keys = list(islice(self._keys, limit))
        return self._start, keys, list(islice(self._values, len(keys)))

    def give_back(self, start: int, keys: list[object], values: list[object]) -> None:
        """Take back the last of what was given, for which there was no room: they are given next."""
        _, again_keys, again_values = self._again
        self._again = start, keys + again_keys, values + again_values
