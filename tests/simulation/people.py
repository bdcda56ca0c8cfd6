"""What people know of a job through all its moves: where it is, which savepoints they have, what its forks are.

place     a store, the name of a fork in it, and the savepoint that it was begun from
places    of the job itself, the one to go on with last: who is refused at one tries the one before
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.checkpoints.lease import Lease, Origin
from actorstream.checkpoints.savepoints import MANIFEST, SnapshotPlace, find_snapshot, read_snapshot
from actorstream.testing.watching import facts_that_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.checkpoints.manifest import Manifest
    from actorstream.model.world import FileSystem
    from actorstream.testing.session import BrokenPromiseError
    from tests.simulation.evolution_plans import Part


@dataclass(frozen=True)
class Place:
    """Where a job is. `store`: the folder that was given as such; `restore`: the savepoint that it was begun from."""

    store: str
    fork: str = ""
    restore: str = ""


@dataclass
class People:
    """Those who run one job, its moves and its forks. It outlives every process, as people do.

    Attributes:
        made: The savepoints that the job said it had made, as far as nobody gave them up.
        given_up: Those that somebody deleted, or let the job have.
        moved: Somebody let the job go on from a savepoint, or from two stores: it may be refused at one of them.
        ends: How every process ended that did not die.
        diary: What happened, in short, for whoever has to find out.
    """

    files: FileSystem
    root: str
    job: str
    places: list[Place] = field(default_factory=list)
    forks: dict[str, Place] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    made: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    moved: bool = False
    broken: list[BrokenPromiseError] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    diary: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with one empty store."""
        self.go_to(Place(f"{self.root}/store"))

    def folder_of(self, place: Place) -> str:
        """Give the job's folder in a place."""
        return f"{place.store}/{self.job}@{place.fork}" if place.fork else f"{place.store}/{self.job}"

    def go_to(self, place: Place) -> None:
        """Take a place for the one where the job is now."""
        if place.fork:
            self.forks[place.fork] = place
        else:
            self.places = [each for each in self.places if each.store != place.store] + [place]
        if self.folder_of(place) not in self.roots:
            self.roots.append(self.folder_of(place))

    def refused_at(self, place: Place) -> None:
        """Try another place before this one the next time, and here from its own newest checkpoint."""
        if not place.fork:
            known = [each for each in self.places if each.store == place.store]
            if self.newest(place) is not None:
                known = [replace(each, restore="") for each in known]
            self.places = known + [each for each in self.places if each.store != place.store]

    def savepoints(self) -> list[str]:
        """Give the folder of every finished savepoint of the job itself, oldest first."""
        folders = [f"{self.root}/kept", *(f"{self.folder_of(place)}/savepoints" for place in self.places)]
        found = [f"{folder}/{name}" for folder in folders if os.path.isdir(folder) for name in os.listdir(folder)]
        finished = [path for path in found if os.path.exists(f"{path}/{MANIFEST}") and path not in self.given_up]
        return sorted(finished, key=lambda path: (read_snapshot(self.files, self.place_of(path)).checkpoint, path))

    def place_of(self, path: str) -> SnapshotPlace:
        """Give where a savepoint and its layers lie."""
        return find_snapshot(self.files, path)

    def picked(self, pick: float) -> str:
        """Give one of the savepoints; "" where there is none."""
        found = self.savepoints()
        return found[round(pick * (len(found) - 1))] if found else ""

    def begin(self, part: Part, number: int) -> Place | None:
        """Give where a process goes on or begins, and with which `restore`; None if it has nothing to begin from."""
        here = self.places[-1]
        match part.begin:
            case "go on" | "take over":
                return self.as_said(here, part)
            case "fork" if self.forks and part.pick < 0.5:
                return self.as_said(self.forks[min(self.forks)], part)
        savepoint = self.picked(part.pick)
        if not savepoint:
            return None
        if part.begin == "fork":
            return Place(here.store, f"f{number}", savepoint)
        return Place(here.store if part.begin == "back" else f"{self.root}/store{number}", "", savepoint)

    def as_said(self, place: Place, part: Part) -> Place:
        """Give a place with what it was begun from, where people say that again and still have it."""
        said = part.again or not os.path.exists(f"{self.folder_of(place)}/JOB")
        there = said and os.path.exists(f"{place.restore}/{MANIFEST}") and self._is_its_own(place)
        return place if there else Place(place.store, place.fork)

    def _is_its_own(self, place: Place) -> bool:
        """Tell whether a fork's savepoint is the one that it was begun from, not a later one of the same name."""
        origin = self.origin(place) if place.fork else None
        if origin is None:
            return True
        asked = read_snapshot(self.files, self.place_of(place.restore))
        return origin == Origin(asked.job, asked.checkpoint, asked.digest)

    # ---- what a store would say

    def newest(self, place: Place) -> Manifest | None:
        """Give the newest checkpoint of a place that counts."""
        folder = self.folder_of(place)
        if not os.path.isdir(f"{folder}/checkpoints") or not os.path.isdir(f"{folder}/attempts"):
            return None
        directory = CheckpointDirectory(self.files, folder)
        facts = facts_that_count(directory)
        return directory.read(facts[-1].checkpoint) if facts else None

    def origin(self, place: Place) -> Origin | None:
        """Give what the store notes that it was begun from."""
        folder = self.folder_of(place)
        return Lease(self.files, folder)._read_note().origin if os.path.exists(f"{folder}/JOB") else None

    def goes_on_from(self, place: Place) -> tuple[str, Manifest | None, bool]:
        """Give the snapshot that a start in this place goes on from, and whether it must be refused."""
        newest, origin = self.newest(place), self.origin(place)
        path = "" if newest is None else f"{self.folder_of(place)}/checkpoints/{newest.checkpoint}"
        if not place.restore:
            return path, newest, newest is None and origin is not None
        asked = read_snapshot(self.files, self.place_of(place.restore))
        if newest is None:
            return place.restore, asked, False
        if origin == Origin(asked.job, asked.checkpoint, asked.digest):
            return path, newest, False
        return place.restore, asked, newest.checkpoint > asked.checkpoint

    def is_newest(self, path: str) -> bool:
        """Tell whether no attempt was made, and no number given, after those of a savepoint."""
        manifest = read_snapshot(self.files, self.place_of(path))
        for place in self.places:
            directory = CheckpointDirectory(self.files, self.folder_of(place))
            if not os.path.isdir(f"{self.folder_of(place)}/attempts"):
                continue
            if any(claim.attempt > manifest.attempt for claim in directory.claims()):
                return False
            if any(number > manifest.checkpoint for number in directory.checkpoint_ids()):
                return False
        return True

    def all_places(self) -> Iterator[Place]:
        """Go through the places of the job and of its forks."""
        yield from self.places
        yield from self.forks.values()
