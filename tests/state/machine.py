"""A machine that drives states beside plain dicts: whatever happens to memory, disk and subtasks, they stay equal.

    handlers        get, set, delete, change in place, iterate …             tests/state/handling.py
    memory          freeze, encode a slice, settle, evict, the budget
    disk            write, a write that fails, a layer that comes too late, merges, expiry
    subtasks        a crash; a restore of an older manifest, by more or fewer subtasks

After each step every subtask holds what its model holds, whatever is in memory or in layers
only; after each write and merge a restore would see what the layers' barrier froze (T134); of
every layer there are as many counts as users, and no file is open that nobody uses.
"""

from __future__ import annotations

import sys
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.key_groups import owner_of, range_of
from actorstream.state.budget import WAITING_MAX, Budget, BudgetStatistics
from actorstream.state.entries import EXPIRING, KIND, VALUE, expiring, take_apart
from actorstream.state.layer import open_checked
from actorstream.state.lmdb_env import _open_envs
from actorstream.state.map_changes import MapEpoch
from actorstream.state.missing import MISSING
from actorstream.state.operator_state import StateColumn
from actorstream.state.stack import LayerStack
from actorstream.testing.faults import Fault
from tests.state.content import KEYS, LONG_KEYS, LONG_MAP_KEYS, MAP_KEYS, Content, expiry_of, group_of
from tests.state.rig import ALL, MAP, OTHER_ROW, ROW, Shelf, encode_all, state_over
from tests.state.storing import store_at_once, store_in_a_group
from tests.state.test_compaction import merged_layer, replace_picked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from threading import Thread

    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.state.cold_read import ColdRead
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer, LayerFile
    from actorstream.state.operator_state import Generation, OperatorState
    from tests.state.test_compaction import Pick

OTHER_MAP = StateColumn(StateNumber(4), "words", "map", SELF_DESCRIBING)
OPERATOR = OperatorNumber(5)
INDEX, FEW, SEED = st.integers(0, 2), st.integers(1, 4), st.integers(0, 1 << 32)
PICKS = st.lists(st.integers(0, 15), min_size=2, max_size=5, unique=True)
BACK = st.sampled_from((0, 0, 0, 1, 2))  # manifests
FAULT = st.builds(Fault, st.integers(1, 5), st.sampled_from(("EIO", "ENOSPC")))
Manifest: TypeAlias = "list[tuple[KeyGroupRange, tuple[LayerFile, ...]]]"


@dataclass(eq=False)
class Flight:
    """A generation on its way to disk: what it must hold, and what was encoded of it."""

    generation: Generation
    content: Content
    parts: list[list[Entry]] = field(default_factory=list)


@dataclass(eq=False)
class Subtask:
    """One state, its model, what is on its way to disk, and what is there."""

    state: OperatorState
    model: Content
    durable: Content
    acknowledged: list[tuple[Manifest, Content]] = field(default_factory=list)
    flights: list[Flight] = field(default_factory=list)
    reads: list[tuple[ColdRead, Thread]] = field(default_factory=list)
    held: list[tuple[object, object]] = field(default_factory=list)

    def acknowledge(self) -> None:
        """List the layers of this moment as a manifest does."""
        runs = [(groups, tuple(layer.file for layer in layers)) for groups, layers in self.state.stack.runs()]
        self.acknowledged = [*self.acknowledged[-2:], (runs, deepcopy(self.durable))]

    def end_read(self, at: int, *, drop: bool) -> None:
        """Let a cold read's thread end, and take what it found or not."""
        begun, thread = self.reads.pop(at)
        if thread.ident is None:
            thread.start()
        thread.join()
        begun.drop() if drop else begun.settle()


class Machine(RuleBasedStateMachine):
    """Everything but what handlers do. A subclass chooses the columns, and what else it is about."""

    columns: ClassVar[Sequence[StateColumn]] = (ROW, OTHER_ROW, MAP, OTHER_MAP)
    expiring: ClassVar[bool] = False
    """Values that say so expire: merges are told the time."""
    long: ClassVar[bool] = False
    """Keys are over 200 bytes, most of them."""
    grouped: ClassVar[bool] = False
    """Layers are written by a `LayerWriter`, all that waits at once."""

    @initialize(
        keys=PICKS,
        map_keys=PICKS,
        budget_bytes=st.sampled_from((1, 4_000, 1 << 30)),
        parallelism=st.integers(1, 3),
        before=st.lists(SEED, max_size=4),
        cold=st.booleans(),
    )
    def start(  # noqa: PLR0913  (a rule's arguments)
        self, keys: list[int], map_keys: list[int], budget_bytes: int, parallelism: int, before: list[int], cold: bool
    ) -> None:
        """Begin in the middle: with some layers, in which the same keys are written, deleted and cleared."""
        all_keys, all_map_keys = (LONG_KEYS, LONG_MAP_KEYS) if self.long else (KEYS, MAP_KEYS)
        self.keys = [all_keys[number % len(all_keys)] for number in keys]
        self.map_keys = [all_map_keys[number % len(all_map_keys)] for number in map_keys]
        self.width = sum(column.kind == "value" for column in self.columns)
        self.map_names = [column.name for column in self.columns if column.kind == "map"]
        self.shelf = Shelf(Path(mkdtemp()))
        self.budget = Budget(budget_bytes)
        self.now = -1
        self.merging: tuple[list[Pick], Layer | None, int] | None = None
        self.open([], parallelism, Content())
        for seed in before:
            self.write_much(seed)
            for index in range(parallelism):
                self.write_all_that_waits(index, keep=0)
        if cold:
            self.crash_and_restore(parallelism, back=[0, 0, 0])

    def write_much(self, seed: int) -> None:
        """Write, delete and clear half of all that there is."""
        raise NotImplementedError

    def open(self, runs: Sequence[tuple[KeyGroupRange, tuple[Layer, ...]]], parallelism: int, content: Content) -> None:
        self.subtasks = []
        for groups in (range_of(index, parallelism, ALL.end) for index in range(parallelism)):
            state = state_over(LayerStack.covering(groups, runs), self.columns, groups)
            subtask = Subtask(state, content.of(groups), content.of(groups))
            subtask.acknowledge()
            self.budget.join(state)
            self.subtasks.append(subtask)

    def at(self, index: int) -> Subtask:
        return self.subtasks[index % len(self.subtasks)]

    def owner(self, key: object) -> Subtask:
        return self.subtasks[owner_of(group_of(key), len(self.subtasks), ALL.end)]

    # ---- memory ------------------------------------------------------------------------------------------------------

    @rule(index=INDEX)
    def freeze(self, index: int) -> None:
        self.freeze_one(self.at(index))

    def freeze_one(self, subtask: Subtask) -> None:
        subtask.held.clear()  # no handler's values outlive it, and a freeze comes between handlers
        dirty = any(table.dirty for table in subtask.state._tables)
        generation = subtask.state.freeze()
        assert (generation is not None) == dirty
        if generation is not None:
            subtask.flights.append(Flight(generation, deepcopy(subtask.model)))

    @rule(index=INDEX, at=INDEX, limit=FEW)
    def encode_some(self, index: int, at: int, limit: int) -> None:
        for flight in self.at(index).flights[at : at + 1]:
            part = flight.generation.encode(limit)
            assert len(part) <= limit
            flight.parts.append(part)

    @rule(index=INDEX, limit=FEW)
    def settle(self, index: int, limit: int) -> None:
        self.at(index).state.settle(limit)

    @rule(index=INDEX, limit=FEW, all_of_it=st.booleans())
    def evict(self, index: int, limit: int, all_of_it: bool) -> None:
        state = self.at(index).state
        while state.evict(limit, 1 << 30) and all_of_it:
            pass

    @rule(index=INDEX)
    def relieve(self, index: int) -> None:
        """What an actor does after each batch."""
        subtask = self.at(index)
        if self.budget.relieve(subtask.state):
            assert subtask.state.generations_waiting < WAITING_MAX
            self.freeze_one(subtask)

    # ---- disk --------------------------------------------------------------------------------------------------------

    @rule(index=INDEX, together=st.booleans(), trouble=st.none() | FAULT | st.just("late"))
    def write(self, index: int, together: bool, trouble: Fault | str | None) -> None:
        """Bring what waits into a file; "late": the first was taken back before its layer came."""
        subtasks = self.subtasks if together else [self.at(index)]
        flights = [(each, flight) for each in subtasks for flight in each.flights[: None if self.grouped else 1]]
        for _, flight in flights:
            flight.parts += encode_all(flight.generation, 3)
        self.store(flights, trouble)

    def store(self, flights: list[tuple[Subtask, Flight]], trouble: Fault | str | None = None) -> None:
        with_entries = [flight for flight in flights if flight[1].generation.entries]
        parts = [(subtask, self.parts_of(flight)) for subtask, flight in with_entries]
        store = store_in_a_group if self.grouped else store_at_once
        fault = trouble if isinstance(trouble, Fault) else None
        layers = dict(zip([flight for _, flight in with_entries], store(self.shelf, parts, fault), strict=True))
        for number, (subtask, flight) in enumerate(flights):
            generation, layer = flight.generation, layers.get(flight)
            failed = flight in layers and layer is None
            if failed or (trouble == "late" and number == 0):
                self.take_back(subtask, flight)
            if failed:
                continue
            subtask.state.on_written(generation, layer)
            if not generation.failed:
                assert subtask.flights.pop(0) is flight
                subtask.durable = flight.content
                self.check_durable(subtask)

    def parts_of(self, flight: Flight) -> list[list[Entry]]:
        if not self.expiring:
            return [list(part) for part in flight.parts]
        return [[(key, with_expiry(value)) for key, value in part] for part in flight.parts]

    def take_back(self, subtask: Subtask, flight: Flight) -> None:
        subtask.state.on_write_failed(flight.generation)
        if flight in subtask.flights:
            at = subtask.flights.index(flight)
            assert all(newer.generation.failed for newer in subtask.flights[at:])
            del subtask.flights[at:]

    @rule(index=INDEX, at=INDEX)
    def fail(self, index: int, at: int) -> None:
        """Give a generation and all newer ones up, wherever they are."""
        subtask = self.at(index)
        for flight in subtask.flights[at : at + 1]:
            self.take_back(subtask, flight)

    @rule(index=INDEX, keep=st.integers(0, 1))
    def write_all_that_waits(self, index: int, keep: int) -> None:
        subtask = self.at(index)
        self.freeze_one(subtask)
        while subtask.flights[keep:]:
            flight = subtask.flights[0]
            flight.parts += encode_all(flight.generation, 3)
            self.store([(subtask, flight)])

    @rule(index=INDEX, keep=st.integers(0, 1))
    def write_and_evict(self, index: int, keep: int) -> None:
        """Make a long story short: from here on nearly all is in layers only."""
        self.write_all_that_waits(index, keep)
        self.evict(index, limit=2, all_of_it=True)

    @precondition(lambda self: self.merging is None)
    @rule(first=st.integers(0, 3), more=st.integers(0, 3), alone=st.none() | INDEX, now=st.none() | st.integers(0, 4))
    def begin_merge(self, first: int, more: int, alone: int | None, now: int | None) -> None:
        """Merge some layers that stand side by side, others in each stack; the files are read at this moment."""
        picks: list[Pick] = []
        for subtask in self.subtasks if alone is None else [self.at(alone)]:
            for groups, layers in subtask.state.stack.runs():
                if layers:
                    start = first % len(layers)
                    picks.append((OPERATOR, subtask.state.stack, groups, layers[start : start + 1 + more]))
        if picks:
            until = -1 if now is None or not self.expiring else max(now, self.now)
            self.merging = picks, merged_layer(self.shelf, picks, None if until < 0 else until), until

    @precondition(lambda self: self.merging is not None)
    @rule()
    def end_merge(self) -> None:
        """Put it in the place of the old ones; what was pushed meanwhile lies on top."""
        assert self.merging is not None
        (picks, layer, until), self.merging = self.merging, None
        replace_picked(picks, layer)
        if until >= 0:
            self.now = max(self.now, until)
            for subtask in self.subtasks:  # a read has no clock yet: it would bring back what has expired
                while subtask.reads:
                    subtask.end_read(0, drop=True)
        for subtask in self.subtasks:
            self.check_durable(subtask)

    def check_durable(self, subtask: Subtask) -> None:
        """A restore now must see exactly what the barrier froze (T134, T135)."""
        stack = LayerStack(subtask.state.stack.runs())
        subtask.durable.check(state_over(stack, self.columns, stack.key_groups), self.keys, self.now)
        stack.release()
        subtask.acknowledge()

    # ---- subtasks ----------------------------------------------------------------------------------------------------

    @rule(parallelism=st.integers(1, 3), back=st.lists(BACK, min_size=3, max_size=3))
    def crash_and_restore(self, parallelism: int, back: list[int]) -> None:
        """Drop all that is in memory, and open what some manifest lists, by as many subtasks as may be."""
        manifests: Manifest = []
        content = Content()
        for subtask, steps in zip(self.subtasks, back, strict=False):
            runs, at_barrier = subtask.acknowledged[-1 - steps % len(subtask.acknowledged)]
            manifests += runs
            content.rows |= at_barrier.rows
            content.maps |= at_barrier.maps
        self.end()
        files = {file for _, each in manifests for file in each}
        layers = {file: open_checked(self.shelf.files, self.shelf.path(file), file) for file in files}
        self.open([(groups, tuple(layers[file] for file in each)) for groups, each in manifests], parallelism, content)
        for layer in layers.values():
            layer.release()

    def end(self) -> None:
        if self.merging is not None and self.merging[1] is not None:
            self.merging[1].release()
        self.merging = None
        for subtask in self.subtasks:
            while subtask.reads:
                subtask.end_read(0, drop=True)
            self.budget.leave(subtask.state)
            while subtask.state.dismantle(3):
                pass
            assert subtask.state.statistics().keys_in_memory == 0
            subtask.state.stack.release()
        self.subtasks = []
        assert self.open_names() == []

    def open_names(self) -> list[str]:
        paths = [Path(env.path) for env in _open_envs.values()]
        return sorted(path.name for path in paths if path.parent == self.shelf.folder)

    # ---- what must hold after each step ------------------------------------------------------------------------------

    @invariant()
    def all_is_well(self) -> None:
        self.states_are_their_models()
        self.entries_are_counted()
        self.statistics_are_sane()
        self.layers_are_open_while_they_are_used()

    def states_are_their_models(self) -> None:
        for subtask in self.subtasks:
            subtask.model.check(subtask.state, self.keys, self.now)

    def entries_are_counted(self) -> None:
        """Clean dicts are disjoint, else an entry that was dropped could uncover an older one."""
        for subtask in self.subtasks:
            state = subtask.state
            for table in state._tables:
                clean = [entry for epoch in (table.clean, *table._aged) for entry in entries_of(epoch)]
                assert len(clean) == len(set(clean))
                for epoch in (table.live, *table.below):
                    assert table._entries_in(epoch) == len(entries_of(epoch))
            assert state.live_entries == sum(len(entries_of(table.live)) for table in state._tables)
            assert all(table._iterations == 0 for table in state.maps.values())

    def statistics_are_sane(self) -> None:
        for subtask in self.subtasks:
            state, statistics = subtask.state, subtask.state.statistics()
            stacked = {layer for _, layers in state.stack.runs() for layer in layers}
            assert (statistics.layers, statistics.generations_waiting) == (len(stacked), len(subtask.flights))
            assert min(state.weigh()) >= 0
            stored = state.stored_key()
            assert stored is MISSING or (stored in self.keys and self.owner(stored) is subtask)
        reading, members = self.budget.statistics(), self.budget._members.values()
        weights = [member.weight for member in members]
        assert (reading.live_bytes, reading.waiting_bytes, reading.clean_bytes) == tuple(
            map(sum, zip(*weights, strict=True))
        )
        assert self.budget.over == (sum(map(sum, weights)) > reading.limit_bytes)

    def layers_are_open_while_they_are_used(self) -> None:
        users: Counter[Layer] = Counter()
        for subtask in self.subtasks:
            users.update({layer for _, layers in subtask.state.stack.runs() for layer in layers})
            for begun, _ in subtask.reads:
                users.update(begun._pinned._held if begun._pinned is not None else ())
        if self.merging is not None and self.merging[1] is not None:
            users[self.merging[1]] += 1
        assert {layer: layer._users for layer in users} == users
        assert self.open_names() == sorted(layer.file.name for layer in users)

    def teardown(self) -> None:
        if not hasattr(self, "subtasks"):
            return
        try:
            if sys.exc_info()[0] is None:  # a second failure would hide the first
                for index in range(len(self.subtasks)):
                    self.write_and_evict(index, keep=0)
                    assert self.subtasks[index].state.freeze() is None
                self.states_are_their_models()
                self.end()
                assert self.budget.statistics() == BudgetStatistics(self.budget.limit_bytes, 0, 0, 0, self.budget._evicted)
        finally:
            rmtree(self.shelf.folder)


def with_expiry(value: bytes) -> bytes:
    """Give an entry's value the expiry that the value itself names."""
    wholes = take_apart(value)
    expiry = expiry_of(SELF_DESCRIBING.decode(wholes.tagged[1:])) if wholes.tagged[0] == VALUE else None
    if expiry is None:
        return value
    kept = len(value) - len(wholes.tagged)
    return bytes((value[0] & ~KIND | EXPIRING,)) + value[1 : kept + 1] + expiring(wholes.tagged, expiry)[1:]


def entries_of(epoch: Iterable[object]) -> list[object]:
    if isinstance(epoch, MapEpoch):
        return [(key, map_key) for key, change in epoch.items() for map_key in change.entries]
    return list(epoch)

