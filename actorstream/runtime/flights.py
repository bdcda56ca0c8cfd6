"""Where records in flight go when their checkpoint is restored: to whom they were sent, before anything new.

    part of views 0, lane views:0 from 1     as it was       front of views 0, channel of sender 1: all of it
                                             2 became 3      by key group: views 0, 1 or 2, without watermarks
    part of source 1, split "orders/4"                       front of whoever reads that split now

A subtask takes everything in its front before any lane (mailbox.py), so a record that comes again cannot be passed by
a later one of the same key, whatever channels the two go by now. A checkpoint that is taken meanwhile records what is
left of the front once more (T18).

Where a channel's sender or receiver has another parallelism, what it said of event time is not said of the channel
that there is now: its watermarks are left out, and time waits until the senders of now have spoken (T121). One that is
as it was may have nothing more to say: what it had told comes behind all that was on its way.

An exchange that this plan would not have, because a key joins its only sender's actor, is kept for this attempt:
`plan_for`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actorstream.checkpoints.in_flight import InFlightChannel
from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import RestoreError
from actorstream.graph.chaining import plan_graph
from actorstream.graph.loops import loops_of
from actorstream.graph.nodes import Broadcast, Keyed, PartitionBy, ProcessSpec, awaits
from actorstream.model.batch import Batch
from actorstream.model.ids import ChannelIndex, SubtaskId
from actorstream.model.key_groups import key_group_of, owner_of
from actorstream.model.signals import Idle, Watermark
from actorstream.operators.routing import Chooser
from actorstream.runtime.call_items import Kept
from actorstream.runtime.event_time import Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from actorstream.checkpoints.in_flight import Carried, InFlightPart
    from actorstream.graph.plan import Chain, Exchange, Plan
    from actorstream.runtime.job_settings import JobSettings


class Flight(NamedTuple):
    """One item on its way to a subtask."""

    receiver: SubtaskId
    channel: ChannelIndex
    item: Carried


def overtaken(parts: Iterable[InFlightPart]) -> list[InFlightPart]:
    """Give the parts that barriers had overtaken; the others went round in loops (loop_wiring.py)."""
    return [part for part in parts if any(place.kind != "back" for place in part.channels)]


def plan_for(plan: Plan, parts: Sequence[InFlightPart], in_doubt: frozenset[str]) -> Plan:
    """Give a plan in which every chain that something is on its way to begins at the same operator.

    Raises:
        RestoreError: A name may mean another operator than in the checkpoint, or is of one in a loop now (T122).
    """
    names = {part.chain for part in overtaken(parts)}
    doubtful = sorted(names & in_doubt)
    if doubtful:
        raise RestoreError(
            f"the checkpoint holds records in flight to {doubtful[0]!r}, a name that we made up, and the pipeline has "
            "changed: give the operator a name (name=...) before you change the pipeline, or start from a savepoint, "
            "which holds no records in flight"
        )
    _refuse_in_loops(plan, names)
    if names <= {chain.name for chain in plan.chains}:
        return plan
    return plan_graph(
        plan.graph,
        parallelism=plan.parallelism,
        has_store=False,
        of_operators=plan.of_operators,
        apart=frozenset(names),  # also those that begin one already: in a chain freed of state they would be taken in
    )


def _refuse_in_loops(plan: Plan, names: AbstractSet[str]) -> None:
    """A loop counts what is in it, by what comes through its lanes; these records would come in before them."""
    nodes = {node.id: node.name for node in plan.graph.nodes}
    for head, members in loops_of(plan.graph).items():
        for name in sorted(names & {nodes[member] for member in members}):
            raise RestoreError(
                f"the checkpoint holds records in flight to {name!r}, which is in loop {nodes[head]!r} now: restore it "
                "with the pipeline as it was, make a savepoint (job.savepoint), which holds none, and start the "
                "changed pipeline from that"
            )


def moved(processes: dict[SubtaskId, object], before: Plan, plan: Plan) -> dict[SubtaskId, object]:
    """Give the processes by the actors of another plan, in which their chains may have other names."""
    if plan is before:
        return processes
    chains = {chain.stateful.name: chain.name for chain in before.chains if chain.stateful is not None}
    return {
        identity: processes[SubtaskId(chains[chain.stateful.name], identity.subtask)]
        for chain in plan.chains
        if chain.stateful is not None and isinstance(chain.stateful.spec, ProcessSpec)
        for identity in chain.subtasks()
    }


def alignment_timeout_of(plan: Plan, settings: JobSettings) -> int | None:
    """Give after how many microseconds barriers may overtake; None: never, as in a pipeline with a loop."""
    return None if any(chain.loop is not None for chain in plan.chains) else settings.alignment_timeout_us


def may_overtake(exchange: Exchange) -> bool:
    """Tell whether barriers may overtake on an exchange: not where all subtasks get the same.

    A snapshot has to hold the same of that in all of them: what it did to state of no key, to that of every key, and
    what came of it, must fit together at any parallelism (docs/design/checkpoints.md).
    """
    return not isinstance(exchange.partitioning, Broadcast)


def in_step(senders: Sequence[tuple[Exchange, int]]) -> frozenset[ChannelIndex]:
    """Give the channels of an actor on which no barrier overtakes."""
    return frozenset(ChannelIndex(index) for index, (exchange, _) in enumerate(senders) if not may_overtake(exchange))


def places_of(plan: Plan, senders: Sequence[tuple[Exchange, int]], splits: Sequence[str]) -> list[InFlightChannel]:
    """Say what each channel of an actor is called in a checkpoint; `splits` are those of a source."""
    if splits:
        return [InFlightChannel(split, 0, "split") for split in splits]
    return [
        InFlightChannel(exchange.name, sender, "lane", of=plan.chain_of[exchange.sender].parallelism)
        for exchange, sender in senders
    ]


class Flights:
    """What is on its way in one attempt."""

    def __init__(self, plan: Plan, parts: Sequence[InFlightPart]) -> None:
        """Take what was restored; parts of back edges are not looked at."""
        self._plan = plan
        self._chains = {chain.name: chain for chain in plan.chains}
        self._parts = {(part.chain, part.subtask): part for part in overtaken(parts)}

    def told(self, chain: Chain, subtask: int, exchange: Exchange, sender: int) -> Told | None:
        """Give how far event time had come in a channel, where that is behind what its sender had told.

        Where the chain had another parallelism, that is where any of its subtasks was.
        """
        if not may_overtake(exchange):
            return None  # all of it had been taken
        places = [
            place
            for part in self._parts.values()
            if part.chain == chain.name and (part.parallelism != chain.parallelism or part.subtask == subtask)
            for place in part.channels
            if (place.kind, place.exchange, place.sender) == ("lane", exchange.name, sender)
            and self._is_as_it_was(place, exchange)
        ]
        if not places:
            return None
        return Told(min(place.watermark for place in places), all(place.idle for place in places))

    def catching_up(self, told: Callable[[Chain, int, Exchange], Told | None]) -> Iterator[Flight]:
        """Give what comes behind all that is on its way to a chain of another parallelism: what senders had told."""
        had = {part.chain: part.parallelism for part in self._parts.values()}
        for name, parallelism in had.items():
            chain = self._chains[name]
            if parallelism == chain.parallelism or not chain.needs_timestamps:
                continue
            for identity in chain.subtasks():
                for index, (exchange, sender) in enumerate(self._plan.senders(chain, identity.subtask)):
                    behind = self.told(chain, identity.subtask, exchange, sender)
                    said = None if behind is None else told(self._plan.chain_of[exchange.sender], sender, exchange)
                    if said is not None:
                        yield Flight(identity, ChannelIndex(index), Watermark(said.watermark))
                        if said.idle:
                            yield Flight(identity, ChannelIndex(index), Idle())

    def all(self, splits: Mapping[SubtaskId, Sequence[str]]) -> Iterator[Flight]:
        """Give all that is on its way, of each channel in order; `splits` are those that each source reads.

        Raises:
            RestoreError: There is no such way any more.
        """
        readers = {
            (identity.chain, split): (identity, ChannelIndex(index))
            for identity, names in splits.items()
            for index, split in enumerate(names)
        }
        for part in self._parts.values():
            is_awaited = awaits(self._chains[part.chain].head.spec)
            for index, each in part.items:
                place, item = part.channels[index], each if is_awaited else _as_sent(each)
                if place.kind == "split":
                    yield from self._to_split(part, place, item, readers)
                elif place.kind == "lane":
                    yield from self._to_lane(part, place, item)

    def _to_split(
        self,
        part: InFlightPart,
        place: InFlightChannel,
        item: Carried,
        readers: Mapping[tuple[str, str], tuple[SubtaskId, ChannelIndex]],
    ) -> Iterable[Flight]:
        reader = readers.get((part.chain, place.exchange))
        if reader is None:
            raise RestoreError(
                f"the checkpoint holds records that source {part.chain!r} had taken from split {place.exchange!r}, "
                "which is not there any more: start from a savepoint, which holds no records in flight"
            )
        return [Flight(*reader, item)]

    def _to_lane(self, part: InFlightPart, place: InFlightChannel, item: Carried) -> Iterable[Flight]:
        chain = self._chains[part.chain]
        exchange = next((each for each in chain.inputs if each.name == place.exchange), None)
        if exchange is None or isinstance(exchange.partitioning, Broadcast):
            raise RestoreError(
                f"the checkpoint holds records in flight on {place.exchange!r}, and operator {part.chain!r} has no "
                f"such input any more (it has {[each.name for each in chain.inputs]}): restore it with the pipeline as "
                "it was, make a savepoint (job.savepoint), which holds none, and start the changed pipeline from that"
            )
        senders = self._plan.chain_of[exchange.sender].parallelism
        if part.parallelism == chain.parallelism and self._is_as_it_was(place, exchange):
            channel = self._plan.channel(chain, exchange, place.sender)
            return [Flight(SubtaskId(chain.name, part.subtask), channel, item)]
        if not isinstance(item, Batch):
            return []
        batch = _without_time(item)
        channel = self._plan.channel(chain, exchange, place.sender % senders)
        if isinstance(exchange.partitioning, Keyed):
            by_owner = self._by_owner(batch, chain.parallelism)
            return [Flight(SubtaskId(chain.name, owner), channel, each) for owner, each in by_owner.items()]
        if isinstance(exchange.partitioning, PartitionBy) and chain.parallelism > 1:
            chosen = _as_chosen(batch, Chooser(exchange.partitioning.fn, chain.parallelism))
            return [Flight(SubtaskId(chain.name, owner), channel, each) for owner, each in chosen.items()]
        return [Flight(SubtaskId(chain.name, part.subtask % chain.parallelism), channel, batch)]

    def _is_as_it_was(self, place: InFlightChannel, exchange: Exchange) -> bool:
        return place.of == self._plan.chain_of[exchange.sender].parallelism

    def _by_owner(self, batch: Batch, parallelism: int) -> dict[int, Batch]:
        """Send each record where its key group is now."""
        keys = batch.keys
        if keys is None:
            raise RestoreError("the checkpoint holds records in flight on a keyed exchange that have no keys")
        groups = self._plan.graph.max_parallelism
        places: dict[int, list[int]] = {}
        for place, key in enumerate(keys):
            owner = owner_of(key_group_of(encode_key(key), groups), parallelism, groups)
            places.setdefault(owner, []).append(place)
        return {owner: _of(batch, keys, chosen) for owner, chosen in places.items()}


def _as_chosen(batch: Batch, chooser: Chooser) -> dict[int, Batch]:
    """Ask the user's function anew: there are other subtasks now."""
    places: dict[int, list[int]] = {}
    for place, value in enumerate(batch.values):
        places.setdefault(chooser.choose(value), []).append(place)
    return {owner: _of(batch, None, chosen) for owner, chosen in places.items()}


def _of(batch: Batch, keys: list[object] | None, chosen: list[int]) -> Batch:
    values, stamps = batch.values, batch.timestamps
    return Batch(
        [values[place] for place in chosen],
        None if stamps is None else [stamps[place] for place in chosen],
        None if keys is None else [keys[place] for place in chosen],
        batch.origin,
    )


def _as_sent(item: Carried) -> Carried:
    """Give the records of a batch, without what had come of them when they were awaited: nobody awaits them now."""
    if isinstance(item, Batch) and any(value.__class__ is Kept for value in item.values):
        values = [value.value if isinstance(value, Kept) else value for value in item.values]
        return Batch(values, item.timestamps, item.keys, item.origin, item.marks, item.watermark)
    return item


def _without_time(batch: Batch) -> Batch:
    return Batch(batch.values, batch.timestamps, batch.keys, batch.origin)
