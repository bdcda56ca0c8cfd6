"""Cold reads: the rows that a batch needs and memory lacks, fetched in one go by a thread.

    loop      missing(keys) ─ pin ─┐            ┌─ settle ─> handle the batch
    thread                         └─ read() ──┘

One by one, on the loop, 500 rows from a disk that has to be waited for hold everybody up;
sorted and by getmulti in a thread, nobody. While the thread reads, the loop goes on: it may
freeze, push layers and merge them, drop what is clean. So the read has the stack as it was
(pinned), and `settle` takes no row of a key that was written meanwhile, or that memory has.

Whether a batch is worth the look costs something too: 0.1 µs a key. So only those are looked
at that follow one with more than 32 rows loaded, until one needs fewer. Keys that are in memory,
and new ones, which the layers' filters turn away, are not worth a thread.

Not for maps, whose map keys nobody knows before the handler runs.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from actorstream.errors import CodecError
from actorstream.state.missing import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.state.memtable import RowTable
    from actorstream.state.stack import LayerStack, PinnedStack

COLD_KEYS_MIN: Final = 32
"""As many are read faster one by one than by a thread."""

BYTES_MAX: Final = 16 << 20
"""Of encoded values, for one batch: it may be for 500 keys with 10 MB each."""
_FIRST_KEYS: Final = 16
_KEYS_AT_ONCE: Final = 64
_LOOKED_AT_MOST = 10_000  # keys of a batch, one C call


class ColdReads:
    """Says which batches of one subtask are worth a cold read."""

    def __init__(self, rows: RowTable, stack: LayerStack) -> None:
        """Look at the first batch: after a restore memory is empty."""
        self._rows = rows
        self._stack = stack
        self._looking = True
        self._loads = 0
        self._under_way: list[ColdRead] = []

    @property
    def expected(self) -> bool:
        """Tell whether the next batch may be worth one, so that its keys should be made first."""
        return (self._looking or self._rows.loads - self._loads > COLD_KEYS_MIN) and bool(self._stack.layers)

    def missing(self, keys: Sequence[object]) -> ColdRead | None:
        """Give a read of the keys that memory lacks, None if they are too few to be worth it."""
        rows = self._rows
        expected, self._loads = self.expected, rows.loads
        if not expected:
            return None
        cold = set(keys if len(keys) <= _LOOKED_AT_MOST else keys[:_LOOKED_AT_MOST])
        for epoch in (rows.live, *rows.below):
            cold = cold.difference(epoch)  # one at a time: given several, it walks through whole dicts
        self._looking = len(cold) > COLD_KEYS_MIN
        if not self._looking:
            return None
        # In the order of the batch: that of a set is another in each process, and a run could not be repeated.
        in_order = [key for key in dict.fromkeys(keys) if key in cold]
        cold_read = ColdRead(self, rows, in_order, self._stack.pin())
        self._under_way.append(cold_read)
        return cold_read

    def on_freeze(self) -> None:
        """Take note, before a freeze, of what this epoch wrote."""
        for cold_read in self._under_way:
            cold_read.on_freeze()

    def on_over(self, cold_read: ColdRead, found: int | None) -> None:
        """Forget a read. If it found few of its keys, the next batch is not worth one."""
        self._under_way.remove(cold_read)
        if found is not None:
            self._looking = found > COLD_KEYS_MIN


class ColdRead:
    """One read: `read` in a thread, then `settle` on the loop; `drop` instead, whatever went wrong."""

    def __init__(self, owner: ColdReads, rows: RowTable, keys: Sequence[object], pinned: PinnedStack) -> None:
        """Read `keys`; takes over the pin."""
        self._owner = owner
        self._rows = rows
        self._keys = keys
        self._pinned: PinnedStack | None = pinned
        self._written: set[object] = set()
        self._found: dict[object, object] = {}

    def read(self) -> None:
        """Fetch and decode the rows; blocking, for a thread.

        What cannot be read or decoded here is left for the record that needs it, which says so. So is what is more than
        `BYTES_MAX`, since nothing is evicted before the batch is handled.
        """
        if self._pinned is None:
            return
        entries = self._rows.entries
        found: dict[object, object] = {}
        size = done = 0
        while done < len(self._keys) and size < BYTES_MAX:
            # As many as fit if they are like those before, and not too many: large ones may follow small ones.
            fit = (BYTES_MAX - size) * done // (size + 1) if done else _FIRST_KEYS
            keys = self._keys[done : done + max(1, min(fit, _KEYS_AT_ONCE))]
            done += len(keys)
            places = {key: entries.places(key) for key in keys}
            values = self._pinned.get_many([place for each in places.values() for place in each])
            size += sum(map(len, values.values()))
            for key, each in places.items():
                if not each:
                    continue
                with suppress(CodecError):
                    found[key] = entries.row_of(key, [values.get(entry) for _, entry in each])
        self._found = found

    def on_freeze(self) -> None:
        """Take note of the keys that were written: what was read of them is out of date."""
        live = self._rows.live
        self._written.update([key for key in self._keys if key in live])

    def settle(self) -> None:
        """Put the rows into memory, and handle the batch before anything is evicted; on the loop.

        A second call does nothing, nor does one after `drop`.
        """
        if self._pinned is None:
            return
        rows, kept = self._rows, 0
        absent: set[object] = set()
        for key, row in self._found.items():
            if row is MISSING:
                absent.add(key)
                continue
            kept += 1
            if key not in self._written and not rows.in_memory(key):
                rows.keep(key, row)
        rows.absent = absent - self._written
        self._end(kept)

    def drop(self) -> None:
        """Give the read up, after its thread has ended; a second call does nothing."""
        if self._pinned is not None:
            self._end(None)

    def _end(self, found: int | None) -> None:
        pinned, self._pinned = self._pinned, None
        self._found = {}
        self._owner.on_over(self, found)
        if pinned is not None:
            pinned.release()
