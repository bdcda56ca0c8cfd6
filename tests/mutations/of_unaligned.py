"""Bugs where barriers overtake: what is recorded, what is put back, and where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.protocol.alignment import Alignment, Whole
from actorstream.runtime.flights import Flights
from actorstream.runtime.overtaking import Overtaking
from actorstream.runtime.source import SourceSubtask
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Sequence
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


@AREA.in_jobs("at another parallelism some records in flight come to nobody", **_FULL | {"job": "keyed"})
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
