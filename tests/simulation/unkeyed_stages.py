"""Operators with state that belongs to no key, and their models: what is broadcast, and lists that are shared out.

    a ──key──> checked        counts by key, as other stages do
    b ──all──> checked        adds up in broadcast state, by lane: so no order between lanes shows
    a ───────> keeper         keeps a note of every event in a list

Of what is broadcast one subtask tells, another one for each key, and yet others after a rescale: so every
subtask's copy shows in the output, once.
"""

from __future__ import annotations

from binascii import crc32
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actorstream.operators.keyed_process import BroadcastProcess, Process
from actorstream.operators.state_declarations import ValueState
from actorstream.operators.unkeyed_declarations import BroadcastState, OperatorListState
from tests.simulation.stages import Event, Result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.operators.contexts import BroadcastContext, Context, ElementContext, OperatorContext


class Checked(BroadcastProcess[str, Event, Event, Result]):
    """Counts by key, beside what is broadcast."""

    count: ValueState[int] = ValueState(0)
    total: ValueState[int] = ValueState(0)
    rules: BroadcastState[str, list[int]] = BroadcastState()

    async def open(self, ctx: OperatorContext, /) -> None:
        """Learn who this is."""
        self.subtask, self.parallelism = ctx.subtask, ctx.parallelism

    def on_element(self, value: Event, ctx: Context[str], /) -> list[Result]:
        """Count."""
        self.count += 1
        self.total += value.amount
        return [Result(ctx.key, value, self.count, self.total)]

    def on_broadcast(self, value: Event, ctx: BroadcastContext, /) -> list[Result]:
        """Add up in place."""
        rule = ctx.writable(self.rules).setdefault(value.lane, [0, 0])
        rule[0] += 1
        rule[1] += value.amount
        tells = crc32(value.key.encode()) % self.parallelism == self.subtask
        return [Result(value.key, value, *rule)] if tells else []


@dataclass
class CheckedModel:
    """`Checked` in plain Python; of broadcast state, what a key's lane has."""

    count: int = 0
    total: int = 0
    rules: dict[str, list[int]] = field(default_factory=dict)

    def step(self, key: str, event: Event) -> Result:
        """Take one event of either side."""
        if event.source == "b":
            rule = self.rules.setdefault(event.lane, [0, 0])
            rule[0], rule[1] = rule[0] + 1, rule[1] + event.amount
            return Result(key, event, *rule)
        self.count, self.total = self.count + 1, self.total + event.amount
        return Result(key, event, self.count, self.total)

    def states(self) -> Mapping[str, object]:
        """Give every state by its name."""
        return vars(self)


class Keeper(Process[Event, Result]):
    """Keeps a note of everything."""

    bag: OperatorListState[str] = OperatorListState()

    def on_element(self, value: Event, ctx: ElementContext, /) -> list[Result]:
        """Note it."""
        self.bag.append(f"{value.lane}#{value.seq}")
        return [Result(value.key, value, 0, 0)]


@dataclass
class KeeperModel:
    """`Keeper` in plain Python; of the lists, the notes of a key."""

    bag: list[str] = field(default_factory=list)

    def step(self, key: str, event: Event) -> Result:
        """Note it."""
        self.bag.append(f"{event.lane}#{event.seq}")
        return Result(key, event, 0, 0)

    def states(self) -> Mapping[str, object]:
        """Give every state by its name."""
        return vars(self)
