"""Forks of a simulated job: each goes on from a savepoint beside its origin, which must not notice.

fork        while a fork runs, no file of its origin changes: no checkpoint, no savepoint, no log
readable, immutable         hold for the fork's store as for any
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from xxhash import xxh3_64_hexdigest

from actorstream.testing.session import BrokenPromiseError
from actorstream.testing.simulated_process import NOTHING
from actorstream.testing.watching import Checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorstream.testing.disk import SimulatedDisk
    from actorstream.testing.placed_pipeline import PlacedPipeline, Surroundings
    from actorstream.testing.run import Outcome
    from actorstream.testing.session import Session
    from actorstream.testing.simulated_process import Watch

_NOTED_BY_ANYBODY = (".verified", ".proved", "-lock", "LOCK")
"""Ends of the names of files that whoever reads may write: notes of what was read, and locks."""


class Forks:
    """Watches all forks of one run."""

    def __init__(self, disk: SimulatedDisk, around: Surroundings, pipeline: PlacedPipeline, watch: Watch) -> None:
        """Know of none as yet."""
        self._disk = disk
        self._around = around
        self._pipeline = pipeline
        self._watch = watch
        self._origin: Mapping[str, str] = {}
        self._checkpoints: dict[str, Checkpoints] = {}

    def before(self) -> None:
        """Remember the origin as it is before a process of a fork."""
        self._origin = dict(self._files())

    def after(self) -> None:
        """Compare it; raise BrokenPromiseError."""
        now = dict(self._files())
        for path in sorted({*now, *self._origin}):
            if now.get(path) != self._origin.get(path):
                what = "is gone" if path not in now else "was changed" if path in self._origin else "is new"
                raise BrokenPromiseError("fork", f"{path} of the origin {what} since a fork ran beside it")

    def check(self, fork: str, *, at_the_end: bool) -> None:
        """Look at what a fork has made and written; raise BrokenPromiseError."""
        if fork not in self._around.forks:
            return
        root = f"{self._around.root}/store/{self._pipeline.name}@{fork}"
        self._checkpoints.setdefault(fork, Checkpoints(self._disk, root)).check()
        rows = self._watch.shown(self._pipeline.exactly(self._disk, self._around, fork))
        if self._watch.on_fork is not None:
            self._watch.on_fork(self._disk, self._around.forks[fork], rows, at_the_end)

    def _files(self) -> Iterator[tuple[str, str]]:
        root = self._around.root
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if "@" not in name]
            for name in names:
                if not name.endswith(_NOTED_BY_ANYBODY):
                    with open(f"{folder}/{name}", "rb") as file:
                        yield f"{folder}/{name}"[len(root) :], xxh3_64_hexdigest(file.read())


def check_finished(sessions: Sequence[Session], outcomes: Sequence[Outcome[str]]) -> None:
    """The job has come to its end, and each of its forks; raise BrokenPromiseError."""
    last = {session.fork: outcome for session, outcome in zip(sessions, outcomes, strict=True)}
    for fork, outcome in last.items():
        if outcome.result != "finished" and not (fork and outcome.result == NOTHING):
            who = f"the fork {fork!r}" if fork else "the last process"
            raise BrokenPromiseError("progress", f"{who} has not finished: {outcome}")
