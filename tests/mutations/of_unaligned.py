"""Bugs where barriers overtake: what is recorded, what is put back, and where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.codec.ordered_keys import encode_key
from actorstream.graph.nodes import Broadcast
from actorstream.model.ids import SubtaskId
from actorstream.model.key_groups import key_group_of, owner_of
from actorstream.protocol.alignment import Alignment, Whole
from actorstream.runtime import building
from actorstream.runtime.flights import Flight, Flights
from actorstream.runtime.overtaking import Overtaking
from actorstream.runtime.source import SourceSubtask
from actorstream.state.unkeyed import BROADCAST_KEY
from actorstream.testing.session import Session
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from actorstream.model.batch import Batch
    from actorstream.model.ids import ChannelIndex

AREA = Area("unaligned")

_FULL: dict[str, Any] = {
    "alignment": 0.0,
    "dawdles": 0.02,
    "interval": 0.06,
    "timeout": 60.0,
    "pause": 0.0,
    "live": False,
    "lane_records": 100,
}
_TWO_LANES = {**_FULL, "job": "union"}


@AREA.in_jobs("what an overtaking barrier has before it in its lane is not recorded", **_FULL)
def _ahead_lost() -> Sequence[AbstractContextManager[object]]:
    async def nothing(self: Overtaking, channel: ChannelIndex) -> None:
        return

    return [patch.object(Overtaking, "record_ahead", nothing)]


@AREA.in_jobs("the rest of a batch that was broken off is not recorded", **_FULL)
def _rest_lost() -> Sequence[AbstractContextManager[object]]:
    async def nothing(self: Overtaking) -> None:
        for each in self._mailbox.front:
            each.recorded = self.checkpoint

    return [patch.object(Overtaking, "record_front", nothing)]


@AREA.in_jobs("the rest of a batch is recorded when it was broken off, and once more when it is taken", **_FULL)
def _rest_twice() -> Sequence[AbstractContextManager[object]]:
    real = Overtaking.record_front

    async def twice(self: Overtaking) -> None:
        await real(self)
        await real(self)

    return [patch.object(Overtaking, "record_front", twice)]


@AREA.in_jobs("a snapshot is whole at its first barrier", **_TWO_LANES)
def _whole_at_once() -> Sequence[AbstractContextManager[object]]:
    real = Alignment.on_overtaking_barrier

    def on_overtaking_barrier(self: Alignment, channel: ChannelIndex, checkpoint: Any) -> list[Any]:
        effects = real(self, channel, checkpoint)
        if self._recording and not any(isinstance(effect, Whole) for effect in effects):
            effects += [Whole(checkpoint), *self._release()]
        return effects

    return [patch.object(Alignment, "on_overtaking_barrier", on_overtaking_barrier)]


@AREA.in_jobs("of what was in flight to a subtask only the first item comes again", **_FULL)
def _first_only() -> Sequence[AbstractContextManager[object]]:
    real = Flights.all

    def first(self: Flights, splits: Any) -> Any:
        return iter({flight.receiver: flight for flight in reversed(list(real(self, splits)))}.values())

    return [patch.object(Flights, "all", first)]


@AREA.in_jobs("what was in flight comes again in another order", **_FULL)
def _turned_round() -> Sequence[AbstractContextManager[object]]:
    real = Flights.all

    def turned(self: Flights, splits: Any) -> Any:
        return iter(list(real(self, splits))[::-1])

    return [patch.object(Flights, "all", turned)]


_ONE_MORE = (*(Session(2 + number % 2, crash_step=260) for number in range(3)), Session(3, power=True))


@AREA.in_jobs(
    "at another parallelism some records in flight come to nobody",
    **_FULL | {"job": "keyed", "sessions": _ONE_MORE},
)
def _to_nobody() -> Sequence[AbstractContextManager[object]]:
    real = Flights._by_owner

    def by_owner(self: Flights, batch: Batch, parallelism: int) -> dict[int, Batch]:
        return {owner: each for owner, each in real(self, batch, parallelism).items() if owner != parallelism - 1}

    return [patch.object(Flights, "_by_owner", by_owner)]


@AREA.in_time("event time of a channel begins where its sender was, not where its receiver was", **_FULL)
def _ahead_of_time() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Flights, "told", lambda *_: None)]


@AREA.in_jobs("a source forgets what it had read and not worked through when it is asked for a savepoint", **_FULL)
def _not_waited_for() -> Sequence[AbstractContextManager[object]]:
    return [
        patch.object(SourceSubtask, "_waits_for_front", lambda *_: False),
        patch.object(Overtaking, "record_front", _rest_forgotten),
    ]


async def _rest_forgotten(self: Overtaking) -> None:
    self._mailbox.front.clear()


_BROADCAST = {**_FULL, "job": "without-key"}


def _overtaken_broadcasts(given: Callable[[Any, Any, int], Iterable[int]]) -> Sequence[AbstractContextManager[object]]:
    """Let barriers overtake what is broadcast; `given` says who gets a part's, of the chain and its keeper."""
    real = Flights._to_lane

    def to_lane(self: Flights, part: Any, place: Any, item: Any) -> Any:
        chain, groups = self._chains[part.chain], self._plan.graph.max_parallelism
        exchange = next((each for each in chain.inputs if each.name == place.exchange), None)
        if exchange is None or not isinstance(exchange.partitioning, Broadcast):
            return real(self, part, place, item)
        keeper = owner_of(key_group_of(encode_key(BROADCAST_KEY), groups), part.parallelism, groups)
        channel = self._plan.channel(chain, exchange, place.sender % self._plan.chain_of[exchange.sender].parallelism)
        return [Flight(SubtaskId(chain.name, subtask), channel, item) for subtask in given(part, chain, keeper)]

    return [
        patch.object(building, "in_step", lambda _: frozenset()),
        patch.object(Flights, "_to_lane", to_lane),
    ]


@AREA.in_jobs("what is broadcast is overtaken, and comes again to whom it was on its way", **_BROADCAST)
def _pairs_of_two() -> Sequence[AbstractContextManager[object]]:
    return _overtaken_broadcasts(lambda part, chain, _: {part.subtask} & set(range(chain.parallelism)))


@AREA.in_jobs("what is broadcast is overtaken, and its keeper's state and records are everybody's", **_BROADCAST)
def _one_pair() -> Sequence[AbstractContextManager[object]]:
    return _overtaken_broadcasts(lambda part, chain, keeper: range(chain.parallelism) if part.subtask == keeper else ())


@AREA.in_jobs("a barrier overtakes once it has come on one of the channels in step", **_BROADCAST)
def _one_in_step() -> Sequence[AbstractContextManager[object]]:
    real = Alignment.missing

    def missing(self: Alignment, checkpoint: Any) -> Any:
        found = real(self, checkpoint)
        return found if found == self.in_step & self._open else frozenset()

    return [patch.object(Alignment, "missing", missing)]
