"""One bit of a small store or log is flipped, then it is used; and the next one, in the same process, if it lives.

    whole job    restore, a pending commit, work, checkpoints: on a copy                    50 ms
    store        documents and layers, as a restore reads them                               5 ms, or 25
    input        read everything; append; read everything                                    7 ms
    output       open a sink's writer; commit a staged file, twice; read everything         10 ms

A use ends well if what it gives is right, or if it is one of our errors; whatever it gave before that is right.
`python -m tests.faults.every_byte USE PRISTINE SCRATCH` takes damages from stdin and says what came of each.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from dataclasses import dataclass
from os.path import join
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, TypeVar

from actorstream import ActorstreamError, JobFailed
from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.errors import StoreError
from actorstream.eventlog.meta_pages import newest_meta
from actorstream.protocol.recovery import RestoreFrom, decide
from actorstream.runtime.restoring import restore
from actorstream.state.layer import LayerFile
from actorstream.state.verified import prove
from actorstream.system.files import RealFiles
from tests.faults.sums import JOB, NUMBERS, STEPS, Damage, expected, numbers_log, run, sums_in, sums_log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorstream import EventLog
    from actorstream.state.entries import Entry

T = TypeVar("T")
DEADLINE_SECONDS = 10.0
DIED = "died"
RIGHT = ""
_NOTED_EACH = 4
"""A file is noted as proved only when it was left alone for some 20 ms: not before every flip."""
_NUMBERS = (80, 128, 136)
"""Where a meta page has the root of the free pages, the root of all rows, the last page."""


class Verdict(NamedTuple):
    """How a use ended: `error` RIGHT, the name of an error, or DIED; `ours` tells whether it is one of ours."""

    error: str
    ours: bool
    message: str


class Use(Protocol):
    """What is done with the damaged files, in a folder of its own."""

    def __init__(self, pristine: str, folder: str) -> None: ...

    async def on(self, damage: Damage) -> None:
        """Do the damage and use the files: return if all was right, raise ActorstreamError if it was noticed."""
        ...


class WholeJob:
    """Start the job as a process does."""

    def __init__(self, pristine: str, folder: str) -> None:
        self._pristine = pristine
        self._folder = folder

    async def on(self, damage: Damage) -> None:
        shutil.copytree(self._pristine, self._folder)
        try:
            damage.do(self._folder)
            try:
                await run(self._folder, len(NUMBERS))
            except JobFailed as failure:
                raise failure.__cause__ or failure from None
            assert await sums_in(self._folder) == expected(NUMBERS)
        finally:
            shutil.rmtree(self._folder)


class Store:
    """Find what to restore, prove and open it, read every entry: in place, as a record of proofs is of these files."""

    def __init__(self, pristine: str, folder: str) -> None:
        self._files = RealFiles()
        self._folder = folder
        self._root = join(folder, "store", JOB)
        shutil.copytree(join(pristine, "store"), join(folder, "store"))
        manifest = CheckpointDirectory(self._files, self._root).read(max(self._directory().checkpoint_ids()))
        self._layers = {
            self._directory().layer_path(entry.name): LayerFile(entry.name, entry.size, entry.digest, entry.entries)
            for entry in manifest.layers
        }
        self._content = self._read()
        self._note()

    async def on(self, damage: Damage) -> None:
        path = join(self._folder, damage.file)
        if path in self._layers and damage.at % _NOTED_EACH == 0:
            self._note()
        was = self._files.read(path)
        damage.do(self._folder)
        try:
            assert self._read() == self._content
        finally:
            write(path, was)

    def _directory(self) -> CheckpointDirectory:
        return CheckpointDirectory(self._files, self._root)

    def _read(self) -> dict[str, list[list[Entry]]]:
        directory = self._directory()
        directory.open("0" * 32)
        match decide(directory.manifests(), directory.claims()):
            case RestoreFrom(checkpoint):
                restored = restore(self._files, directory, directory.load(checkpoint))
            case other:
                raise StoreError(str(other))
        try:
            stacks = restored.stacks.items()
            return {name: [list(layer.scan(b"")) for _, run in runs for layer in run] for name, runs in stacks}
        finally:
            restored.close()

    def _note(self) -> None:
        """Have the layers noted as proved, which they are not while they have just been changed."""
        for path in self._layers:
            while self._files.identity(path) != self._files.identity(path):
                pass
        prove(self._files, self._layers)


@dataclass
class _Sink:
    """Who commits what the prepared job has staged: the attempt after it, restored from its last checkpoint."""

    job: str
    operator: str = "sums"
    subtask: int = 0
    attempt: int = 9
    restored: int = 1_000
    holder: str = "me"


class _OfOneLog:
    """Has a fresh copy of one log for each damage."""

    log: ClassVar[str]

    def __init__(self, pristine: str, folder: str) -> None:
        self._pristine = pristine
        self._folder = folder

    async def on(self, damage: Damage) -> None:
        shutil.copytree(join(self._pristine, self.log), join(self._folder, self.log))
        try:
            damage.do(self._folder)
            async with asyncio.timeout(DEADLINE_SECONDS):
                await self.use()
        finally:
            shutil.rmtree(join(self._folder, self.log))

    async def use(self) -> None:
        raise NotImplementedError


class Input(_OfOneLog):
    """Read, append, read again: an append to a damaged log must not do more harm."""

    log = "numbers"

    async def use(self) -> None:
        async with numbers_log(self._folder) as log:
            await _read_all(log, NUMBERS)
            await log.append(7)
            await _read_all(log, [*NUMBERS, 7])


class Output(_OfOneLog):
    """Commit what is staged, which may be done twice, and read: a mark misread would lose it, or double it."""

    log = "sums"

    def __init__(self, pristine: str, folder: str) -> None:
        super().__init__(pristine, folder)
        directory = CheckpointDirectory(RealFiles(), join(pristine, "store", JOB))
        manifest = directory.read(max(directory.checkpoint_ids()))
        (pending,) = manifest.sinks
        self._sink, self._token = _Sink(manifest.job), pending.token

    async def use(self) -> None:
        async with sums_log(self._folder) as log:
            async with log.writer(self._sink) as writer:
                await writer.commit(self._token)
                await writer.commit(self._token)
            await _read_all(log, expected(NUMBERS)[: STEPS[1]])


def write(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)


USES: dict[str, type[Use]] = {"job": WholeJob, "store": Store, "input": Input, "output": Output}


async def _read_all(log: EventLog[T], wanted: list[T]) -> None:
    """Every record that comes must be the right one, also of a log whose end is damaged."""
    got: list[T] = []
    try:
        async for record in log.records(stop="now"):
            got.append(record.value)  # noqa: PERF401  (what came before an error counts)
    finally:
        assert got == wanted[: len(got)], f"{got} is no beginning of {wanted}"
    assert len(got) == len(wanted), f"{len(got)} of {len(wanted)} records"


async def judge(use: Use, damage: Damage) -> Verdict:
    try:
        await use.on(damage)
    except BaseException as error:  # noqa: BLE001  (whatever it is, it is the result)
        return Verdict(type(error).__name__, isinstance(error, ActorstreamError), str(error))
    return Verdict(RIGHT, ours=True, message="")


async def main(use: str, pristine: str, folder: str) -> None:
    tried = USES[use](pristine, join(folder, str(os.getpid())))
    for line in sys.stdin:
        print(json.dumps(await judge(tried, Damage(*json.loads(line)))), flush=True)  # noqa: T201  (the test listens)


def flips(file: str, data: bytes, of_used: int, of_unused: int) -> Iterable[Damage]:
    """Give every n-th byte of those that hold something, and of the zeros, which mostly are unused room."""
    for step, unused in ((of_used, False), (of_unused, True)):
        places = [at for at, byte in enumerate(data) if (byte == 0) is unused]
        yield from (Damage(file, "flipped", at) for at in places[::step])


def ways_to_pages(file: str, folder: str) -> list[Damage]:
    """Give every bit of an LMDB file by which LMDB finds pages to read, or to write into.

    In both meta pages the roots of the two trees and the number of the last page; and the list of free pages.
    """
    meta = newest_meta(RealFiles(), join(folder, file))
    free = meta.roots[0] * meta.page_size
    places = [page * meta.page_size + at + byte for page in (0, 1) for at in _NUMBERS for byte in (0, 1)]
    data = RealFiles().read(join(folder, file))
    places += [at for at in range(free, free + meta.page_size) if data[at]]
    return [Damage(file, "flipped", at, bit) for at in places for bit in range(8)]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
