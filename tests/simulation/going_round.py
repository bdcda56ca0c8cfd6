"""A loop for random topologies: each event goes round a few times, and rests on its way, where barriers find it.

    events ──> hops ──> turns (by key) ──┬── left > 0 ──> back
                                         └── left = 0 ──> events again

All of a key go the same way equally often, so lanes keep their order. `Turns` remembers what it has met for the first
time: the state of a checkpoint is that of the input up to its positions, whatever goes round.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from actorstream.checkpoints.in_flight import read_part
from actorstream.model.batch import Batch
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ValueState
from actorstream.state.layer import LayerFile, open_written
from tests.simulation.stages import Event, Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actorstream.api.stream import Stream
    from actorstream.checkpoints.in_flight import InFlightPart
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.operators.contexts import Context
    from actorstream.runtime.restoring import Restored

TURNS = 3
_REST_SECONDS = 0.002


@dataclass(frozen=True)
class Hop:
    """An event on its way, with how often it has still to go round."""

    event: Event
    left: int


class Turns(KeyedProcess[str, Hop, Hop]):
    """Lets an event go round once less, and counts those that come for the first time, by lane."""

    met: ValueState[dict[str, int]] = ValueState(factory=dict)

    def on_element(self, value: Hop, ctx: Context[str], /) -> Iterator[Hop]:
        if value.left == TURNS:
            self.met[value.event.lane] = self.met.get(value.event.lane, 0) + 1
        yield Hop(value.event, value.left - 1)


@dataclass
class TurnsModel:
    """`Turns` in plain Python."""

    met: dict[str, int] = field(default_factory=dict)

    def step(self, key: str, event: Event) -> Result:
        self.met[event.lane] = self.met.get(event.lane, 0) + 1
        return Result(key, event, self.met[event.lane], 0)

    def states(self) -> Mapping[str, object]:
        return vars(self)


def going_round(events: Stream[Event]) -> Stream[Event]:
    """Let each event go round."""

    def body(hops: Stream[Hop]) -> tuple[Stream[Hop], Stream[Hop]]:
        gone = hops.key_by(lambda hop: hop.event.key).process(Turns, name="turns")
        gone.sink(_rest, name="rest")
        return gone.filter(lambda hop: hop.left > 0), gone.filter(lambda hop: hop.left == 0)

    hops = events.map(lambda event: Hop(event, TURNS)).feedback(body, name="loop")
    return hops.map(lambda hop: hop.event)


async def _rest(_: Hop) -> None:
    await anyio.sleep(_REST_SECONDS)


def rests(events: Sequence[Event]) -> list[Hop]:
    """Give what rests on its way, in the end."""
    return [Hop(event, left) for event in events for left in range(TURNS)]


def still_inside(restored: Restored) -> list[Event]:
    """Give the events that went round when a checkpoint was taken: no stage behind the loop has them."""
    return _events(restored.in_flight)


def inside_of(manifest: Manifest, layers_folder: str) -> list[Event]:
    """Give those of a savepoint."""
    found = []
    for entry in manifest.in_flight:
        files = [manifest.layers[index] for index in entry.layers]
        with ExitStack() as stack:
            layers = [
                stack.enter_context(
                    open_written(
                        f"{layers_folder}/{file.name}", LayerFile(file.name, file.size, file.digest, file.entries)
                    )
                )
                for file in files
            ]
            found.append(read_part(layers, entry.written or entry.chain, entry.subtask, entry.items))
    return _events(found)


def _events(parts: Iterable[InFlightPart]) -> list[Event]:
    return [
        hop.event
        for part in parts
        for channel, item in part.items
        if part.channels[channel].kind == "back" and isinstance(item, Batch)
        for hop in item.values
        if isinstance(hop, Hop)
    ]
