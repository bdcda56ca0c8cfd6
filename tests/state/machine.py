"""A machine that drives states beside plain dicts: whatever happens to memory, disk and subtasks, they stay equal.

    handlers    get, set, delete, change in place, walk …               tests/state/handling.py
    memory      freeze, encode a slice, settle, evict, the budget
    disk        write, a write that fails, a layer that comes too late, merges, expiry
    subtasks    a crash, and a restore of an older manifest by more or fewer subtasks

After each step every subtask holds what its model holds, whatever is in memory or in layers
only; after each write and merge a restore would see what the layers' barrier froze; of every
layer there are as many counts as users, and no file is open that nobody uses.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import InvariantError
from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.key_groups import range_of
from actorstream.state.budget import WAITING_MAX, Budget, BudgetStatistics
from actorstream.state.entries import EXPIRING, KIND, VALUE, expiring, take_apart
from actorstream.state.layer import open_checked
from actorstream.state.lmdb_env import _open_envs
from actorstream.state.operator_state import StateColumn
from actorstream.state.stack import LayerStack
from actorstream.testing.faults import Fault
from tests.state.content import KEYS, LONG_KEYS, LONG_MAP_KEYS, MAP_KEYS, Content, expiry_of
from tests.state.rig import ALL, MAP, OTHER_ROW, ROW, Shelf, state_over
from tests.state.steps import HISTORY, SALT, step, take_a_step
from tests.state.storing import store_at_once, store_in_a_group
from tests.state.subtasks import Subtask
from tests.state.test_compaction import merged_layer, replace_picked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer
    from actorstream.state.lmdb_env import Env
    from tests.state.subtasks import Flight, Manifest
    from tests.state.test_compaction import Pick

OTHER_MAP = StateColumn(StateNumber(4), "words", "map", SELF_DESCRIBING)
OPERATOR = OperatorNumber(5)


class Machine(RuleBasedStateMachine):
    """Everything but what handlers do. A subclass chooses the columns, and what else it is about."""

    columns: ClassVar[Sequence[StateColumn]] = (ROW, OTHER_ROW, MAP, OTHER_MAP)
    expiring: ClassVar[bool] = False
    """Values that say so expire: merges are told the time."""
    long: ClassVar[bool] = False
    """Keys are over 200 bytes, most of them."""
    grouped: ClassVar[bool] = False
    """Layers are written by a `LayerWriter`, all that waits at once."""

    @initialize(salt=SALT, history=HISTORY)
    def start(self, salt: int, history: str) -> None:
        """Begin with some layers, of the same keys, and a history."""
        random = Random(salt)
        self.keys, self.map_keys = [
            random.sample(among, random.randint(1, 4))
            for among in ((LONG_KEYS, LONG_MAP_KEYS) if self.long else (KEYS, MAP_KEYS))
        ]
        budget_bytes, parallelism = random.choice((1, 4_000, 1 << 30)), random.choice((1, 1, 2, 3))
        layers = [random.getrandbits(32) for _ in range(random.randint(0, 3))]
        self.width = sum(column.kind == "value" for column in self.columns)
        self.map_names = [column.name for column in self.columns if column.kind == "map"]
        self.shelf = Shelf(Path(mkdtemp()))
        self.budget = Budget(budget_bytes)
        self.now = -1
        self.merging: tuple[list[Pick], Layer | None, int] | None = None
        self.open([], parallelism, Content())
        for seed in layers:
            self.write_much(seed)
            self.write_all(None, keep=0)
        for letter in history:
            take_a_step(self, Random(f"{salt}{letter}"))
            self.all_is_well()

    def open(self, runs: Sequence[tuple[KeyGroupRange, tuple[Layer, ...]]], parallelism: int, content: Content) -> None:
        self.subtasks = []
        for groups in (range_of(index, parallelism, ALL.end) for index in range(parallelism)):
            state = state_over(LayerStack.covering(groups, runs), self.columns, groups)
            subtask = Subtask(state, self.columns, content.of(groups), content.of(groups))
            subtask.acknowledge()
            self.budget.join(state)
            self.subtasks.append(subtask)

    def some(self, index: int | None) -> list[Subtask]:
        """Give one subtask, or all of them."""
        return self.subtasks if index is None else [self.subtasks[index % len(self.subtasks)]]

    def write_much(self, seed: int) -> None:
        raise NotImplementedError

    # ---- memory ------------------------------------------------------------------------------------------------------

    @step(6)
    def freeze(self, index: int | None) -> None:
        for subtask in self.some(index):
            subtask.freeze()

    @step(8)
    def encode_some(self, index: int | None, at: int, limit: int) -> None:
        for subtask in self.some(index):
            for flight in subtask.flights[at // 2 :][:1]:
                flight.encode(limit)

    @step(9)
    def settle(self, index: int | None, limit: int) -> None:
        for subtask in self.some(index):
            subtask.state.settle(limit)

    @step(6)
    def evict(self, index: int | None, limit: int, all_of_it: bool) -> None:
        for subtask in self.some(index):
            subtask.evict(limit, all_of_it=all_of_it)

    @step(6)
    def relieve(self, index: int | None) -> None:
        """What an actor does after each batch."""
        for subtask in self.some(index):
            if self.budget.relieve(subtask.state):
                assert subtask.state.generations_waiting < WAITING_MAX
                subtask.freeze()

    # ---- disk --------------------------------------------------------------------------------------------------------

    @step(6)
    def write(self, index: int | None, limit: int, trouble: Fault | str | None) -> None:
        """Bring what waits into a file; "late": the first was taken back before its layer came."""
        self.store(self.some(index), limit, trouble)

    def store(self, subtasks: list[Subtask], limit: int, trouble: Fault | str | None = None) -> None:
        waiting = [(each, flight) for each in subtasks for flight in each.flights[: None if self.grouped else 1]]
        for _, flight in waiting:
            flight.encode_the_rest(limit)
        with_entries = [(subtask, flight) for subtask, flight in waiting if flight.generation.entries]
        store = store_in_a_group if self.grouped else store_at_once
        stored = store(
            self.shelf,
            [(subtask, self.parts_of(flight)) for subtask, flight in with_entries],
            trouble if isinstance(trouble, Fault) else None,
        )
        layers = dict(zip([flight for _, flight in with_entries], stored, strict=True))
        for number, (subtask, flight) in enumerate(waiting):
            failed = flight in layers and layers[flight] is None
            if failed or (trouble == "late" and number == 0):
                subtask.take_back(flight)
            if not failed:
                subtask.on_written(flight, layers.get(flight))
        self.check_durable(subtasks)

    def parts_of(self, flight: Flight) -> list[list[Entry]]:
        if not self.expiring:
            return [list(part) for part in flight.parts]
        return [[(key, with_expiry(value)) for key, value in part] for part in flight.parts]

    @step(3)
    def fail(self, index: int | None, at: int) -> None:
        """Give a generation and all newer ones up, however far they are."""
        for subtask in self.some(index):
            for flight in subtask.flights[at : at + 1]:
                subtask.take_back(flight)

    @step(2)
    def write_out_of_turn(self, index: int | None) -> None:
        """What is not the oldest, or not wholly in a layer, is refused, and can be written later."""
        for subtask in self.some(index):
            for oldest in subtask.flights[:1]:
                if oldest.generation.entries or not oldest.generation.encoded:
                    with pytest.raises(InvariantError, match="not wholly in a layer"):
                        subtask.state.on_written(oldest.generation, None)
            for newer in subtask.flights[1:2]:
                newer.encode_the_rest(3)
                (layer,) = store_at_once(self.shelf, [(subtask, self.parts_of(newer))], None)
                assert layer is not None
                with layer, pytest.raises(InvariantError, match="in the order in which they were frozen"):
                    subtask.state.on_written(newer.generation, layer)

    @step(3)
    def write_all(self, index: int | None, keep: int) -> None:
        for subtask in self.some(index):
            subtask.freeze()
            for _ in subtask.flights[keep:]:
                self.store([subtask], 3)
            assert len(subtask.flights) <= keep

    @step(4)
    def write_and_evict(self, index: int | None, keep: int) -> None:
        """Make a long story short: from here on nearly all is in layers only."""
        self.write_all(index, keep)
        self.evict(index, limit=2, all_of_it=True)

    @property
    def not_merging(self) -> bool:
        return self.merging is None

    @step(3, needs="not_merging")
    def begin_merge(self, index: int | None, first: int, more: int, now: int | None) -> None:
        """Merge some layers that stand side by side, others in each stack; the files are read at this moment."""
        picks: list[Pick] = []
        for subtask in self.some(index):
            for groups, layers in subtask.state.stack.runs():
                if layers:
                    start = first % len(layers)
                    picks.append((OPERATOR, subtask.state.stack, groups, layers[start : start + 1 + more]))
        if picks:
            until = -1 if now is None or not self.expiring else max(now, self.now)
            clocks = {column.number: until for column in self.columns} if until >= 0 else {}
            layer = merged_layer(self.shelf, picks, clocks)
            self.merging = picks, layer, until
            for _, value in layer.scan(b"") if layer else ():
                expires = take_apart(value).expires
                assert expires is None or expires > until

    @step(6, needs="merging")
    def end_merge(self) -> None:
        """Put it in the place of the old ones; what was pushed meanwhile lies on top."""
        assert self.merging is not None
        (picks, layer, until), self.merging = self.merging, None
        replace_picked(picks, layer)
        if until >= 0:
            self.now = max(self.now, until)
            for subtask in self.subtasks:  # nothing in memory knows of an expiry: what has one is to be read anew
                subtask.drop_reads()
            self.evict(None, limit=4, all_of_it=True)
        self.check_durable(self.subtasks)

    # ---- subtasks ----------------------------------------------------------------------------------------------------

    @step(2)
    def crash_and_restore(self, parallelism: int, back: tuple[int, ...]) -> None:
        """Drop all that is in memory, and open what some manifest lists, by as many subtasks as may be."""
        listed: Manifest = []
        content = Content()
        for subtask, steps in zip(self.subtasks, back, strict=False):
            runs, at_barrier = subtask.manifests[-1 - steps % len(subtask.manifests)]
            listed[:0] = runs  # a manifest promises no order
            content.rows |= at_barrier.rows
            content.maps |= at_barrier.maps
        self.end()
        files = dict.fromkeys(file for _, each in listed for file in each)
        layers = {file: open_checked(self.shelf.files, self.shelf.path(file), file) for file in files}
        self.open([(groups, tuple(layers[file] for file in each)) for groups, each in listed], parallelism, content)
        for layer in layers.values():
            layer.release()

    def end(self) -> None:
        if self.merging is not None and self.merging[1] is not None:
            self.merging[1].release()
        self.merging = None
        for subtask in self.subtasks:
            self.budget.leave(subtask.state)
            subtask.end()
        self.subtasks = []
        assert self.open_names() == []

    # ---- what must hold after each step ------------------------------------------------------------------------------

    @invariant()
    def all_is_well(self) -> None:
        for subtask in self.subtasks:
            subtask.model.check(subtask.state, self.keys, self.now)
            subtask.check_counts(self.keys)
        self.check_budget()
        self.check_layers()

    def check_durable(self, subtasks: list[Subtask]) -> None:
        for subtask in subtasks:
            subtask.check_durable(self.keys, self.now)
            subtask.acknowledge()

    def check_budget(self) -> None:
        weights = [member.weight for member in self.budget._members.values()]
        live, waiting, clean = [sum(each) for each in zip(*weights, strict=True)] or [0, 0, 0]
        assert len(weights) == len(self.subtasks)
        limit, evicted = self.budget.limit_bytes, self.budget._evicted
        assert self.budget.statistics() == BudgetStatistics(limit, live, waiting, clean, evicted)
        assert self.budget.over == (live + waiting + clean > limit)

    def check_layers(self) -> None:
        """Those who use a layer are counted, and what nobody uses is closed."""
        users: Counter[Layer] = Counter()
        for subtask in self.subtasks:
            users.update(subtask.layers)
            for reading in subtask.reads:
                assert reading.begun._pinned is not None
                users.update(reading.begun._pinned._held)
        if self.merging is not None and self.merging[1] is not None:
            users[self.merging[1]] += 1
        assert {layer: layer._users for layer in users} == users
        assert self.open_names() == sorted(layer.file.name for layer in users)

    def open_names(self) -> list[str]:
        return sorted(env.path.rpartition("/")[2] for env in self.open_envs())

    def open_envs(self) -> list[Env]:
        folder = f"{self.shelf.folder}/"
        return [env for env in _open_envs.values() if env.path.startswith(folder)]

    def teardown(self) -> None:
        if not hasattr(self, "subtasks"):
            return
        try:
            if sys.exc_info()[0] is None:  # a second failure would hide the first
                self.write_and_evict(None, keep=0)
                assert [subtask.state.freeze() for subtask in self.subtasks] == [None] * len(self.subtasks)
                self.all_is_well()
                self.end()
                self.check_budget()
        finally:
            for env in self.open_envs():  # what a failure left: the next history must not pay for it
                env._users = 1
                env.close()
            rmtree(self.shelf.folder)


def with_expiry(value: bytes) -> bytes:
    """Give an entry's value the expiry that the value itself names."""
    wholes = take_apart(value)
    expiry = expiry_of(SELF_DESCRIBING.decode(wholes.tagged[1:])) if wholes.tagged[0] == VALUE else None
    if expiry is None:
        return value
    kept = len(value) - len(wholes.tagged)
    return bytes((value[0] & ~KIND | EXPIRING,)) + value[1 : kept + 1] + expiring(wholes.tagged, expiry)[1:]
