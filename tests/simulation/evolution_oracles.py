"""What must be true of savepoints, stores and logs, whatever a job was moved, forked, rescaled or renamed.

    whole      every savepoint that looks finished verifies to its last byte, is a consistent cut, and never changes;
               one that the job said it had made is there, until somebody gives it up
    ids        a store gives a checkpoint's number once, savepoints included
    output     of a job, over all its stores: exactly once; of a fork: what its origin would have written from there

Checkpoints, and the output of a log, are looked at as in oracles.py.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias, cast

from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.checkpoints.savepoints import MANIFEST, find_snapshot, read_snapshot, verify_snapshot
from actorstream.errors import StoreError
from actorstream.testing.session import BrokenPromiseError
from actorstream.testing.watching import facts_that_count
from tests.simulation.oracles import Cuts, Outputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorstream.checkpoints.manifest import Manifest
    from actorstream.model.ids import LayerName
    from actorstream.testing.disk import SimulatedDisk
    from tests.simulation.jobs import SimulatedJob
    from tests.simulation.oracles import Partitions
    from tests.simulation.people import People, Place
    from tests.simulation.stages import Event

    Covered: TypeAlias = Mapping[str, Sequence[Event]]


def plain(name: str) -> str:
    """Give what an operator was called at first."""
    return re.sub(r"-v\d+$", "", name)


class Histories:
    """Watches every store and log that a job and its forks have, through all turns of one run."""

    def __init__(self, disk: SimulatedDisk, job: SimulatedJob, inputs: Partitions, people: People) -> None:
        self._disk = disk
        self._job = job
        self._inputs = inputs
        self._people = people
        self._cuts = Cuts(disk, job, inputs, plain)
        self._outputs: dict[str, Outputs] = {"": self._outputs_of("", {})}
        self._digests: dict[str, str] = {}
        self._ids: dict[tuple[str, int], Manifest] = {}
        self._covered: dict[str, Covered] = {}
        self._allowed: dict[str, list[Covered]] = {}
        self._unseen: dict[str, Covered] = {}
        self._unseen_in: dict[str, Covered] = {}
        self.cuts = 0
        self.savepoints = 0

    def begins(self, place: Place, path: str, manifest: Manifest | None, *, leaf: bool) -> None:
        """Take note that a process of `place` goes on from this snapshot, with what may be dropped or without."""
        folder = self._people.folder_of(place)
        if place.fork and manifest is not None and not os.path.exists(f"{folder}/JOB"):
            self._outputs[place.fork] = self._outputs_of(place.fork, self._covers(_store_of(path), manifest, path))
        if not leaf or manifest is None:
            return
        known = {plain(name) for name in manifest.operators}
        lacking = self._job.droppable - known
        if manifest.digest in self._unseen:
            unseen = dict(self._unseen[manifest.digest])
        else:  # it is of this turn
            unseen = dict(self._unseen_in.get(_store_of(path), {}))
        if lacking:
            covered = self._covers(_store_of(path), manifest, path)
            unseen.update({name: covered[name] for name in lacking})
        self._unseen_in[folder] = unseen

    def check(self, *, at_the_end: bool = False) -> None:
        """Look at everything; raise BrokenPromiseError."""
        covered: dict[str, list[Covered]] = {fork: [] for fork in self._outputs}
        for place in self._people.all_places():
            folder = self._people.folder_of(place)
            covered.setdefault(place.fork, []).extend(self._check_store(folder))
        covered[""] += self._check_savepoints(f"{self._people.root}/kept", "")
        for path in self._people.made - self._people.given_up:
            if not os.path.exists(f"{path}/{MANIFEST}"):
                raise BrokenPromiseError("savepoint", f"{path} was made and is gone")
        for fork, outputs in self._outputs.items():
            # What a snapshot covered that has gone since may be committed as well.
            known = self._allowed.setdefault(fork, [])
            known += [each for each in covered[fork] if not any(each is other for other in known)]
            outputs.check(known, at_the_end=at_the_end and (not fork or fork in self._people.forks))

    def forget(self, path: str) -> None:
        """Take note that a savepoint was given up, and another one made under its name."""
        self._digests.pop(path, None)

    def is_beyond(self, path: str) -> bool:
        """Tell whether output was committed, or a checkpoint made, that a savepoint does not know of."""
        manifest = read_snapshot(self._disk, find_snapshot(self._disk, path))
        newest = max((each.checkpoint for (_, _), each in self._ids.items()), default=0)
        return newest > manifest.checkpoint

    # ---- stores

    def _check_store(self, folder: str) -> list[Covered]:
        """Check what is in one store; give what its newest checkpoint and its savepoints cover."""
        found: list[Covered] = []
        if os.path.isdir(f"{folder}/checkpoints") and os.path.isdir(f"{folder}/attempts"):
            directory = CheckpointDirectory(self._disk, folder)
            try:
                for fact in facts_that_count(directory):
                    if fact.problem is not None:
                        raise BrokenPromiseError("readable", f"checkpoint {fact.checkpoint}: {fact.problem}")
                    manifest = directory.read(fact.checkpoint)
                    problems = directory.verify(manifest)
                    covered = self._check_snapshot(
                        folder, f"{folder}/checkpoints/{fact.checkpoint}", manifest, problems
                    )
                    found = [covered]
            except StoreError as error:
                raise BrokenPromiseError("readable", str(error)) from error
        return found + self._check_savepoints(f"{folder}/savepoints", folder)

    def _check_savepoints(self, savepoints: str, folder: str) -> list[Covered]:
        found: list[Covered] = []
        for name in sorted(os.listdir(savepoints)) if os.path.isdir(savepoints) else ():
            path = f"{savepoints}/{name}"
            if not os.path.exists(f"{path}/{MANIFEST}"):
                continue
            try:
                place = find_snapshot(self._disk, path)
                manifest = read_snapshot(self._disk, place)
                problems = verify_snapshot(self._disk, place, manifest)
            except StoreError as error:
                raise BrokenPromiseError("savepoint", f"{path} looks finished: {error}") from error
            found.append(self._check_snapshot(folder, path, manifest, problems))
            self.savepoints += 1
        return found

    def _check_snapshot(self, folder: str, path: str, manifest: Manifest, problems: Sequence[str]) -> Covered:
        if problems:
            raise BrokenPromiseError("immutable", f"{path}: {problems}")
        if self._digests.setdefault(path, manifest.digest) != manifest.digest:
            raise BrokenPromiseError("immutable", f"{path} is another one than before")
        if folder:
            # A savepoint that is made of the final checkpoint is that checkpoint, without what was pending then.
            bare = replace(manifest, sinks=[], digest="")
            if self._ids.setdefault((folder, manifest.checkpoint), bare) != bare:
                raise BrokenPromiseError("ids", f"{path} has the number of another snapshot of its store")
        if manifest.digest not in self._unseen:
            self._unseen[manifest.digest] = self._unseen_in.get(folder, {})
        return self._covers(folder, manifest, path)

    def _covers(self, folder: str, manifest: Manifest, path: str) -> Covered:
        """Give what a snapshot covers, after a look at its state, the first time."""
        if manifest.digest not in self._covered:
            layers = f"{path}/layers" if os.path.isdir(f"{path}/layers") else f"{folder}/layers"
            directory = cast("CheckpointDirectory", _Layers(layers))
            unseen = self._unseen.get(manifest.digest, self._unseen_in.get(folder, {}))
            self._covered[manifest.digest] = self._cuts.check(manifest, directory, unseen)
            self.cuts += 1
        return self._covered[manifest.digest]

    def _outputs_of(self, fork: str, before: Covered) -> Outputs:
        suffix = f"@{fork}" if fork else ""
        folders = {sink: f"{self._disk.root}/{sink}{suffix}" for sink in self._job.outputs}
        return Outputs(self._disk, self._job, self._inputs, folders, before)


class _Layers:
    """A folder of layers, as `restore` asks for them."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def layer_path(self, name: LayerName) -> str:
        return f"{self._folder}/{name}"


def _store_of(snapshot: str) -> str:
    return os.path.dirname(os.path.dirname(snapshot))
