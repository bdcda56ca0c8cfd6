"""State against a plain dict model, through freezes, failures, evictions, crashes and restores at another split."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actorstream.codec.ordered_keys import encode_key
from actorstream.model.key_groups import key_group_of, owner_of, range_of
from actorstream.state import operator_state
from actorstream.state.memtable import MISSING
from actorstream.state.stack import LayerStack
from tests.state.rig import ALL, MAP, OTHER_ROW, ROW, Shelf, encode_all, read, state_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer
    from actorstream.state.operator_state import Generation, OperatorState, StateColumn

STEM = "k" * 250
KEYS = ["a", "b", STEM + "1"]
MAP_KEYS = [1, 2, STEM + "x", STEM + "a"]
KEY, MAP_KEY = st.sampled_from(KEYS), st.sampled_from(MAP_KEYS)
VALUE = st.integers(0, 9) | st.lists(st.integers(0, 9), max_size=1)
INDEX = st.integers(0, 1)
ARGUMENTS: dict[str, Callable[[Random], object]] = {
    "key": lambda random: random.choice(KEYS),
    "map_key": lambda random: random.choice(MAP_KEYS),
    "value": lambda random: random.choice([random.randrange(9), [random.randrange(9)]]),
    "extra": lambda random: random.randrange(9),
    "index": lambda random: random.randrange(2),
    "at": lambda random: random.randrange(2),
    "keep": lambda random: random.randrange(2),
    "limit": lambda random: random.randrange(1, 4),
    "parallelism": lambda random: random.randrange(1, 3),
    "start": lambda random: random.choice([None, None, *MAP_KEYS]),
    "stop": lambda random: random.choice([None, None, *MAP_KEYS]),
    "reverse": lambda random: random.random() < 0.5,
    "change": lambda random: random.random() < 0.5,
}
FLOW = ("freeze", "freeze", "encode_some", "encode_some", "write", "write", "fail", "drop_clean")


@pytest.fixture(autouse=True)
def settle_by_slices_only() -> Iterator[None]:
    """Let written entries linger between their generation and the clean ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operator_state, "_SETTLE_AT_ONCE", 0)
        yield


@dataclass
class Content:
    """What a state must hold: the model."""

    rows: dict[object, object] = field(default_factory=dict)
    maps: dict[object, dict[object, object]] = field(default_factory=dict)

    def of(self, groups: KeyGroupRange) -> Content:
        def mine(key: object) -> bool:
            return groups.start <= key_group_of(encode_key(key), ALL.end) < groups.end

        rows = {key: row for key, row in self.rows.items() if mine(key)}
        return deepcopy(Content(rows, {key: entries for key, entries in self.maps.items() if mine(key)}))

    def check(self, state: OperatorState) -> None:
        for key, row in self.rows.items():
            assert state.rows.peek(key) == row
        for key, entries in self.maps.items():
            assert state.maps["pages"].peek(key) == by_code(entries.items())


def by_code(items: Iterable[tuple[object, object]]) -> list[tuple[object, object]]:
    return sorted(items, key=lambda item: encode_key(item[0]))


@dataclass
class Flight:
    """A generation on its way to disk: what it must hold, and what was encoded of it."""

    generation: Generation
    content: Content
    parts: list[list[Entry]] = field(default_factory=list)


@dataclass
class Subtask:
    """One state, its model, what is on its way to disk, and what is there."""

    state: OperatorState
    model: Content
    durable: Content
    flights: list[Flight] = field(default_factory=list)


class Epochs(RuleBasedStateMachine):
    """What every table goes through. A subclass adds the ways to write."""

    columns: Sequence[StateColumn]
    ways: Sequence[str] = ()

    @initialize(parallelism=st.integers(1, 2))
    def start(self, parallelism: int) -> None:
        self.shelf = Shelf(Path(mkdtemp()))
        self.open([], parallelism, Content())

    def open(self, runs: list[tuple[KeyGroupRange, tuple[Layer, ...]]], parallelism: int, content: Content) -> None:
        self.subtasks = []
        for groups in (range_of(index, parallelism, ALL.end) for index in range(parallelism)):
            state = state_over(LayerStack.covering(groups, runs), self.columns, groups)
            self.subtasks.append(Subtask(state, content.of(groups), content.of(groups)))

    def owner(self, key: object) -> Subtask:
        group = key_group_of(encode_key(key), ALL.end)
        return self.subtasks[owner_of(group, len(self.subtasks), ALL.end)]

    def at(self, index: int) -> Subtask:
        return self.subtasks[index % len(self.subtasks)]

    @rule(seed=st.integers(0, 2**32))
    def burst(self, seed: int) -> None:
        """Do many steps for the price of one: the rules alone seldom get deep enough."""
        random = Random(seed)
        for _ in range(40):
            step = getattr(self, random.choice((*FLOW, *self.ways)))
            step(**{name: ARGUMENTS[name](random) for name in signature(step).parameters})
            self.state_is_the_model()

    @rule(index=INDEX)
    def freeze(self, index: int) -> None:
        subtask = self.at(index)
        generation = subtask.state.freeze()
        if generation is not None:
            subtask.flights.append(Flight(generation, deepcopy(subtask.model)))

    @rule(index=INDEX, at=INDEX, limit=st.integers(1, 4))
    def encode_some(self, index: int, at: int, limit: int) -> None:
        for flight in self.at(index).flights[at : at + 1]:
            flight.parts.append(flight.generation.encode(limit))

    @rule(index=INDEX)
    def encode_the_rest(self, index: int) -> None:
        for flight in self.at(index).flights[:1]:
            flight.parts += encode_all(flight.generation, 2)

    @rule(index=INDEX)
    def write(self, index: int) -> None:
        subtask = self.at(index)
        if not subtask.flights:
            return
        flight = subtask.flights.pop(0)
        flight.parts += encode_all(flight.generation, 2)
        layer = self.shelf.layer(*flight.parts) if flight.generation.entries else None
        subtask.state.on_written(flight.generation, layer)
        subtask.durable = flight.content
        self.check_durable(subtask)

    def check_durable(self, subtask: Subtask) -> None:
        """A restore now must see exactly what the barrier froze (T134, T135)."""
        stack = LayerStack(subtask.state.stack.runs())
        subtask.durable.check(state_over(stack, self.columns, stack.key_groups))
        stack.release()

    @rule(index=INDEX, at=INDEX)
    def fail(self, index: int, at: int) -> None:
        subtask = self.at(index)
        if at < len(subtask.flights):
            subtask.state.on_write_failed(subtask.flights[at].generation)
            assert all(flight.generation.failed for flight in subtask.flights[at:])
            del subtask.flights[at:]

    @rule(index=INDEX, keep=INDEX)
    def drop_clean(self, index: int, keep: int) -> None:
        """A memory budget may drop any clean entry at any time."""
        state = self.at(index).state
        for key in list(state.rows.clean)[keep:]:
            del state.rows.clean[key]
        for table in state.maps.values():
            for key in list(table.clean)[keep:]:
                del table.clean[key]

    @rule(parallelism=st.integers(1, 2))
    def crash_and_rescale(self, parallelism: int) -> None:
        runs = [run for subtask in self.subtasks for run in subtask.state.stack.runs()]
        old, content = self.subtasks, Content()
        for subtask in old:
            content.rows |= subtask.durable.rows
            content.maps |= subtask.durable.maps
        self.open(runs, parallelism, content)
        for subtask in old:
            subtask.state.stack.release()

    @invariant()
    def state_is_the_model(self) -> None:
        for subtask in self.subtasks:
            subtask.model.check(subtask.state)

    def teardown(self) -> None:
        if not hasattr(self, "subtasks"):
            return
        for index, subtask in enumerate(self.subtasks):
            self.freeze(index)
            while subtask.flights:
                self.write(index)
            assert subtask.state.freeze() is None
            subtask.state.stack.release()
        rmtree(self.shelf.folder)


class Rows(Epochs):
    """One value column."""

    columns: Sequence[StateColumn] = (ROW,)
    ways = ("set_row", "set_row", "delete_row", "read_and_change_in_place", "read_and_change_in_place")

    def row_of(self, value: object) -> object:
        return value

    @rule(key=KEY, value=VALUE)
    def set_row(self, key: str, value: object) -> None:
        subtask, row = self.owner(key), self.row_of(value)
        subtask.state.rows.live[key] = row
        subtask.model.rows[key] = deepcopy(row)

    @rule(key=KEY)
    def delete_row(self, key: str) -> None:
        subtask = self.owner(key)
        subtask.state.clear_key(key)
        subtask.model.rows[key] = MISSING

    @rule(key=KEY, extra=st.integers(0, 9))
    def read_and_change_in_place(self, key: str, extra: int) -> None:
        subtask = self.owner(key)
        row, expected = read(subtask.state, key), subtask.model.rows.get(key, MISSING)
        assert row == expected
        for value, model in zip(columns_of(row), columns_of(expected), strict=True):
            if isinstance(value, list) and isinstance(model, list):
                value.append(extra)
                model.append(extra)


class WideRows(Rows):
    """Two value columns in one row."""

    columns = (ROW, OTHER_ROW)

    def row_of(self, value: object) -> object:
        return (MISSING, value) if isinstance(value, int) and value % 2 else (value, 3)


class Maps(Epochs):
    """A map column."""

    columns = (MAP,)
    ways = ("set_entry", "set_entry", "set_entry", "delete_entry", "clear", "read_and_change_in_place", "scan")

    @rule(key=KEY, map_key=MAP_KEY, value=VALUE)
    def set_entry(self, key: str, map_key: object, value: object) -> None:
        subtask = self.owner(key)
        subtask.state.maps["pages"].set(key, map_key, value)
        subtask.model.maps.setdefault(key, {})[map_key] = deepcopy(value)

    @rule(key=KEY, map_key=MAP_KEY)
    def delete_entry(self, key: str, map_key: object) -> None:
        subtask = self.owner(key)
        subtask.state.maps["pages"].delete(key, map_key)
        subtask.model.maps.setdefault(key, {}).pop(map_key, None)

    @rule(key=KEY)
    def clear(self, key: str) -> None:
        subtask = self.owner(key)
        subtask.state.clear_key(key)
        subtask.model.maps[key] = {}

    @rule(key=KEY, map_key=MAP_KEY)
    def read_and_change_in_place(self, key: str, map_key: object) -> None:
        subtask = self.owner(key)
        table, model = subtask.state.maps["pages"], subtask.model.maps.get(key, {})
        assert table.contains(key, map_key) == (map_key in model)
        value = table.get(key, map_key)
        assert value == model.get(map_key, MISSING)
        if isinstance(value, list):
            value.append(4)
            model[map_key] = deepcopy(value)

    @rule(key=KEY, start=st.none() | MAP_KEY, stop=st.none() | MAP_KEY, reverse=st.booleans(), change=st.booleans())
    def scan(self, key: str, start: object, stop: object, reverse: bool, change: bool) -> None:
        subtask = self.owner(key)
        table, model = subtask.state.maps["pages"], subtask.model.maps.get(key, {})
        low, high = (None if bound is None else encode_key(bound) for bound in (start, stop))
        inside = (
            (map_key, value)
            for map_key, value in model.items()
            if (low is None or encode_key(map_key) >= low) and (high is None or encode_key(map_key) < high)
        )
        found = list(table.items(key, start, stop, reverse=reverse))
        assert found == by_code(inside)[:: -1 if reverse else 1]
        assert table.len(key) == len(model)
        for map_key, value in found if change else ():
            if isinstance(value, list):
                value.append(8)
                model[map_key] = deepcopy(value)


def columns_of(row: object) -> tuple[object, ...]:
    return row if isinstance(row, tuple) else (row,)


QUICK = settings(max_examples=20, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck))
TestRows, TestWideRows, TestMaps = Rows.TestCase, WideRows.TestCase, Maps.TestCase
for _case in (TestRows, TestWideRows, TestMaps):
    _case.settings = QUICK
del _case
