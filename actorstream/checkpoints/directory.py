"""A job's checkpoint store in a folder, for the one process that writes it.

    open ─> lock ─> claim ─> manifests, load ─┬─> publish ─> retire ─┐
    who?    alone?  fenced   where to go on   └──────────────────────┘  close

Two orders hold everything up. A publish links the manifest after everything it
lists is durable, and reports success after the link is. A deletion comes after a
newer manifest is durable, and removes manifests before the layers they list.
checkpoints/view.py shows the folder.
"""

from __future__ import annotations

import re
from contextlib import suppress
from os.path import join
from typing import TYPE_CHECKING

from actorstream.checkpoints.lease import Lease
from actorstream.checkpoints.manifest import Manifest, seal
from actorstream.checkpoints.put import PutUnknownError, discard, disk_errors, names_in, put_if_absent
from actorstream.checkpoints.removal import finish_removal, remove_store
from actorstream.checkpoints.retention import Holdings, Published, Retirement, choose
from actorstream.checkpoints.savepoints import (
    LAYERS,
    MANIFEST,
    SnapshotPlace,
    check_name,
    make_savepoint,
    sweep_savepoints,
)
from actorstream.checkpoints.view import COMPLETED, StoreView
from actorstream.errors import FencedError, InvariantError, StoreError
from actorstream.model.ids import AttemptNumber, CheckpointId
from actorstream.protocol.attempts import is_void

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from actorstream.checkpoints.lease import JobNote, Origin
    from actorstream.model.ids import JobId, LayerName
    from actorstream.model.world import FileSystem
    from actorstream.protocol.attempts import Claim
    from actorstream.protocol.recovery import ManifestFact

_DRAFT = re.compile(r"manifest\.json\.([1-9][0-9]*)\.draft")


class PublishUnknownError(StoreError):
    """The manifest was linked, but whether that survives a power cut is unknown.

    Fail the attempt: commit nothing, abort nothing, never use the id again. The next recovery finds out.
    """


class CheckpointDirectory(StoreView):
    """One job's store, for writing. All calls block: run them away from the event loop, one at a time."""

    def __init__(self, files: FileSystem, root: str) -> None:
        """Touch nothing yet; `root` is the job's own folder, absolute."""
        super().__init__(files, root)
        self._lease = Lease(files, root)
        self._first_attempt: AttemptNumber | None = None
        self._durable: CheckpointId | None = None
        self._known: dict[CheckpointId, Published] = {}
        self._listed_before: frozenset[LayerName] = frozenset()

    def open(self, token: str, *, origin: Origin | None = None, fork: str = "") -> JobId:
        """Make the store if it is not there, and give its job id.

        Args:
            token: Fresh random letters and digits: the id of a new job, and a name for this opener's drafts.
            origin: The savepoint from which a new store is begun: its job goes on here, under its id.
            fork: That job stays where it is; here runs another, beside it, under this name.

        Raises:
            StoreError: The disk refuses, or `JOB` is damaged or gone.
        """
        finish_removal(self._files, self._root)
        with disk_errors(self._root, "making the store"):
            for folder in (self._root, self._checkpoints, self._layers):
                self._files.make_dirs(folder)
        self._job = self._lease.open(token, origin=origin, fork=fork)
        return self._job

    @property
    def note(self) -> JobNote:
        """What is noted of the job: its id, and what the store was begun from."""
        return self._lease.note

    @property
    def holder(self) -> str:
        """Random text of whoever opened the store."""
        return self._lease.holder

    def lock(self) -> None:
        """Keep other honest processes out until `close`; `StoreInUseError` if one is there."""
        self._lease.lock()

    def claims(self) -> list[Claim]:
        """Give every attempt so far, oldest first; `StoreError` if one is damaged."""
        return self._lease.claims()

    def claim(self, proposed: Claim) -> Claim:
        """Take the next attempt, which fences every lower one. Decide what to restore only afterwards.

        Returns:
            The claim as written: its numbers may be above the proposed ones, if the store moved on meanwhile.

        Raises:
            FencedError: Somebody claimed this number, or a higher one, first.
            StoreError: The claim of a published checkpoint is missing; or the disk refuses: start again.
        """
        self._refuse_lost_claims()
        claim = self._lease.claim(proposed, self._sweep_drafts)
        self._first_attempt = self._first_attempt or claim.attempt
        return claim

    def is_of_this_run(self, fact: ManifestFact) -> bool:
        """Tell whether a manifest was published since this object's first claim, also one that may not be durable."""
        return fact.attempt is not None and self._first_attempt is not None and fact.attempt >= self._first_attempt

    def load(self, checkpoint: CheckpointId) -> Manifest:
        """Give the manifest to restore from, after making sure that a power cut cannot take it back.

        Its publisher may have died between link and sync, or been told that the sync failed; whoever
        goes on from it commits output that an older checkpoint does not know of.

        Raises:
            StoreError: As for `read`, or the disk refuses.
        """
        manifest = self.read(checkpoint)
        folder = self._folder(checkpoint)
        with disk_errors(folder, "syncing"):
            if not self._files.exists(self._path(checkpoint, COMPLETED)):
                self._sync(checkpoint)
                self._files.link(self._path(checkpoint, MANIFEST), self._path(checkpoint, COMPLETED))
                # After a failed sync the kernel may take the folder for clean: the new name makes it write again.
                self._sync(checkpoint)
        self._remember(manifest)
        return manifest

    def publish(self, manifest: Manifest) -> None:
        """Make a checkpoint complete. When this returns, it is durable: sinks may commit, old files may go.

        Raises:
            FencedError: A higher attempt exists, or has this id; nothing was published.
            PublishUnknownError: It may or may not be published; see there.
            StoreError: Nothing was published: the store was removed or replaced, a layer is missing, the disk
                refuses. The id must not be used again.
        """
        checkpoint = CheckpointId(manifest.checkpoint)
        if manifest.job != self._job or manifest.attempt != self._lease.attempt:
            raise InvariantError(
                f"checkpoint {checkpoint} is of job {manifest.job}, attempt {manifest.attempt}; this store is open "
                f"for job {self._job}, attempt {self._lease.attempt}"
            )
        data = seal(manifest)
        # The first look comes before anything is written, so that a store that was removed is not half made again.
        self._lease.check()
        folder, path = self._folder(checkpoint), self._path(checkpoint, MANIFEST)
        with disk_errors(folder, "making it"):
            self._files.make_dirs(folder)
        try:
            linked = put_if_absent(
                self._files,
                path,
                data,
                draft=f"{path}.{manifest.attempt}.draft",
                folders=(folder, self._checkpoints),
                last_look=lambda: self._last_look(manifest),
            )
        except PutUnknownError as error:
            raise PublishUnknownError(f"checkpoint {checkpoint}: {error}") from error
        except StoreError:
            # A newer attempt sweeps our draft away, a removed store takes it along: then that is the reason.
            self._lease.check()
            raise
        if not linked:
            self._raise_taken(checkpoint)
        with suppress(OSError):
            # The checkpoint is complete without this name: its failure is none of the checkpoint's.
            self._files.link(path, self._path(checkpoint, COMPLETED))
        self._remember(manifest)

    def publish_savepoint(self, manifest: Manifest, name: str) -> SnapshotPlace:
        """Make a savepoint; it is none of the job's checkpoints.

        Raises:
            FencedError: A higher attempt exists.
            StoreError: There is none of this name now, or was one before; or whether there is one is unknown.
        """
        place = SnapshotPlace(join(self._savepoints, check_name(name)), self._layers)
        self._lease.check()
        with disk_errors(self._root, "taking its number"):
            # The savepoint may be moved away: this keeps its number from being given again.
            self._files.make_dirs(self._folder(CheckpointId(manifest.checkpoint)))
        make_savepoint(self._files, place, place.folder, manifest, lambda: self._last_look(manifest))
        return SnapshotPlace(place.folder, join(place.folder, LAYERS))

    def retire(
        self,
        *,
        keep: int,
        in_use: Collection[LayerName],
        pending: Collection[LayerName] = (),
        abandoned: Collection[LayerName] = (),
    ) -> list[str]:
        """Delete what no kept checkpoint and nobody else needs; see checkpoints/retention.py.

        Args:
            keep: How many checkpoints stay.
            in_use: Every layer that a host has open.
            pending: Every layer that a checkpoint in progress, or acknowledged state, refers to.
            abandoned: Layers of this attempt that may be in no manifest: of a checkpoint that was given up.

        Returns:
            What was deleted, relative to the store.

        Raises:
            FencedError: A higher attempt exists; nothing was deleted.
            StoreError: The disk refuses; the rest goes next time.
        """
        self._lease.check()
        if self._durable is None:
            return []
        manifests = self._all_published()
        held = frozenset(in_use) | frozenset(pending)
        listed = self._listed_before | frozenset(abandoned)
        holdings = Holdings(manifests, names_in(self._files, self._layers), held, listed)
        retirement = choose(holdings, keep=keep, durable=self._durable, attempt=self._lease.attempt)
        # What a dropped manifest listed stays remembered until it is gone, also if the disk refuses now.
        self._listed_before = retirement.waiting | frozenset(retirement.layers)
        with disk_errors(self._root, "deleting old checkpoints"):
            deleted = self._carry_out(retirement)
        self._listed_before = retirement.waiting
        if retirement.checkpoints:
            self._tidy([manifest for manifest in manifests if manifest.checkpoint not in retirement.checkpoints])
        return deleted

    def remove(self) -> None:
        """Remove all of the store but its savepoints: the job has ended for good.

        Raises:
            FencedError: A higher attempt exists; nothing was removed.
            StoreError: The disk refuses: whoever opens the store next goes on.
        """
        self._lease.check()
        remove_store(self._files, self._root)

    def close(self) -> None:
        """Let go of the lock; a second call does nothing."""
        self._lease.close()

    def _carry_out(self, retirement: Retirement) -> list[str]:
        for checkpoint in retirement.checkpoints:
            # `completed` first: alone it would say that the manifest was lost.
            self._files.unlink(self._path(checkpoint, COMPLETED))
            self._files.unlink(self._path(checkpoint, MANIFEST))
            self._known.pop(checkpoint, None)
        self._remove_unpublished()
        for name in retirement.layers:
            self._files.unlink(join(self._layers, name))
        return [join("checkpoints", str(checkpoint)) for checkpoint in retirement.checkpoints] + [
            join("layers", name) for name in retirement.layers
        ]

    def _remove_unpublished(self) -> None:
        """Remove the folders of old checkpoints that have no manifest, or none any more.

        No manifest may come back after a power cut whose layers or claim are gone. So a folder is synced first, also
        one that we find without a manifest: whoever removed that may have died before its own sync.
        """
        for checkpoint in self.checkpoint_ids():
            if checkpoint < (self._durable or 0) and not self._is_published(checkpoint):
                folder = self._folder(checkpoint)
                for name in names_in(self._files, folder):
                    discard(self._files, join(folder, name))
                self._files.sync_dir(folder)
                discard(self._files, folder)

    def _tidy(self, left: Sequence[Published]) -> None:
        """Remove claims that void nothing, once every manifest says whose it is."""
        if all(manifest.layers is not None for manifest in left):
            self._lease.tidy(min(manifest.attempt for manifest in left))

    def _all_published(self) -> list[Published]:
        claims = self._lease.claims()
        found: list[Published] = []
        for checkpoint in self.checkpoint_ids():
            if checkpoint in self._known:
                found.append(self._known[checkpoint])
            elif self._is_published(checkpoint):
                found.append(self._look_up(checkpoint, claims))
        return found

    def _look_up(self, checkpoint: CheckpointId, claims: list[Claim]) -> Published:
        try:
            manifest = self.read(checkpoint)
        except StoreError:
            return Published(checkpoint, self._lease.attempt, None)
        attempt = AttemptNumber(manifest.attempt)
        names = frozenset(entry.name for entry in manifest.layers)
        published = Published(checkpoint, attempt, names, is_void(attempt, checkpoint, claims))
        self._known[checkpoint] = published
        return published

    def _remember(self, manifest: Manifest) -> None:
        checkpoint = CheckpointId(manifest.checkpoint)
        names = frozenset(entry.name for entry in manifest.layers)
        self._known[checkpoint] = Published(checkpoint, AttemptNumber(manifest.attempt), names)
        self._durable = max(checkpoint, self._durable or checkpoint)

    def _last_look(self, manifest: Manifest) -> None:
        self._lease.check()
        for entry in manifest.layers:
            problem = self._layer_problem(entry)
            if problem is not None:
                raise StoreError(f"checkpoint {manifest.checkpoint} is not published: {problem}")

    def _raise_taken(self, checkpoint: CheckpointId) -> None:
        other = self.read(checkpoint)
        if other.attempt < self._lease.attempt:
            # Void, whoever left it: only this id is lost, not the attempt.
            raise StoreError(f"checkpoint {checkpoint} was left, void, by attempt {other.attempt}: use the next id")
        raise FencedError(f"checkpoint {checkpoint} was published by attempt {other.attempt}: this one must stop")

    def _refuse_lost_claims(self) -> None:
        """See to it that no attempt's number is used again: its layers and output carry it."""
        published = [(fact.checkpoint, fact.attempt) for fact in self.manifests() if fact.attempt is not None]
        claims = self._lease.claims()
        claimed = {claim.attempt for claim in claims}
        for checkpoint, attempt in published:
            if attempt not in claimed and not is_void(attempt, checkpoint, claims):
                raise StoreError(
                    f"{join(self._root, 'attempts', str(attempt))} is missing, but checkpoint {checkpoint} is of "
                    f"attempt {attempt}: put it back from a copy, or start with an empty store"
                )

    def _sweep_drafts(self, attempt: AttemptNumber) -> CheckpointId:
        """Keep lower attempts from linking what they have drafted; give the highest id there is after that."""
        for checkpoint in self.checkpoint_ids():
            for name in names_in(self._files, self._folder(checkpoint)):
                match = _DRAFT.fullmatch(name)
                if match and int(match[1]) < attempt:
                    path = self._path(checkpoint, name)
                    with disk_errors(path, "removing a draft"):
                        self._files.unlink(path)
        made = sweep_savepoints(self._files, self._savepoints, attempt)
        taken = [CheckpointId(manifest.checkpoint) for manifest in made if manifest.job == self._job]
        return max([*self.checkpoint_ids(), *taken], default=CheckpointId(0))

    def _sync(self, checkpoint: CheckpointId) -> None:
        self._files.sync_dir(self._folder(checkpoint))
        self._files.sync_dir(self._checkpoints)
