"""A savepoint is there as a whole or not at all: every call on the disk failed, and cut by a crash or loss of power."""

from __future__ import annotations

import errno
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from actorstream import StoreError
from actorstream.checkpoints.put import PutUnknownError
from actorstream.evolve import open_snapshot, write_savepoint
from actorstream.system.current import current_world, use_world
from actorstream.testing.disk import SimulatedDisk, temporary_disk
from actorstream.testing.faults import InterceptedFiles
from actorstream.testing.loop import SimulatedCrash
from tests.evolve.jobs import contents, two_operators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from actorstream.model.world import FileSystem, World
    from actorstream.testing.faults import CallKind

ROWS = 300


def on(files: FileSystem) -> AbstractContextManager[World]:
    return use_world(replace(current_world(), files=files))


def write_base(disk: SimulatedDisk) -> None:
    """Two operators' worth: what is rewritten, and what is linked."""
    with write_savepoint(two_operators(Path(disk.root)), f"{disk.root}/base") as writer:
        writer.put("visits", "count", ((f"user-{at}", at) for at in range(ROWS)))
        writer.put("others", "count", ((f"user-{at}", at) for at in range(ROWS)))


class Change(NamedTuple):
    """What is written in the place of the base."""

    name: str
    more: int
    linked: bool

    def write(self, disk: SimulatedDisk) -> None:
        """Link or copy; transform with a sort in files; finish."""
        base, path = f"{disk.root}/base", f"{disk.root}/kept/next"
        files = current_world().files
        with (
            on(files if self.linked else OtherDisk(files)),
            write_savepoint(two_operators(Path(disk.root)), path, base=base, sorted_at_once=20_000) as writer,
        ):
            if self.more:
                writer.transform("visits", "count", lambda user, count: (user, count + self.more))

    def check(self, disk: SimulatedDisk) -> None:
        """All of it is there."""
        with open_snapshot(f"{disk.root}/kept/next") as snapshot:
            found = dict(snapshot.state("visits", "count").items())
            assert found == {f"user-{at}": at + self.more for at in range(ROWS)}
            assert dict(snapshot.state("others", "count").items()) == {f"user-{at}": at for at in range(ROWS)}


class OtherDisk(InterceptedFiles):
    """No layer of another disk can be linked."""

    def _before(self, kind: CallKind, path: str, half: Callable[[], None] | None = None) -> None:
        if kind == "link" and path.endswith(".lmdb"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)


CHANGES = [
    Change("transformed", 1, linked=True),
    Change("as it is", 0, linked=True),
    Change("copied", 0, linked=False),
]
every_change = pytest.mark.parametrize("change", CHANGES, ids=[change.name for change in CHANGES])


def check_base(disk: SimulatedDisk) -> None:
    with open_snapshot(f"{disk.root}/base") as snapshot:
        for operator in ("visits", "others"):
            assert dict(snapshot.state(operator, "count").items()) == {f"user-{at}": at for at in range(ROWS)}


def disks() -> Iterator[SimulatedDisk]:
    """Give disk after disk with a base on it."""
    while True:
        with temporary_disk() as disk:
            with on(disk.attach()):
                write_base(disk)
            yield disk


@pytest.mark.parametrize("power", [False, True], ids=["kill -9", "power cut"])
@every_change
def test_a_crash_at_every_call_leaves_the_whole_savepoint_or_none_and_the_base_as_it_was(
    change: Change, *, power: bool
) -> None:
    """What is left of an unfinished one is no savepoint, is said to be none, and is swept by the next try."""
    finished = unfinished = 0
    for number, disk in enumerate(disks(), 1):
        try:
            with on(disk.attach(crash_at=number)):
                change.write(disk)
            break
        except SimulatedCrash:
            pass
        if power:
            disk.power_cut(random.Random(number))
        else:
            disk.kill()
        with on(disk.attach()):
            check_base(disk)
            if Path(disk.root, "kept", "next", "manifest.json").exists():
                finished += 1
                change.check(disk)
            else:
                unfinished += 1
                with pytest.raises(StoreError, match=r"was not finished|is missing|holds no job"):
                    change.check(disk)
                change.write(disk)
                change.check(disk)
            assert not list(Path(disk.root, "kept", "next").glob("sorting/*"))
    assert unfinished > 12
    assert finished > 0


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@every_change
def test_an_error_of_every_call_is_a_store_error_that_leaves_nothing_or_the_whole(change: Change, code: int) -> None:
    failed = passed = 0  # failed with the place named
    for number, disk in enumerate(disks(), 1):
        files = disk.attach(fail_at={number: code})
        place, unknown = Path(disk.root, "kept", "next"), False
        with on(files):
            try:
                change.write(disk)
                passed += 1
            except StoreError as error:
                failed += str(disk.root) in str(error)
                unknown = isinstance(error, PutUnknownError)
        assert failed + passed == number
        if files.operations < number:
            break
        with on(disk.attach()):
            check_base(disk)
            if not (place / "manifest.json").exists():
                # Where the error leaves open whether the manifest is there, nothing that it lists may go.
                assert unknown or list(contents(place)) == []
                change.write(disk)
            change.check(disk)
    assert failed > 10
    assert passed > 0


def test_what_cannot_be_written_for_want_of_room_names_the_file_and_the_remedy() -> None:
    change = CHANGES[0]
    for disk in disks():
        with (
            on(disk.attach(fail_at=dict.fromkeys(range(8, 500), errno.ENOSPC))),
            pytest.raises(StoreError, match=r"kept/next.*full"),
        ):
            change.write(disk)
        assert os.path.exists(f"{disk.root}/base/manifest.json")
        break
