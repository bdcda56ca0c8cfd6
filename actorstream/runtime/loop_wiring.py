"""Makes the members of an attempt's loops, and tells each loop what a checkpoint knew of its entrances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.checkpoints.in_flight import InFlightChannel
from actorstream.errors import RestoreError
from actorstream.graph.loops import loops_of
from actorstream.graph.nodes import Forward
from actorstream.model.ids import ChannelIndex, SubtaskId
from actorstream.runtime.loop import Loop, LoopMember, LoopPlace
from actorstream.runtime.loop_head import LoopHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from actorstream.graph.plan import Chain, Exchange, Plan
    from actorstream.runtime.deployment import TimersAtEnd
    from actorstream.runtime.event_time import Told
    from actorstream.runtime.restoring import Restored
    from actorstream.runtime.subtask import Subtask


class LoopWiring:
    """The loops of one attempt, by name."""

    def __init__(self, plan: Plan) -> None:
        """Number the entrances of each loop: the channels that lead from outside to a member."""
        self._plan = plan
        self._members = frozenset(node for members in loops_of(plan.graph).values() for node in members)
        self._entrances: dict[str, dict[tuple[SubtaskId, ChannelIndex], int]] = {}
        heads: dict[str, int] = {}
        for chain in plan.chains:
            if chain.loop is not None:
                known = self._entrances.setdefault(chain.loop, {})
                for place, _, _ in self._places(chain):
                    known[place] = len(known)
                if chain.back:
                    heads[chain.loop] = chain.parallelism
        self.loops = {name: Loop(name, heads[name], len(known)) for name, known in self._entrances.items()}

    def _places(self, chain: Chain) -> Iterator[tuple[tuple[SubtaskId, ChannelIndex], Exchange, int]]:
        for identity in chain.subtasks():
            for channel, (exchange, sender) in enumerate(self._plan.senders(chain, identity.subtask)):
                if self._plan.chain_of[exchange.sender].loop != chain.loop:
                    yield (identity, ChannelIndex(channel)), exchange, sender

    def member_class(self, chain: Chain) -> type[LoopMember]:
        """Give what the actors of a chain in a loop are."""
        return LoopHead if chain.back else LoopMember

    def entered(self, member: LoopMember, timers_at_end: TimersAtEnd) -> LoopMember:
        """Let an actor take its place in its loop, and give it."""
        chain, name = member.chain, str(member.chain.loop)
        entrances = {channel: at for (owner, channel), at in self._entrances[name].items() if owner == member.identity}
        within = chain.stateful is not None and chain.stateful.id in self._members
        waits = within and timers_at_end != "drop"
        member.enter(LoopPlace(self.loops[name], entrances, waits, self._back(chain, member.identity.subtask)))
        return member

    def _back(self, chain: Chain, subtask: int) -> list[InFlightChannel]:
        places = []
        for exchange in chain.back:
            one = isinstance(exchange.partitioning, Forward)
            senders = [subtask] if one else range(self._plan.channels_of(exchange))
            places += [InFlightChannel(exchange.name, sender, "back") for sender in senders]
        return places

    @property
    def heads(self) -> frozenset[SubtaskId]:
        """Name the heads. They are triggered as sources are: their inputs may have ended while records go round."""
        return frozenset(member.identity for loop in self.loops.values() for member in loop.heads)

    def restore(
        self,
        restored: Restored,
        told: Callable[[Chain, int, Exchange], Told | None],
        subtasks: Mapping[SubtaskId, Subtask],
    ) -> None:
        """Tell each loop how far its heads had come, and what entrances had said; put back what went round.

        Raises:
            RestoreError: What was a loop is none any more.
        """
        plan = self._plan
        for name, loop in self.loops.items():
            watermark = min(restored.time_of(head.chain, head.identity.subtask).entering for head in loop.heads)
            inputs = []
            for chain in plan.chains:
                if chain.loop == name:
                    for _, exchange, sender in self._places(chain):
                        said = told(plan.chain_of[exchange.sender], sender, exchange)
                        inputs.append((watermark, False, False) if said is None else (*said, False))
            loop.circulation.restore(watermark, inputs)
        _replay(restored, subtasks)


def _replay(restored: Restored, subtasks: Mapping[SubtaskId, Subtask]) -> None:
    """Put what went round back: it does not matter at which head, but each sender's records go to one."""
    for part in restored.in_flight:
        if not any(place.kind == "back" for place in part.channels):
            continue
        heads = [subtask for identity, subtask in subtasks.items() if identity.chain == part.chain]
        head = heads[part.subtask % len(heads)] if heads else None
        if not isinstance(head, LoopHead):
            raise RestoreError(
                f"checkpoint {restored.checkpoint} holds {len(part.items):,} batches that went round in loop "
                f"{part.chain!r}, which is no loop any more: keep it, or give these records up "
                f"(allow_dropped=[{part.chain!r}])"
            )
        head.replay(part)
