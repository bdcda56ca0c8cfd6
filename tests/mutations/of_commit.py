"""Bugs in the two phases of sinks: what is staged, what is committed, when, and by whom."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.protocol.commit import SinkCommits
from actorstream.protocol.coordinator import Coordinator
from actorstream.protocol.coordinator_effects import Complete
from actorstream.runtime.messages import AbortCheckpoint
from actorstream.runtime.sinks import SinkPort
from actorstream.runtime.subtask import Subtask
from actorstream.testing import faults
from actorstream.testing.session import Session
from tests.mutations.circumstances import SAVED_AND_DEAD, in_turns, unsynced
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from actorstream.model.ids import CheckpointId

AREA = Area("commit")


@AREA.in_jobs("output is committed at the barrier")
def _early_commit() -> Sequence[AbstractContextManager[object]]:
    real = SinkPort.pre_commit

    async def pre_commit(self: SinkPort, checkpoint: Any) -> None:
        await real(self, checkpoint)
        await self.complete(checkpoint)

    return [patch.object(SinkPort, "pre_commit", pre_commit)]


@AREA.in_jobs("pending commits are dropped at recovery (T101)")
def _dropped_commit() -> Sequence[AbstractContextManager[object]]:
    real = SinkPort.restore

    async def restore(self: SinkPort, pending: Any) -> None:
        await real(self, ())

    return [patch.object(SinkPort, "restore", restore)]


@AREA.in_jobs("what an aborted checkpoint pre-committed is dropped (T104)", timeout=0.03)
def _aborted_dropped() -> Sequence[AbstractContextManager[object]]:
    real = Subtask._on_control

    async def on_control(self: Subtask, message: Any) -> None:
        if isinstance(message, AbortCheckpoint):
            for port in self.runner.ports.values():
                waiting = port._commits._waiting
                port._commits._waiting = deque(each for each in waiting if each.checkpoint != message.checkpoint)
        await real(self, message)

    return [patch.object(Subtask, "_on_control", on_control)]


@AREA.in_jobs("staged output is not synced")
def _staged_not_synced() -> Sequence[AbstractContextManager[object]]:
    real = faults._InterceptedFile.sync

    def sync(self: faults._InterceptedFile) -> None:
        if "/staged/" not in self._before.keywords["path"]:  # type: ignore[attr-defined]
            real(self)

    return [patch.object(faults._InterceptedFile, "sync", sync)]


@AREA.in_jobs("the folder of staged output is not synced")
def _staged_folder_not_synced() -> Sequence[AbstractContextManager[object]]:
    return [unsynced("sync_dir", lambda path: path.endswith("/staged"))]


_LONG = {"interval": 0.02, "pause": 0.05}


_BETWEEN = {"sessions": (*(Session(2, crash_step=step) for step in (400, 330, 300, 360)), Session(2)), **_LONG}


@AREA.in_topologies(
    "what is restored is not committed, but written anew",
    "complete",
    _BETWEEN,
    tail="none",
)
def _no_recommit() -> Sequence[AbstractContextManager[object]]:
    def on_restored(self: SinkCommits, pending: Any) -> Sequence[object]:
        return []

    return [patch.object(SinkCommits, "on_restored", on_restored)]


_RESTARTS = {"sessions": (Session(2, kills=((300, 3), (500, 3))), Session(2)), "pause": 0.1}


@AREA.in_topologies("an attempt that was replaced commits all the same", "fenced", _RESTARTS, tail="table")
def _not_fenced() -> Sequence[AbstractContextManager[object]]:
    """As where a dead attempt's actors are not waited for: its ports go on beside the next one's."""
    real = SinkPort.complete
    old: dict[tuple[str, int], SinkPort] = {}

    async def complete(self: SinkPort, checkpoint: Any) -> None:
        before = old.setdefault((self.context.operator, self.context.subtask), self)
        if before is not self and before.context.attempt < self.context.attempt:
            await before._writer.commit(b"of the one before")
        await real(self, checkpoint)

    return [patch.object(SinkPort, "complete", complete)]


@AREA.in_jobs("a savepoint's completion commits", evolve=in_turns(SAVED_AND_DEAD, interval=None))
def _completes() -> Sequence[AbstractContextManager[object]]:
    real = Coordinator.on_published

    def on_published(self: Coordinator[Any], now_us: int, checkpoint: CheckpointId) -> list[Any]:
        current = self._publishing(checkpoint)
        effects = real(self, now_us, checkpoint)
        return [Complete(checkpoint), *effects] if current is not None and current.savepoint is not None else effects

    return [patch.object(Coordinator, "on_published", on_published)]
