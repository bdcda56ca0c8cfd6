"""Oracles that need to know nothing of a pipeline: they hold for every job at every moment.

monotone     no clock of any actor ever goes back, nor behind what its checkpoint says
immutable    a checkpoint that was complete once, and the layers it names, never change
readable     and can be read
released     (after a cancelled block) no task is left, no lock is held
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.errors import StoreError
from actorstream.protocol.attempts import is_void
from actorstream.runtime.event_time import EventTime
from actorstream.testing.session import BrokenPromiseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorstream.checkpoints.manifest import Manifest
    from actorstream.protocol.recovery import ManifestFact
    from actorstream.testing.disk import SimulatedDisk
    from actorstream.testing.loop import SimulatedLoop

_MOVES = ("end", "on_watermark", "on_idle", "on_end", "look_around", "finish", "restore")


@contextmanager
def watermarks_watched(checks: Counter[str] | None = None) -> Iterator[list[str]]:
    """Watch every clock of every actor; give what went back. Each move counts in `checks`."""
    gone_back: list[str] = []
    checks = Counter() if checks is None else checks
    real = {name: getattr(EventTime, name) for name in _MOVES}
    for name, method in real.items():
        setattr(EventTime, name, _looked_after(name, method, gone_back, checks))
    try:
        yield gone_back
    finally:
        for name, method in real.items():
            setattr(EventTime, name, method)


def _looked_after(
    name: str, real: Callable[..., Any], gone_back: list[str], checks: Counter[str]
) -> Callable[..., None]:
    def method(self: EventTime, *given: Any) -> None:  # noqa: ANN401  (each of them has arguments of its own)
        real(self, *given)
        checks["monotone"] += 1
        seen, now = vars(self).get("_seen_by_the_simulation", ()), _clocks(self)
        if any(earlier > later for earlier, later in zip(seen, now, strict=False)):
            gone_back.append(f"after {name} the clocks show {now}, before {list(seen)}")
        vars(self)["_seen_by_the_simulation"] = now
        if name == "restore" and self.clock.now < given[0].entering:
            gone_back.append(f"a checkpoint holds {given[0]}, restored is {now}")

    return method


def _clocks(time: EventTime) -> Sequence[int]:
    return [clock.now for clock in (time.clock, time.after, *time.assigned.values())]


class Checkpoints:
    """Follows the checkpoints of one store through all processes of a run.

    Attributes:
        looked_at: How many were read back and compared, all in all.
    """

    def __init__(self, disk: SimulatedDisk, root: str) -> None:
        """Watch the job's folder `root`."""
        self._disk = disk
        self._root = root
        self._seen: dict[tuple[int, int], str] = {}
        self.looked_at = 0

    def check(self) -> list[tuple[Manifest, CheckpointDirectory]]:
        """Look at every one that counts, oldest first, and give them; raise BrokenPromiseError."""
        if not os.path.isdir(f"{self._root}/checkpoints") or not os.path.isdir(f"{self._root}/attempts"):
            return []
        directory = CheckpointDirectory(self._disk, self._root)
        try:
            return [(self._check(directory, fact), directory) for fact in facts_that_count(directory)]
        except StoreError as error:
            raise BrokenPromiseError("readable", str(error)) from error

    def _check(self, directory: CheckpointDirectory, fact: ManifestFact) -> Manifest:
        if fact.problem is not None:
            raise BrokenPromiseError("readable", f"checkpoint {fact.checkpoint}: {fact.problem}")
        manifest = directory.read(fact.checkpoint)
        known = self._seen.setdefault((manifest.attempt, manifest.checkpoint), manifest.digest)
        if known != manifest.digest:
            raise BrokenPromiseError("immutable", f"checkpoint {fact.checkpoint} is another one than before")
        if problems := directory.verify(manifest):
            raise BrokenPromiseError("immutable", f"checkpoint {fact.checkpoint}: {problems}")
        self.looked_at += 1
        return manifest


def facts_that_count(directory: CheckpointDirectory) -> list[ManifestFact]:
    """Give every manifest of a store that is not void, oldest first."""
    claims = directory.claims()
    return [
        fact
        for fact in directory.manifests()
        if fact.attempt is None or not is_void(fact.attempt, fact.checkpoint, claims)
    ]


def check_released(loop: SimulatedLoop, disk: SimulatedDisk) -> None:
    """Look at what a job that was cancelled has left; raise BrokenPromiseError."""
    left = [task.get_name() for task in loop.waiting() if task.get_name() != "main"]
    if left:
        raise BrokenPromiseError("released", f"the block was left, and these tasks are still there: {', '.join(left)}")
    if held := disk.locks_held():
        raise BrokenPromiseError("released", f"the block was left, and these locks are still held: {', '.join(held)}")
