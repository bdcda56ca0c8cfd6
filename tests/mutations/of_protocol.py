"""Bugs in the protocol of barriers: alignment, blocked lanes, acknowledgements, when a checkpoint is complete."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.model.batch import Batch
from actorstream.protocol.coordinator import Coordinator
from actorstream.runtime.assembling import ManifestWriter
from actorstream.runtime.coordinator import CoordinatorActor
from actorstream.runtime.mailbox import Lane, Mailbox
from actorstream.runtime.messages import ResumeReading, SnapshotReport
from actorstream.testing.session import Session
from tests.mutations.circumstances import act, in_turns
from tests.mutations.entering import Area
from tests.simulation.evolution_plans import Part, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

AREA = Area("protocol")

_MANY_LANES: dict[str, Any] = {
    "job": "union",
    "interval": 0.02,
    "timeout": 60.0,
    "pause": 0.004,
    "early_freezes": 0.0,
    "alignment": None,
    "dawdles": 0.0,
}


@AREA.in_jobs("a blocked channel is not blocked", **_MANY_LANES)
def _not_blocked() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Mailbox, "block", lambda self, channel: None)]


def _on_unblock(change: Callable[[Lane[Any], list[int]], None]) -> Sequence[AbstractContextManager[object]]:
    real = Mailbox.unblock

    def unblock(self: Mailbox[Any, Any], channels: Any) -> None:
        for channel in channels:
            lane = self.lanes[channel]
            change(lane, [at for at, item in enumerate(lane.items) if isinstance(item, Batch)])
        real(self, channels)

    return [patch.object(Mailbox, "unblock", unblock)]


@AREA.in_jobs("an item that waited in a blocked lane is lost", **_MANY_LANES)
def _lost() -> Sequence[AbstractContextManager[object]]:
    def lose(lane: Lane[Any], batches: list[int]) -> None:
        if batches:
            del lane.items[batches[-1]]
            del lane._costs[batches[-1]]

    return _on_unblock(lose)


@AREA.in_jobs("items that waited in a blocked lane are reordered", **_MANY_LANES)
def _reordered() -> Sequence[AbstractContextManager[object]]:
    def swap(lane: Lane[Any], batches: list[int]) -> None:
        for first, second in itertools.pairwise(batches):
            if second == first + 1:
                lane.items[first], lane.items[second] = lane.items[second], lane.items[first]
                return

    return _on_unblock(swap)


@AREA.in_jobs("acknowledgements of two checkpoints are mixed", timeout=0.03)
def _acks_mixed() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Coordinator, "_is_of", lambda self, current, checkpoint: True)]


@AREA.in_jobs("the manifest is written one acknowledgement short")
def _early_manifest() -> Sequence[AbstractContextManager[object]]:
    real = ManifestWriter.assemble

    def assemble(self: ManifestWriter, checkpoint: Any, reports: Any, **rest: Any) -> Any:
        nothing = {subtask: SnapshotReport() for subtask in self.plan.subtasks()}
        return real(self, checkpoint, nothing | dict(reports), **rest)

    def has_all(self: Coordinator[Any], current: Any) -> bool:
        return len(current.reports) >= len(self._known) - 1

    return [patch.object(Coordinator, "_has_all_acks", has_all), patch.object(ManifestWriter, "assemble", assemble)]


@AREA.in_jobs(
    "after a stop that failed nobody reads on",
    evolve=in_turns(
        Turn(Session(failing="/savepoints", power=True), (Part(acts=(act(0.1, "stop"), act(0.2, "stop"))),)),
    ),
)
def _no_resume() -> Sequence[AbstractContextManager[object]]:
    real = CoordinatorActor._tell_all

    def tell_all(self: CoordinatorActor, message: Any) -> None:
        if not isinstance(message, ResumeReading):
            real(self, message)

    return [patch.object(CoordinatorActor, "_tell_all", tell_all)]


@AREA.in_topologies("a lane that was unblocked stays blocked now and then", "progress")
def _stays_blocked() -> Sequence[AbstractContextManager[object]]:
    real = Mailbox.unblock
    calls = [0]

    def unblock(self: Mailbox[Any, Any], channels: Any) -> None:
        calls[0] += 1
        if calls[0] % 7:
            real(self, channels)

    return [patch.object(Mailbox, "unblock", unblock)]
