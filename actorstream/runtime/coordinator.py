"""The coordinator's actor: carries out what the protocol decides (protocol/coordinator.py).

messages from actors ─┐                      ┌─> Trigger, Abort, Complete into control lanes
time                 ─┴─> Coordinator ──────> ├─> publish the manifest, in a thread
publish outcome      ─┘   (sans I/O)          └─> answers, failure, the end
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from anyio import move_on_after

from actorstream.checkpoints.directory import PublishUnknownError
from actorstream.checkpoints.savepoints import delete_savepoint
from actorstream.errors import FencedError, StoreError
from actorstream.protocol import coordinator_effects as decide
from actorstream.runtime.mailbox import Wakeup
from actorstream.runtime.messages import (
    AbortCheckpoint,
    Acked,
    CheckpointRequest,
    Committed,
    CompleteCheckpoint,
    Declined,
    DrainSource,
    Finished,
    InputsEnded,
    Kept,
    ResumeReading,
    TriggerCheckpoint,
)
from actorstream.runtime.restoring import positions_in
from actorstream.system.log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from actorstream.checkpoints.directory import CheckpointDirectory
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.model.ids import CheckpointId, LayerName, SubtaskId
    from actorstream.model.world import FileSystem, Offload, World
    from actorstream.protocol.coordinator import Coordinator
    from actorstream.runtime.assembling import ManifestWriter
    from actorstream.runtime.messages import ControlMessage, CoordinatorMessage, SnapshotReport, SplitPosition
    from actorstream.runtime.retaining import ClaimedSavepoint, Retaining
    from actorstream.runtime.statistics import JobStatistics


class CheckpointsFailedError(StoreError):
    """More checkpoints failed in a row than the settings tolerate; the reason of the last one is in the message."""


class CoordinatorActor:
    """One attempt's coordinator. `run` ends when the job has finished; it raises when the attempt must.

    `last_started`: the checkpoint that began last, and when.
    """

    def __init__(  # noqa: PLR0913  (what an attempt consists of)
        self,
        *,
        world: World,
        documents: Offload,
        protocol: Coordinator[SnapshotReport],
        directory: CheckpointDirectory,
        manifests: ManifestWriter,
        tell: Mapping[SubtaskId, Callable[[ControlMessage], None]],
        answer: Callable[[int, CheckpointId | None, str | None], None],
        in_use: Callable[[], set[LayerName]],
        retaining: Retaining,
        compact: Callable[[frozenset[LayerName]], None],
        retained: int,
        statistics: JobStatistics,
        durable: bool,
        claimed: ClaimedSavepoint | None = None,
        alignment_timeout_us: int | None = None,
    ) -> None:
        """Take the protocol and everything that its effects reach; `claimed`: a savepoint to delete."""
        self._world = world
        self._documents = documents
        self._protocol = protocol
        self._directory = directory
        self._manifests = manifests
        self._tell = tell
        self._answer = answer
        self._in_use = in_use
        self._retaining = retaining
        self._compact = compact
        self._positions: dict[CheckpointId, dict[str, dict[str, SplitPosition]]] = {}
        self._retained = retained
        self._statistics = statistics
        self._durable = durable
        self._claimed = claimed
        self._alignment_timeout_us = alignment_timeout_us
        self._final: CheckpointId | None = None
        self._messages: deque[CoordinatorMessage] = deque()
        self._arrival = Wakeup()
        self._started_us: dict[CheckpointId, int] = {}
        self.last_started: tuple[int, float] = (0, 0.0)
        self._in_flight: dict[CheckpointId, set[LayerName]] = {}
        self._problem: Exception | None = None
        self.last_abort: tuple[CheckpointId, str] | None = None
        self._finished = False
        self._drained = False
        self.handed_over = False

    @property
    def is_at_rest(self) -> bool:
        """Tell whether it waits for a message, or for the time of the next checkpoint."""
        return not self._messages and self._arrival.is_waited_for

    def tell(self, message: CoordinatorMessage) -> None:
        """Take a message from an actor, or a request."""
        self._messages.append(message)
        self._arrival.wake()

    async def run(self) -> None:
        """Coordinate until the final checkpoint is complete and committed.

        Raises:
            CheckpointsFailedError: Too many checkpoints failed in a row.
            FencedError: A newer attempt has taken over.
            PublishUnknownError: A checkpoint may or may not be complete: only a recovery can tell.
        """
        await self._carry_out(self._protocol.on_start(self._now_us()))
        while not self._finished:
            if self._messages:
                await self._carry_out(self._on_message(self._messages.popleft()))
                continue
            wake_at_us = self._protocol.wake_at_us
            if wake_at_us is None:
                await self._arrival.wait()
                continue
            with move_on_after(max(0, wake_at_us - self._now_us()) / 1e6):
                await self._arrival.wait()
            if not self._messages:
                await self._carry_out(self._protocol.on_time(self._now_us()))

    def _now_us(self) -> int:
        return int(self._world.clock.monotonic() * 1e6)

    def _on_message(self, message: CoordinatorMessage) -> Iterable[decide.Effect[SnapshotReport]]:
        protocol, now = self._protocol, self._now_us()
        match message:
            case Acked(subtask, checkpoint, report):
                for part in report.all_in_flight:
                    self._in_flight.setdefault(checkpoint, set()).update(file.name for file in part.layers)
                return protocol.on_ack(now, subtask, checkpoint, report)
            case Declined(subtask, checkpoint, reason):
                return protocol.on_decline(now, subtask, checkpoint, reason)
            case Finished(subtask) | InputsEnded(subtask):
                return protocol.on_finished(now, subtask, whole=isinstance(message, Finished))
            case Committed(subtask, checkpoint):
                return protocol.on_committed(now, subtask, checkpoint)
            case Kept(problem):
                return protocol.on_kept(now, problem)
            case CheckpointRequest():
                return self._on_request(message)

    def _on_request(self, asked: CheckpointRequest) -> Iterable[decide.Effect[SnapshotReport]]:
        protocol, now, request = self._protocol, self._now_us(), asked.request
        if asked.stop:
            return protocol.on_stop(now, request, savepoint=asked.savepoint, drain=asked.drain)
        if asked.hand_over:
            return protocol.on_hand_over(now, request)
        if asked.savepoint is not None:
            return protocol.on_savepoint(now, request, asked.savepoint)
        return protocol.on_request(now, request)

    async def _carry_out(self, effects: Iterable[decide.Effect[SnapshotReport]]) -> None:
        for effect in effects:
            match effect:
                case decide.Trigger(checkpoint, subtasks, stop):
                    self._problem = None
                    started_us = self._start_of(checkpoint)
                    settled = not self._protocol.may_overtake()
                    patience_us = None if settled else self._alignment_timeout_us
                    overtakes_us = None if patience_us is None else started_us + patience_us
                    for subtask in subtasks:
                        self._tell[subtask](TriggerCheckpoint(checkpoint, stop, overtakes_us, settled))
                case decide.Abort(checkpoint, reason, latest):
                    self._started_us.pop(checkpoint, None)
                    self.last_abort = checkpoint, reason
                    self._statistics.failed_checkpoints += 1
                    log.warning("checkpoint failed", checkpoint=checkpoint, reason=reason)
                    self._tell_all(AbortCheckpoint(checkpoint, latest))
                case decide.Publish(checkpoint, reports, final):
                    await self._publish(checkpoint, reports, final=final)
                case decide.Complete(checkpoint):
                    self._tell_all(CompleteCheckpoint(checkpoint))
                    await self._retire(checkpoint)
                case decide.Answer(request, checkpoint, error):
                    self._answer(request, checkpoint, error)
                case decide.Fail(reason):
                    raise CheckpointsFailedError(
                        f"{reason}. Mend that and start again; Settings(tolerated_failures=...) says how many may"
                    ) from self._problem
                case decide.Finish():
                    self._finished = True
                case _:
                    await self._carry_out_ending(effect)

    def _start_of(self, checkpoint: CheckpointId) -> int:
        started_us = self._started_us.setdefault(checkpoint, self._now_us())
        self.last_started = checkpoint, started_us / 1e6
        return started_us

    async def _carry_out_ending(self, effect: decide.Effect[SnapshotReport]) -> None:
        match effect:
            case decide.PublishSavepoint(checkpoint, reports, name):
                await self._publish_savepoint(checkpoint, reports, name)
            case decide.Keep(checkpoint, name):
                self.tell(Kept(await self._keep(checkpoint, name)))
            case decide.Drain():
                self._drained = True
                self._tell_all(DrainSource())
            case decide.Resume():
                self._tell_all(ResumeReading())
            case _:
                self._finished = self.handed_over = True

    async def _publish_savepoint(
        self, checkpoint: CheckpointId, reports: Mapping[SubtaskId, SnapshotReport], name: str
    ) -> None:
        manifest = self._assemble(checkpoint, reports, final=False)
        problem = await self._make_savepoint(manifest, name)
        now, protocol = self._now_us(), self._protocol
        if problem is None:
            await self._carry_out(protocol.on_published(now, checkpoint))
        else:
            await self._carry_out(protocol.on_publish_failed(now, checkpoint, problem))

    async def _keep(self, checkpoint: CheckpointId, name: str) -> str | None:
        """Make a savepoint of a checkpoint whose output is committed: it need not hold the tokens. Give what failed."""
        try:
            manifest = await self._documents.run(self._directory.read, checkpoint)
        except StoreError as error:
            return str(error)
        return await self._make_savepoint(replace(manifest, sinks=[], digest=""), name)

    async def _make_savepoint(self, manifest: Manifest, name: str) -> str | None:
        try:
            place = await self._world.offload.run(self._directory.publish_savepoint, manifest, name)
        except FencedError:
            raise
        except (OSError, StoreError) as error:
            return f"{type(error).__name__}: {error}"
        try:
            await self._retaining.on_savepoint(place.folder, positions_in(manifest))
        except FencedError:
            raise
        except (OSError, StoreError) as error:
            return f"{type(error).__name__}: {error}{await self._take_back(place.folder)}"
        log.info("savepoint made", savepoint=place.folder, checkpoint=manifest.checkpoint)
        return None

    async def _take_back(self, folder: str) -> str:
        """Delete a savepoint whose records nobody would keep. Say what is left if that fails too."""
        try:
            await self._world.offload.run(delete_savepoint, self._world.files, folder)
            await self._retaining.forget(folder, self._retaining.consumers_of(folder).values())
        except FencedError:
            raise
        except (OSError, StoreError) as error:
            return f"; {folder} could not be deleted either ({error}): delete it yourself"
        return ""

    def _assemble(
        self, checkpoint: CheckpointId, reports: Mapping[SubtaskId, SnapshotReport], *, final: bool
    ) -> Manifest:
        duration_us = self._now_us() - self._started_us.pop(checkpoint)
        return self._manifests.assemble(
            checkpoint,
            reports,
            final=final,
            drained=final and self._drained,
            created_us=self._world.clock.now_us(),
            duration_us=duration_us,
        )

    def _tell_all(self, message: ControlMessage) -> None:
        for tell in self._tell.values():
            tell(message)

    async def _publish(
        self, checkpoint: CheckpointId, reports: Mapping[SubtaskId, SnapshotReport], *, final: bool
    ) -> None:
        started_us = self._started_us[checkpoint]
        manifest = self._assemble(checkpoint, reports, final=final)
        positions: dict[str, dict[str, SplitPosition]] = {}
        for subtask, report in reports.items():
            if report.positions:
                positions.setdefault(subtask.chain, {}).update(report.positions)
        self._problem = problem = await self._try_publish(manifest)
        if problem is not None:
            reason = f"{type(problem).__name__}: {problem}"
            await self._carry_out(self._protocol.on_publish_failed(self._now_us(), checkpoint, reason))
            return
        self._positions[checkpoint] = positions
        self._final = checkpoint if final else None
        statistics = self._statistics
        self.last_abort = None
        statistics.checkpoints += 1
        statistics.last_checkpoint_id = checkpoint
        statistics.last_checkpoint_seconds = (self._now_us() - started_us) / 1e6
        statistics.last_checkpoint_entries = sum(report.entries for report in reports.values())
        in_flight = [report.in_flight for report in reports.values() if report.in_flight is not None]
        statistics.last_checkpoint_in_flight_records = sum(each.records for each in in_flight)
        statistics.last_checkpoint_in_flight_bytes = sum(each.size_bytes for each in in_flight)
        log.debug("checkpoint complete", checkpoint=checkpoint, seconds=statistics.last_checkpoint_seconds)
        await self._carry_out(self._protocol.on_published(self._now_us(), checkpoint))
        if not final:
            self._compact(frozenset(entry.name for entry in manifest.layers))

    async def _try_publish(self, manifest: Manifest) -> Exception | None:
        try:
            await self._documents.run(self._directory.publish, manifest)
        except (FencedError, PublishUnknownError):
            raise
        except (OSError, StoreError) as error:
            return error
        return None

    async def _retire(self, checkpoint: CheckpointId) -> None:
        """Delete what nobody needs any more; a disk that refuses is asked again after the next checkpoint."""
        try:
            if self._durable or checkpoint != self._final:  # without a store everything goes when the job has ended
                # By now what was written together with an older one, for state, is on the stacks, and so in use.
                over = [each for each in self._in_flight if each < checkpoint]
                abandoned = frozenset(name for each in over for name in self._in_flight[each])
                await self._world.offload.run(
                    self._directory.retire, keep=self._retained, in_use=self._in_use(), abandoned=abandoned
                )
                for each in over:
                    del self._in_flight[each]
            await self._retaining.on_complete(self._positions.pop(checkpoint, {}))
            if self._claimed is not None:
                await self._world.offload.run(_delete_if_there, self._world.files, self._claimed.folder)
                await self._retaining.forget(*self._claimed)
                self._claimed = None
        except FencedError:
            raise
        except (OSError, StoreError) as error:
            log.warning("old checkpoints or records stay", reason=str(error))


def _delete_if_there(files: FileSystem, folder: str) -> None:
    """Delete a savepoint, unless that is done: where a source could not be told that it is gone, it is told again."""
    if files.exists(folder):
        delete_savepoint(files, folder)
