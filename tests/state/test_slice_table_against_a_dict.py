"""Slices against a dict: written, dropped, frozen, lost, evicted, compacted and split, they hold the same."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.codec.ordered_keys import encode_key
from actorstream.codec.values import SELF_DESCRIBING
from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.key_groups import key_group_of, range_of
from actorstream.model.times import TIME_MIN
from actorstream.state import entries, epochs, slice_entries, slice_epoch, slice_table
from actorstream.state.missing import MISSING
from actorstream.state.operator_state import StateColumn
from actorstream.state.stack import LayerStack
from tests.state.rig import ALL, Shelf, encode_all, state_over
from tests.state.test_compaction import compact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.state.entries import Entry
    from actorstream.state.operator_state import Generation
    from actorstream.state.slice_table import SliceTable
    from actorstream.state.stack import Run

SLICES = StateColumn(StateNumber(9), "panes", "slices", SELF_DESCRIBING)
LONG = "k" * 250
KEYS: list[object] = ["a", "b", "", 7, -1, LONG, LONG + "1", LONG + "2", ("t", 1), b"x"]
KEYS.append("k" * 195)  # too long beside a time only

Model: TypeAlias = "dict[tuple[int, object], object]"


class Owner:
    """One subtask's slices, beside what they must hold: now, at each freeze that is on its way, and in the layers."""

    def __init__(
        self, shelf: Shelf, groups: KeyGroupRange, runs: Sequence[Run], model: Model, floors: dict[int, int]
    ) -> None:
        self.shelf = shelf
        self.state = state_over(LayerStack.covering(groups, runs), (SLICES,), groups)
        self.groups = groups
        self.model = {each: value for each, value in model.items() if self.owns(each[1])}
        self.stored = deepcopy(self.model)
        self.floors = {group: floors[group] for group in range(*groups)}
        self.stored_floors = dict(self.floors)
        self.waiting: list[tuple[Generation, Model, dict[int, int], list[list[Entry]]]] = []

    @property
    def table(self) -> SliceTable:
        assert self.state.slices is not None
        return self.state.slices

    def owns(self, key: object) -> bool:
        return group_of(key) in range(*self.groups)

    def freeze(self) -> None:
        dirty = self.table.dirty
        generation = self.state.freeze()
        assert dirty == (generation is not None)
        if generation is not None:
            self.waiting.append((generation, deepcopy(self.model), dict(self.floors), []))

    def write(self, limit: int) -> None:
        generation, model, floors, parts = self.waiting[0]
        parts += encode_all(generation, limit)
        self.state.on_written(generation, self.shelf.layer(*parts) if generation.entries else None)
        self.stored, self.stored_floors = model, floors
        del self.waiting[0]
        self.check_stored()

    def check_stored(self) -> None:
        """A restore of this moment would see exactly what was frozen."""
        runs = self.state.stack.runs()
        restored = Owner(self.shelf, self.groups, runs, self.stored, self.stored_floors)
        restored.check()
        restored.state.stack.release()

    def drop(self, before: int) -> None:
        self.table.drop_before(before)
        self.floors = {group: max(floor, before) for group, floor in self.floors.items()}
        for each in [each for each in self.model if each[0] < before]:
            del self.model[each]

    def check(self) -> None:
        """All that there is, by looks that change nothing, besides `read`."""
        here = sorted({start for start, _ in self.model})
        assert self.table.slices() == here
        for start in here:
            found = [each for piece in self.table.read(start) for each in piece]
            expected = {key: value for (each, key), value in self.model.items() if each == start}
            assert dict(found) == expected
            assert len(found) == len(expected), "a key came twice"
            mine = [key for key in KEYS if self.owns(key)]
            assert [self.table.peek(start, key) for key in mine] == [expected.get(key, MISSING) for key in mine]
        assert min(self.state.weigh()) >= 0
        self.check_memory()

    def check_memory(self) -> None:
        """Of what was dropped nothing is kept, but for generations on their way."""
        table = self.table
        assert table.live_entries == len([key for entries in table.live.values() for key in entries])
        assert table._cold <= table.known
        for epoch in (table.live, *table._returned, *table._settling, table.clean, *table._aged):
            assert not [start for start in epoch if start < table.floor]


def group_of(key: object) -> int:
    return key_group_of(encode_key(key), ALL.end)


def update(table: SliceTable, start: int, key: object, amount: int) -> object:
    """Do what the record path does, with values of which some are changed in place; give the new value."""
    live = table.enter(start)
    value = live.get(key, MISSING)
    if value is MISSING:
        value = table.older(start, key)
    if value is MISSING:
        value = [amount] if amount % 3 == 0 else amount
    elif isinstance(value, list):
        value.append(amount)
        return value  # it counts as written
    elif isinstance(value, int):
        value += amount
    live[key] = value
    return value


class History:
    """An operator at some parallelism."""

    def __init__(self, shelf: Shelf, random: Random) -> None:
        self.shelf = shelf
        self.random = random
        self.now = random.choice([0, -30, 1 << 50])
        floors = dict.fromkeys(range(*ALL), TIME_MIN)
        self.owners = [Owner(shelf, ALL, (), {}, floors)]

    def change(self) -> None:
        random = self.random
        for _ in range(random.randint(1, 15)):
            start, key = self.now + random.randint(-5, 2), random.choice(KEYS)
            owner = next(owner for owner in self.owners if owner.owns(key))
            if start < max(owner.floors[group_of(key)], owner.table.floor):
                continue  # nobody enters what was dropped
            value = update(owner.table, start, key, random.randint(0, 20))
            owner.model[start, key] = deepcopy(value)

    def step(self) -> None:
        random = self.random
        owner, action = random.choice(self.owners), random.random()
        if action < 0.4:
            self.change()
            self.now += random.choice([0, 0, 1, 2])
        elif action < 0.48:
            owner.drop(self.now - random.choice([1, 2, 5, 5]))
        elif action < 0.6:
            if len(owner.waiting) < 3:
                owner.freeze()
        elif action < 0.82:
            self.step_to_disk(owner)
        elif action < 0.93:
            moves: list[Callable[[int], object]] = [owner.state.settle, owner.table.free, owner.table.evict]
            random.choice(moves)(random.choice([1, 3, 100]))
        elif action < 0.95:
            self.compact(owner)
        else:
            self.crash()

    def step_to_disk(self, owner: Owner) -> None:
        if not owner.waiting:
            return
        random, action = self.random, self.random.random()
        if action < 0.3:
            generation, _, _, parts = owner.waiting[0]
            parts.append(generation.encode(random.randint(1, 5)))
        elif action < 0.7:
            owner.write(random.choice([1, 3, 100]))
        else:
            at = random.randrange(len(owner.waiting))
            owner.state.on_write_failed(owner.waiting[at][0])
            del owner.waiting[at:]

    def read_slowly(self) -> None:
        """Between two pieces of a read may be anything but a write into the slice, or its drop."""
        owner = self.random.choice(self.owners)
        starts = owner.table.slices()
        if not starts:
            return
        start = self.random.choice(starts)
        expected = {key: value for (each, key), value in owner.model.items() if each == start}
        found = []
        for piece in owner.table.read(start):
            found += piece
            action = self.random.random()
            if action < 0.2:
                owner.freeze()
            elif action < 0.3 and owner.waiting:
                generation, _, _, parts = owner.waiting[0]
                parts.append(generation.encode(3))
            elif action < 0.4 and owner.waiting and owner.waiting[0][0].encoded:
                owner.write(3)
            elif action < 0.5 and owner.waiting:
                owner.state.on_write_failed(owner.waiting[0][0])
                owner.waiting.clear()
            elif action < 0.7:
                owner.state.settle(3)
                owner.state.evict(3, 1 << 30)
            elif action < 0.8:
                self.compact(owner)
        assert dict(found) == expected
        assert len(found) == len(expected)

    def compact(self, owner: Owner) -> None:
        stack = owner.state.stack
        for groups, layers in stack.runs():
            start, end = sorted(self.random.choices(range(len(layers) + 1), k=2))
            if start < end:
                compact(self.shelf, [(OperatorNumber(5), stack, groups, layers[start:end])])
        owner.check_stored()

    def crash(self) -> None:
        """Only layers are left; another parallelism takes over."""
        before = self.owners
        runs = [run for owner in before for run in owner.state.stack.runs()]
        model = {each: value for owner in before for each, value in owner.stored.items()}
        floors = {group: floor for owner in before for group, floor in owner.stored_floors.items()}
        parallelism = self.random.randint(1, 3)
        ranges = [range_of(index, parallelism, ALL.end) for index in range(parallelism)]
        self.owners = [Owner(self.shelf, groups, runs, model, floors) for groups in ranges]
        for owner in before:
            owner.state.stack.release()

    def check(self) -> None:
        for owner in self.owners:
            owner.check()

    def end(self) -> None:
        """Everything goes, memory by steps."""
        for owner in self.owners:
            for _ in range(10_000):
                if not owner.state.dismantle(3):
                    break
            assert owner.state.statistics().keys_in_memory == 0
            owner.state.stack.release()


@pytest.fixture(params=["true hash", "every digest the same"])
def narrow(request: pytest.FixtureRequest) -> Iterator[None]:
    """So few entries at once that every step ends in the middle of something."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slice_table, "_PIECE", 2)
        patch.setattr(slice_entries, "_ROWS", 2)
        patch.setattr(slice_epoch, "_FREED_AT_ONCE", 2)
        patch.setattr(epochs, "CLEAN_ENTRIES_MAX", 8)
        if request.param != "true hash":
            patch.setattr(entries, "digest_of", lambda part: b"\x00" * 16)
        yield


@pytest.mark.usefixtures("narrow")
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_slices_hold_what_a_dict_does_t130_t134_t135(seed: int) -> None:
    """Written, changed in place, dropped; frozen, failed, settled, evicted, compacted, lost and split."""
    shelf = Shelf(Path(mkdtemp()))
    history = History(shelf, Random(seed))
    for _ in range(60):
        history.step()
        history.check()
        history.read_slowly()
    history.end()
    rmtree(shelf.folder)
