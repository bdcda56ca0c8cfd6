"""A subtask of the machine: one state, the plain dicts that it must equal, and what is on its way to disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from actorstream.state.map_changes import MapEpoch
from actorstream.state.missing import MISSING
from actorstream.state.stack import LayerStack
from tests.state.content import group_of
from tests.state.rig import state_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.state.cold_read import ColdRead
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer, LayerFile
    from actorstream.state.operator_state import Generation, OperatorState, StateColumn
    from tests.state.content import Content

Manifest: TypeAlias = "list[tuple[KeyGroupRange, tuple[LayerFile, ...]]]"


@dataclass(eq=False)
class Flight:
    """A generation on its way to disk: what it must hold, and what was encoded of it."""

    generation: Generation
    content: Content
    parts: list[list[Entry]] = field(default_factory=list)

    def encode(self, limit: int) -> bool:
        """Encode a slice."""
        part = self.generation.encode(limit)
        assert len(part) <= limit
        self.parts.append(part)
        return True

    def encode_the_rest(self, limit: int) -> None:
        """Encode what is left, by slices."""
        while_true(lambda: not self.generation.encoded and self.encode(limit))
        assert self.generation.encode(limit) == []


@dataclass(eq=False)
class Reading:
    """A cold read, and whether its thread has ended."""

    begun: ColdRead
    over: bool = False

    def wait(self) -> None:
        """Let a thread do it, and wait for that."""
        if not self.over:
            self.over = True
            with ThreadPoolExecutor(1) as thread:
                thread.submit(self.begun.read).result()


@dataclass(eq=False)
class Subtask:
    """`model` is what the state holds, `durable` what its layers do, `held` what handlers have in hand."""

    state: OperatorState
    columns: Sequence[StateColumn]
    model: Content
    durable: Content
    manifests: list[tuple[Manifest, Content]] = field(default_factory=list)
    flights: list[Flight] = field(default_factory=list)
    reads: list[Reading] = field(default_factory=list)
    held: list[tuple[object, object]] = field(default_factory=list)

    @property
    def layers(self) -> set[Layer]:
        """The layers that the state reads."""
        return {layer for _, layers in self.state.stack.runs() for layer in layers}

    def owns(self, key: object) -> bool:
        """Tell whose a key is."""
        return group_of(key) in range(*self.state.stack.key_groups)

    def freeze(self) -> None:
        """Begin a new epoch. No handler's values outlive it: a freeze comes between two of them."""
        self.held.clear()
        dirty = any(table.dirty for table in self.state._tables)
        generation = self.state.freeze()
        assert (generation is not None) == dirty
        if generation is not None:
            self.flights.append(Flight(generation, deepcopy(self.model)))

    def take_back(self, flight: Flight) -> None:
        """Give a generation up, and all newer ones with it."""
        self.state.on_write_failed(flight.generation)
        if flight in self.flights:
            at = self.flights.index(flight)
            assert all(newer.generation.failed for newer in self.flights[at:])
            del self.flights[at:]

    def on_written(self, flight: Flight, layer: Layer | None) -> None:
        """Put a layer on the stack, unless the generation was given up before it came."""
        self.state.on_written(flight.generation, layer)
        if not flight.generation.failed:
            assert self.flights.pop(0) is flight
            self.durable = flight.content

    def evict(self, limit: int, *, all_of_it: bool) -> None:
        """Drop clean entries, once or as long as there are any."""
        while_true(lambda: self.state.evict(limit, 1 << 30) and all_of_it)

    def end_read(self, *, drop: bool) -> None:
        """Let the oldest cold read's thread end, and take what it found, or not."""
        reading = self.reads.pop(0)
        reading.wait()
        reading.begun.drop() if drop else reading.begun.settle()

    def drop_reads(self) -> None:
        """Give all cold reads up."""
        while self.reads:
            self.end_read(drop=True)

    def acknowledge(self) -> None:
        """List the layers of this moment, as a manifest does."""
        runs = [(groups, tuple(layer.file for layer in layers)) for groups, layers in self.state.stack.runs()]
        self.manifests = [*self.manifests[-2:], (runs, deepcopy(self.durable))]

    def check_durable(self, keys: Sequence[object], now: int) -> None:
        """A restore of this moment would see exactly what the barrier froze (T134, T135)."""
        stack = LayerStack(self.state.stack.runs())
        self.durable.check(state_over(stack, self.columns, stack.key_groups), keys, now)
        stack.release()

    def check_counts(self, keys: Sequence[object]) -> None:
        """What is counted is there. Clean dicts are disjoint, else one that is dropped could uncover an older entry."""
        state, statistics = self.state, self.state.statistics()
        for table in state._tables:
            clean = [entry for epoch in (table.clean, *table._aged) for entry in entries_of(epoch)]
            assert len(clean) == len(set(clean))
            for epoch in (table.live, *table.below):
                assert table._entries_in(epoch) == len(entries_of(epoch))
        assert state.live_entries == sum(len(entries_of(table.live)) for table in state._tables)
        assert all(table._iterations == 0 for table in state.maps.values())
        assert (statistics.layers, statistics.generations_waiting) == (len(self.layers), len(self.flights))
        assert min(state.weigh()) >= 0
        stored = state.stored_key()
        assert stored is MISSING or (stored in keys and self.owns(stored))

    def end(self) -> None:
        """Let go of everything, memory by slices."""
        self.drop_reads()
        while_true(lambda: self.state.dismantle(3))
        assert self.state.statistics().keys_in_memory == 0
        self.state.stack.release()


def while_true(call: Callable[[], object]) -> None:
    """Call again and again, as long as it gives something. With a bug that might be for ever."""
    for _ in range(1_000):
        if not call():
            return
    raise AssertionError("what comes by slices has no end")


def entries_of(epoch: Iterable[object]) -> list[object]:
    if isinstance(epoch, MapEpoch):
        return [(key, map_key) for key, change in epoch.items() for map_key in change.entries]
    return list(epoch)
