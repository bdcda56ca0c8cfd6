"""State against a plain dict model, through freezes, failures and restores."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import CodecError, InvariantError
from actorstream.model.key_groups import KeyGroupRange, key_group_of, owner_of, range_of
from actorstream.state.memtable import MISSING
from actorstream.state.operator_state import Generation, OperatorState, StateColumn
from actorstream.state.stack import LayerStack
from tests.state.rig import ALL, MAP, OTHER_ROW, ROW, Shelf, encode_all, read, restored, row_list, state_over

STEM = "k" * 250
KEYS = st.sampled_from(["a", "b", "c", "d", STEM + "1", STEM + "2"])
MAP_KEYS = st.sampled_from([0, 1, -5, 2**70, 7])
LONG_MAP_KEYS = st.sampled_from(["p", STEM + "x", STEM + "a", "q", STEM])
VALUES = st.one_of(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=3), st.none())


@dataclass
class Content:
    """What a state must hold: the model."""

    rows: dict[object, object] = field(default_factory=dict)
    maps: dict[object, dict[object, object]] = field(default_factory=dict)

    def of(self, groups: KeyGroupRange) -> Content:
        def mine(key: object) -> bool:
            return groups.start <= key_group_of(encode_key(key), ALL.end) < groups.end

        return deepcopy(
            Content({k: v for k, v in self.rows.items() if mine(k)}, {k: v for k, v in self.maps.items() if mine(k)})
        )

    def check(self, state: OperatorState) -> None:
        for key, row in self.rows.items():
            assert state.rows.peek(key) == row
        for key, entries in self.maps.items():
            assert state.maps["pages"].peek(key) == sorted(entries.items(), key=lambda item: encode_key(item[0]))


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
    waiting: list[Flight] = field(default_factory=list)


class StateMachine(RuleBasedStateMachine):
    """One value column and a map."""

    columns: tuple[StateColumn, ...] = (ROW, MAP)

    @initialize(parallelism=st.integers(1, 3))
    def start(self, parallelism: int) -> None:
        self.shelf = Shelf(Path(mkdtemp()))
        self.open([], parallelism, Content())

    def open(self, runs: list[tuple[KeyGroupRange, tuple[object, ...]]], parallelism: int, content: Content) -> None:
        self.subtasks = []
        for index in range(parallelism):
            groups = range_of(index, parallelism, ALL.end)
            state = state_over(LayerStack.covering(groups, runs), self.columns, groups)  # type: ignore[arg-type]
            self.subtasks.append(Subtask(state, content.of(groups), content.of(groups)))

    def owner(self, key: object) -> Subtask:
        group = key_group_of(encode_key(key), ALL.end)
        return self.subtasks[owner_of(group, len(self.subtasks), ALL.end)]

    def row_of(self, value: object) -> object:
        return value

    @rule(key=KEYS, value=VALUES)
    def set_row(self, key: str, value: object) -> None:
        subtask, row = self.owner(key), self.row_of(value)
        subtask.state.rows.live[key] = row
        subtask.model.rows[key] = deepcopy(row)

    @rule(key=KEYS)
    def delete_row(self, key: str) -> None:
        subtask = self.owner(key)
        subtask.state.rows.live[key] = MISSING
        subtask.model.rows[key] = MISSING

    @rule(key=KEYS, extra=st.integers(0, 9))
    def read_row_and_change_in_place(self, key: str, extra: int) -> None:
        subtask = self.owner(key)
        row = read(subtask.state, key)
        expected = subtask.model.rows.get(key, MISSING)
        assert row == expected
        for value, model in zip(parts_of(row), parts_of(expected), strict=True):
            if isinstance(value, list) and isinstance(model, list):
                value.append(extra)
                model.append(extra)

    @rule(key=KEYS, map_key=MAP_KEYS, value=VALUES)
    def set_map(self, key: str, map_key: int, value: object) -> None:
        self.put(key, map_key, value)

    @rule(key=KEYS, map_key=LONG_MAP_KEYS, value=VALUES)
    def set_long_map(self, key: str, map_key: str, value: object) -> None:
        self.put(key + "-text", map_key, value)

    def put(self, key: str, map_key: object, value: object) -> None:
        subtask = self.owner(key)
        subtask.state.maps["pages"].set(key, map_key, value)
        subtask.model.maps.setdefault(key, {})[map_key] = deepcopy(value)

    @rule(key=KEYS, suffix=st.sampled_from(["", "-text"]), data=st.data())
    def delete_map(self, key: str, suffix: str, data: st.DataObject) -> None:
        subtask, key = self.owner(key + suffix), key + suffix
        map_key = data.draw(LONG_MAP_KEYS if suffix else MAP_KEYS)
        subtask.state.maps["pages"].delete(key, map_key)
        subtask.model.maps.setdefault(key, {}).pop(map_key, None)

    @rule(key=KEYS, suffix=st.sampled_from(["", "-text"]))
    def clear_map(self, key: str, suffix: str) -> None:
        subtask = self.owner(key + suffix)
        subtask.state.maps["pages"].clear(key + suffix)
        subtask.model.maps[key + suffix] = {}

    @rule(key=KEYS)
    def clear_key(self, key: str) -> None:
        subtask = self.owner(key)
        subtask.state.clear_key(key)
        subtask.model.rows[key] = MISSING
        subtask.model.maps[key] = {}

    @rule(key=KEYS, suffix=st.sampled_from(["", "-text"]), data=st.data())
    def read_map_and_change_in_place(self, key: str, suffix: str, data: st.DataObject) -> None:
        subtask, key = self.owner(key + suffix), key + suffix
        map_key = data.draw(LONG_MAP_KEYS if suffix else MAP_KEYS)
        table, model = subtask.state.maps["pages"], subtask.model.maps.get(key, {})
        assert table.contains(key, map_key) == (map_key in model)
        value = table.get(key, map_key)
        assert value == model.get(map_key, MISSING)
        if isinstance(value, list):
            value.append(4)
            model[map_key] = deepcopy(value)

    @rule(key=KEYS, suffix=st.sampled_from(["", "-text"]), reverse=st.booleans(), change=st.booleans(), data=st.data())
    def scan_map(self, key: str, suffix: str, reverse: bool, change: bool, data: st.DataObject) -> None:
        subtask, key = self.owner(key + suffix), key + suffix
        bounds = st.none() | (LONG_MAP_KEYS if suffix else MAP_KEYS)
        start, stop = data.draw(bounds), data.draw(bounds)
        table, model = subtask.state.maps["pages"], subtask.model.maps.get(key, {})
        expected = sorted(
            (
                item
                for item in model.items()
                if (start is None or encode_key(item[0]) >= encode_key(start))
                and (stop is None or encode_key(item[0]) < encode_key(stop))
            ),
            key=lambda item: encode_key(item[0]),
            reverse=reverse,
        )
        found = list(table.items(key, start, stop, reverse=reverse))
        assert found == expected
        assert table.len(key) == len(model)
        for map_key, value in found if change else ():
            if isinstance(value, list):
                value.append(8)
                model[map_key] = deepcopy(value)

    @rule(index=st.integers(0, 2))
    def freeze(self, index: int) -> None:
        subtask = self.subtasks[index % len(self.subtasks)]
        generation = subtask.state.freeze()
        if generation is not None:
            subtask.waiting.append(Flight(generation, deepcopy(subtask.model)))

    @rule(index=st.integers(0, 2), at=st.integers(0, 2), limit=st.integers(1, 9))
    def encode_some(self, index: int, at: int, limit: int) -> None:
        subtask = self.subtasks[index % len(self.subtasks)]
        if at < len(subtask.waiting):
            flight = subtask.waiting[at]
            flight.parts.append(flight.generation.encode(limit))

    @rule(index=st.integers(0, 2))
    def write(self, index: int) -> None:
        subtask = self.subtasks[index % len(self.subtasks)]
        if subtask.waiting:
            flight = subtask.waiting.pop(0)
            parts = flight.parts + encode_all(flight.generation)
            subtask.state.on_written(flight.generation, self.shelf.layer(*parts) if flight.generation.entries else None)
            subtask.durable = flight.content

    @rule(index=st.integers(0, 2), at=st.integers(0, 2))
    def fail(self, index: int, at: int) -> None:
        subtask = self.subtasks[index % len(self.subtasks)]
        if at < len(subtask.waiting):
            subtask.state.on_write_failed(subtask.waiting[at].generation)
            assert all(flight.generation.failed for flight in subtask.waiting[at:])
            del subtask.waiting[at:]

    @rule(index=st.integers(0, 2), keep=st.integers(0, 3))
    def drop_clean(self, index: int, keep: int) -> None:
        """A memory budget may drop any clean entry at any time."""
        state = self.subtasks[index % len(self.subtasks)].state
        for table in (state.rows, *state.maps.values()):
            clean: dict[object, object] = table.clean  # type: ignore[assignment]
            for key in list(clean)[keep:]:
                del clean[key]

    @rule(index=st.integers(0, 2))
    def check_durable(self, index: int) -> None:
        subtask = self.subtasks[index % len(self.subtasks)]
        stack = LayerStack(subtask.state.stack.runs())
        subtask.durable.check(state_over(stack, self.columns, stack.key_groups))
        stack.release()

    @rule(parallelism=st.integers(1, 3))
    def crash_and_rescale(self, parallelism: int) -> None:
        runs = [run for subtask in self.subtasks for run in subtask.state.stack.runs()]
        old, content = self.subtasks, Content()
        for subtask in old:
            content.rows |= subtask.durable.rows
            content.maps |= subtask.durable.maps
        self.open(runs, parallelism, content)
        for subtask in old:
            subtask.state.stack.release()

    @rule()
    def check_all(self) -> None:
        for subtask in self.subtasks:
            subtask.model.check(subtask.state)

    def teardown(self) -> None:
        if not hasattr(self, "subtasks"):
            return
        self.check_all()
        for subtask in self.subtasks:
            for flight in subtask.waiting[-1:]:
                subtask.state.on_write_failed(flight.generation)
            subtask.waiting = subtask.waiting[:-1]
            while subtask.waiting:
                self.write(self.subtasks.index(subtask))
            self.shelf.checkpoint(subtask.state)
            subtask.durable = subtask.model
            subtask.model.check(subtask.state)
        self.crash_and_rescale(2)
        self.check_all()
        for subtask in self.subtasks:
            subtask.state.stack.release()
        rmtree(self.shelf.folder)


class RowMachine(StateMachine):
    """Two value columns in one row, and a map."""

    columns = (ROW, OTHER_ROW, MAP)

    def row_of(self, value: object) -> object:
        return (MISSING, value) if isinstance(value, int) and value % 2 else (value, [1])


def parts_of(row: object) -> tuple[object, ...]:
    return row if isinstance(row, tuple) else (row,)


QUICK = settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
TestOneColumn = StateMachine.TestCase
TestOneColumn.settings = QUICK
TestTwoColumns = RowMachine.TestCase
TestTwoColumns.settings = QUICK
