"""Histories of a state: what every table goes through, beside a plain dict model that it must equal all the time."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actorstream.codec.ordered_keys import encode_key
from actorstream.model.key_groups import key_group_of, owner_of, range_of
from actorstream.state.map_changes import MapEpoch
from actorstream.state.stack import LayerStack
from tests.state.rig import ALL, Shelf, encode_all, state_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.state.cold_read import ColdRead
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer
    from actorstream.state.operator_state import Generation, OperatorState, StateColumn

STEM = "k" * 250
KEYS = ["a", "b", "c", "d", STEM + "1"]
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
FLOW = (
    *("freeze", "freeze", "encode_some", "encode_some", "write", "write", "fail"),
    *("settle", "settle", "settle", "evict", "write_and_evict"),
)


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
    cold_reads: list[ColdRead] = field(default_factory=list)


class History(RuleBasedStateMachine):
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
        self.go_on(Random(seed), 40)

    def go_on(self, random: Random, steps: int) -> None:
        for _ in range(steps):
            step = getattr(self, random.choice((*FLOW, *self.ways)))
            step(**{name: ARGUMENTS[name](random) for name in signature(step).parameters})
            self.state_is_the_model()
            self.clean_dicts_are_disjoint()

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

    @rule(index=INDEX, limit=st.integers(1, 4))
    def settle(self, index: int, limit: int) -> None:
        self.at(index).state.settle(limit)

    @rule(index=INDEX, limit=st.integers(1, 4))
    def evict(self, index: int, limit: int) -> None:
        """A memory budget may drop clean entries at any time."""
        self.at(index).state.evict((limit + 1) // 2, 1 << 30)

    @rule(index=INDEX, keep=st.integers(0, 1))
    def write_and_evict(self, index: int, keep: int) -> None:
        """Make a long story short: from here on nearly all is in layers only."""
        subtask = self.at(index)
        self.freeze(index)
        while subtask.flights[keep:]:
            self.write(index)
        while subtask.state.statistics().keys_in_memory > 2 * keep and subtask.state.evict(1, 1 << 30):
            pass

    @rule(parallelism=st.integers(1, 2))
    def crash_and_rescale(self, parallelism: int) -> None:
        runs = [run for subtask in self.subtasks for run in subtask.state.stack.runs()]
        old, content = self.subtasks, Content()
        for subtask in old:
            content.rows |= subtask.durable.rows
            content.maps |= subtask.durable.maps
        self.open(runs, parallelism, content)
        for subtask in old:
            for begun in subtask.cold_reads:
                begun.drop()
            subtask.state.stack.release()

    @invariant()
    def clean_dicts_are_disjoint(self) -> None:
        """Else an entry that was dropped could uncover an older one."""
        for subtask in self.subtasks:
            for table in subtask.state._tables:
                epochs = [table.clean, *table._aged]
                entries = [entry for epoch in epochs for entry in entries_of(epoch)]
                assert len(entries) == len(set(entries))
                assert sum(map(table._entries_in, epochs)) == len(entries)

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
            for begun in subtask.cold_reads:
                begun.drop()
            while subtask.state.evict(3, 1 << 30):
                pass
            assert subtask.state.statistics().keys_in_memory == 0
            subtask.state.stack.release()
        rmtree(self.shelf.folder)


def entries_of(epoch: dict[object, object]) -> list[object]:
    if isinstance(epoch, MapEpoch):
        return [(key, map_key) for key, change in epoch.items() for map_key in change.entries]
    return list(epoch)
