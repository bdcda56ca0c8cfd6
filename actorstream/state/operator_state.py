"""The keyed state of one operator in one subtask: its tables, frozen together, made durable together.

    freeze        O(1): every table begins a new epoch at the same instant
    Generation    what was frozen; encoded a slice at a time, between batches
    on_written    its layer goes on the stack: then `stack.runs()` is what this
                  barrier's manifest lists, nothing of a later barrier in it
    on_write_failed   it goes out again with the next freeze, in another file

Invariants:
- Generations come to the stack in the order in which they were frozen.
- A generation that failed takes every newer one with it: a newer barrier cannot
  be acknowledged without the older entries.
- What is frozen is never changed; the next epoch is never in it.

A freeze need not belong to a checkpoint: to save memory one may freeze early,
and the next checkpoint finds those entries in a layer. When to, and what else must go
for room, says the `Budget` that the state has joined (state/budget.py).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from actorstream.codec.ordered_keys import decode_key_at
from actorstream.errors import CodecError, InvariantError
from actorstream.state.cold_read import ColdReads
from actorstream.state.entries import HEAD_BYTES, VALUE, Slots, take_apart
from actorstream.state.epochs import Weight
from actorstream.state.key_space import KeySpace
from actorstream.state.keys_of import keys_of
from actorstream.state.map_table import MapTable
from actorstream.state.memtable import RowTable
from actorstream.state.missing import MISSING
from actorstream.state.slice_entries import TIME_BYTES
from actorstream.state.slice_table import SliceTable
from actorstream.state.timers import TimerTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.codec.values import Codec
    from actorstream.model.ids import OperatorNumber, StateNumber
    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.state.budget import Budget
    from actorstream.state.cold_read import ColdRead
    from actorstream.state.entries import Entry
    from actorstream.state.epochs import Epochs, Part
    from actorstream.state.layer import Layer
    from actorstream.state.stack import LayerStack

_SETTLE_AT_ONCE = 5_000  # entries, about 1 ms
_LOOK_AT = 100  # entries of a layer
_STATE_AT = HEAD_BYTES - 2
StateKind: TypeAlias = Literal["value", "map", "timers", "slices", "broadcast", "list"]
_UNKEYED = frozenset({"broadcast", "list"})
_Frozen: TypeAlias = "tuple[Epochs[Any], Part[Any]]"


@dataclass(frozen=True, slots=True)
class StateColumn:
    """One state of an operator: its number in layers, and how its values are encoded."""

    number: StateNumber
    name: str
    kind: StateKind
    codec: Codec[Any]


@dataclass(frozen=True, slots=True)
class StateStatistics:
    """A reading. A key counts in each generation that holds it."""

    keys_in_memory: int
    layers: int
    generations_waiting: int


class Generation:
    """What one freeze took, on its way to a layer.

    Attributes:
        encoded: All entries were given.
        entries: How many were given so far.
        failed: It was taken back, and will never be in a layer: its barrier cannot be acknowledged.
    """

    def __init__(self, parts: list[_Frozen], settle: Sequence[Epochs[Any]], *, bottom: bool) -> None:
        """Freeze is over; with `bottom` nothing is below that a tombstone could hide."""
        self.encoded = False
        self.entries = 0
        self.failed = False
        self._parts = parts
        self._tables = settle
        self._bottom = bottom
        self._slots = Slots()
        self._at = 0
        self._surplus: list[Entry] = []

    def encode(self, limit: int) -> list[Entry]:
        """Give the next entries, at most `limit`; fewer, or none, is not the end: `encoded` is.

        As many entries of the generation before are moved to their place in memory.

        Raises:
            CodecError: A key or value cannot be encoded: the message names operator, state and key.
        """
        if self.failed:
            raise InvariantError("this generation was taken back: its entries are in a later one")
        if self.encoded:
            return []
        for table in self._tables:
            table.settle(limit)
        try:
            entries = self._next(limit)
        except BaseException:
            self.failed = True  # what was taken and not given must not look written
            raise
        self._surplus = entries[limit:]
        del entries[limit:]
        self.entries += len(entries)
        if self._at == len(self._parts) and not self._surplus:
            self.encoded = True
            for _, part in self._parts:
                part.encoded = True
        return entries

    def _next(self, limit: int) -> list[Entry]:
        entries = self._surplus
        while len(entries) < limit and self._at < len(self._parts):
            table, part = self._parts[self._at]
            entries += table.encode(part, self._slots, limit - len(entries), bottom=self._bottom)
            if not part.drained:
                break  # it has looked at as many as the limit allows
            self._at += 1
        return entries

    def written(self) -> None:
        """Tell the tables that the entries are in a layer."""
        for table, part in self._parts:
            table.on_written(part)

    def take_back(self) -> None:
        """Give the entries back to the tables, for the next freeze."""
        self.failed = True
        for table, part in self._parts:
            table.on_write_failed(part)


class OperatorState:
    """State of one operator, for the key groups of one subtask."""

    def __init__(
        self,
        *,
        operator: OperatorNumber,
        columns: Sequence[StateColumn],
        key_groups: KeyGroupRange,
        max_parallelism: int,
        stack: LayerStack,
        name: str = "",
    ) -> None:
        """Start above what `stack` holds; `name` is the operator's, for messages.

        Raises:
            InvariantError: `stack` covers other key groups than `key_groups`.
        """
        self.stack = stack
        self.columns = columns
        self._space = KeySpace(
            operator=operator,
            name=name or f"operator {operator}",
            key_groups=key_groups,
            max_parallelism=max_parallelism,
            stack=stack,
        )
        values = [column for column in columns if column.kind == "value"]
        self.rows = RowTable(values, self._space)
        self.maps = {column.name: MapTable(column, self._space) for column in columns if column.kind == "map"}
        timers = [TimerTable(column.number, self._space) for column in columns if column.kind == "timers"]
        self.timers = timers[0] if timers else None
        slices = [SliceTable(column, self._space) for column in columns if column.kind == "slices"]
        self.slices = slices[0] if slices else None
        # What belongs to no key lies as the map of a key of ours (state/unkeyed.py).
        self.unkeyed = {column.name: MapTable(column, self._space) for column in columns if column.kind in _UNKEYED}
        self.before_freeze: list[Callable[[], None]] = []
        before_key = {"value": 0, "map": 0, "slices": TIME_BYTES}
        self._keys_at = {
            column.number.to_bytes(2): before_key[column.kind] for column in columns if column.kind in before_key
        }
        self._has_rows = bool(values)
        self._tables: list[Epochs[Any]] = [self.rows, *self.maps.values(), *timers, *slices, *self.unkeyed.values()]
        self._waiting: list[Generation] = []
        self._cold_reads = ColdReads(self.rows, stack)
        self._budget: Budget | None = None

    @property
    def key_groups(self) -> KeyGroupRange:
        """The key groups of this subtask."""
        return self._space.key_groups

    @property
    def max_parallelism(self) -> int:
        """How many key groups there are."""
        return self._space.max_parallelism

    def key_group(self, key: object) -> int:
        """Give the key group of a key."""
        return self._space.key_group(key)

    def owns(self, key: object) -> bool:
        """Tell whether a key belongs to this subtask."""
        return self.key_group(key) in range(*self.key_groups)

    def stored_key(self) -> object:
        """Give some key that has state in the layers; MISSING where none is found at once."""
        operator = self._space.operator.to_bytes(2)
        for groups, layers in self.stack.runs():
            for layer in layers:
                entries = layer.scan(operator, groups.start.to_bytes(2), groups.end.to_bytes(2))
                for entry_key, value in islice(entries, _LOOK_AT):
                    at = self._keys_at.get(entry_key[_STATE_AT:HEAD_BYTES])
                    if at is None:
                        continue
                    wholes = take_apart(value)
                    if wholes.live[0] == VALUE:
                        with suppress(CodecError):  # an Enum that the program has no more
                            return decode_key_at(wholes.key or entry_key, at + (0 if wholes.key else HEAD_BYTES))[0]
        return MISSING

    def keys_of(self, name: str) -> list[object]:
        """Give every key that has something of a value, list or map state, in the order of their encodings.

        Also keys whose value has expired: reads every entry of the state in the layers.
        """
        column = next(column for column in self.columns if column.name == name)
        return keys_of(self._space, column, self.maps.get(name, self.rows))

    def clear_key(self, key: object) -> None:
        """Forget a key: its row, all its maps and its timers."""
        if self._has_rows:
            self.rows.live[key] = MISSING
        for table in self.maps.values():
            table.clear(key)
        if self.timers is not None:
            self.timers.clear(key)

    def freeze(self) -> Generation | None:
        """Begin a new epoch in every table; None if nothing was written and nothing failed waits.

        Call it between records, never inside a handler.
        """
        for store in self.before_freeze:
            store()
        self._cold_reads.on_freeze()
        bottom = not self._waiting and not self.stack.layers
        parts = [(table, part) for table in self._tables if (part := table.freeze()) is not None]
        if not parts:
            return None
        generation = Generation(parts, self._tables, bottom=bottom)
        self._waiting.append(generation)
        self._tell_budget()
        return generation

    def on_written(self, generation: Generation, layer: Layer | None) -> None:
        """Put the layer of the oldest waiting generation on the stack; takes over the caller's count of it.

        None stands for a generation without entries. If the generation was taken back meanwhile,
        the layer is given up: the entries go out again.

        Raises:
            InvariantError: It is not the oldest, not wholly encoded, or has entries and no layer.
        """
        if not generation.failed:
            if not self._waiting or self._waiting[0] is not generation:
                raise InvariantError("generations come to the stack in the order in which they were frozen")
            if not generation.encoded or (layer is None and generation.entries):
                raise InvariantError(f"a generation with {generation.entries} entries is not wholly in a layer")
            del self._waiting[0]
            if layer is not None:
                self.stack.push(layer)
            generation.written()
            self.settle(_SETTLE_AT_ONCE)
            self._tell_budget()
        if layer is not None:
            layer.release()

    def on_write_failed(self, generation: Generation) -> None:
        """Take a generation and every newer one back: their entries go out with the next freeze.

        For one that is back already this does nothing.
        """
        if generation in self._waiting:
            at = self._waiting.index(generation)
            for newest_first in reversed(self._waiting[at:]):
                newest_first.take_back()
            del self._waiting[at:]
            self._tell_budget()

    def settle(self, limit: int) -> bool:
        """Move up to `limit` written entries of each table to the clean ones; True: there may be more."""
        return 0 in [table.settle(limit) for table in self._tables]

    # ---- memory ------------------------------------------------------------------------------------------------------

    @property
    def generations_waiting(self) -> int:
        """How many generations are frozen and not yet in a layer. With two, the actor takes no more records."""
        return len(self._waiting)

    def memory_bytes(self) -> int:
        """Estimate what all entries in memory take."""
        return sum(self.weigh())

    def dirty_bytes(self) -> int:
        """Estimate what the entries that are in no layer yet take."""
        weight = self.weigh()
        return weight.live + weight.waiting

    def weigh(self) -> Weight:
        """Estimate what the entries take: some microseconds, whatever their number."""
        if len(self._tables) == 1:
            return self._tables[0].weigh()
        return Weight(*map(sum, zip(*[table.weigh() for table in self._tables], strict=True)))

    @property
    def live_entries(self) -> int:
        """How many entries this epoch has written."""
        return sum([table.live_entries for table in self._tables])

    @property
    def growing_entries(self) -> int:
        """How many entries the dicts hold that records make larger."""
        rows = self.rows
        entries = len(rows.live) + len(rows.clean)
        for table in self.maps.values():
            entries += table.live.entries + table.clean.entries
        if self.slices is not None:
            entries += self.slices.live.entries + self.slices.clean.entries
        return entries

    def evict(self, limit: int, limit_bytes: int) -> int:
        """Drop up to `limit` clean entries, and about `limit_bytes`, of the table with most; give how many.

        Call it between records, never inside a handler. What was changed, or handed out as a mutable
        value, stays until it is in a layer.
        """
        for table in sorted(self._tables, key=lambda table: table.weigh().clean, reverse=True):
            dropped = table.evict(max(1, min(limit, int(limit_bytes / table.sizes.settled))))
            if dropped:
                return dropped
        return 0

    def dismantle(self, limit: int) -> bool:
        """Drop up to `limit` entries of any kind, when the state is needed no more; True: call again.

        Whoever lets go of a large state in one step holds the loop for as long as it takes to free it.
        """
        return sum([table.dismantle(limit) for table in self._tables]) > 0

    def join(self, budget: Budget | None) -> None:
        """Tell `budget` of freezes and writes from now on; None: nobody."""
        self._budget = budget

    def _tell_budget(self) -> None:
        if self._budget is not None:
            self._budget.on_moved(self)

    # ---- cold rows ---------------------------------------------------------------------------------------------------

    @property
    def looks_ahead(self) -> bool:
        """Tell whether `missing` should be asked before the next batch: without its keys this is known first."""
        return self._has_rows and self._cold_reads.expected

    def missing(self, keys: Sequence[object]) -> ColdRead | None:
        """Give a read of the rows that memory lacks, if these are more than 32 of the batch; call it before the batch.

        None also where no layer can be needed, as the batches before show: see state/cold_read.py.
        """
        return self._cold_reads.missing(keys) if self._has_rows else None

    def statistics(self) -> StateStatistics:
        """Read what this state takes."""
        return StateStatistics(
            keys_in_memory=sum(table.keys_in_memory for table in self._tables),
            layers=self.stack.layers,
            generations_waiting=len(self._waiting),
        )
