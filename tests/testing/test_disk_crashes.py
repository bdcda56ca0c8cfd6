"""What the crash of a process leaves of the simulated disk: half a write, free locks, and no way to reach it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from actorstream.testing.disk import SimulatedDisk
from actorstream.testing.loop import SimulatedCrash
from tests.testing.cutting import folders_for_cuts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Folders for the disks of one test."""
    with folders_for_cuts() as folder:
        yield folder


def test_crash_takes_the_place_of_its_operation(tmp_path: Path) -> None:
    """Reads do not count: a crash before a read leaves the same disk as one after it."""
    disk = SimulatedDisk(tmp_path / "0")
    files = disk.attach(crash_at=3)
    file = files.create(f"{disk.root}/a")
    file.write(b"data")
    assert files.read(f"{disk.root}/a") == b"data"

    with pytest.raises(SimulatedCrash, match=r"operation 3, sync of .*/a"):
        file.sync()
    assert files.operations == 3


def test_crash_in_a_write_leaves_half_of_it(tmp_path: Path) -> None:
    """A killed process may have got a part of its bytes out."""
    disk = SimulatedDisk(tmp_path / "0")
    file = disk.attach(crash_at=2).create(f"{disk.root}/a")
    with pytest.raises(SimulatedCrash):
        file.write(b"data")

    assert disk.read(f"{disk.root}/a") == b"da"


def test_crash_between_mkdir_and_its_sync_is_reached(tmp_path: Path) -> None:
    """make_dirs is several changes, and each is a place to die."""
    disk = SimulatedDisk(tmp_path / "0")
    files = disk.attach(crash_at=2)
    with pytest.raises(SimulatedCrash, match="sync_dir"):
        files.make_dirs(f"{disk.root}/a")

    assert disk.exists(f"{disk.root}/a")


def test_a_dead_process_cannot_reach_the_disk(tmp_path: Path) -> None:
    """Its `finally` blocks run late: they must not delete what its successor has written."""
    disk = SimulatedDisk(tmp_path / "0")
    old = disk.attach()
    file = old.create(f"{disk.root}/a")
    lock = old.lock(f"{disk.root}/LOCK")
    assert lock is not None
    disk.kill()
    new = disk.attach()
    assert new.lock(f"{disk.root}/LOCK") is not None

    calls: list[Callable[[], object]] = [
        lambda: file.write(b"late"),
        lambda: old.unlink(f"{disk.root}/a"),
        lambda: old.read(f"{disk.root}/a"),
        lambda: old.exists(f"{disk.root}/a"),
        lambda: old.synced(f"{disk.root}/a"),
        lambda: old.make_dirs(f"{disk.root}/b"),
        file.sync,
    ]
    for call in calls:
        with pytest.raises(SimulatedCrash, match="dead"):
            call()
    file.close()
    lock.release()
    assert disk.read(f"{disk.root}/a") == b""
    assert disk.attach().lock(f"{disk.root}/LOCK") is None, (
        "releasing a dead process's lock must not free the new one's"
    )


def test_a_lock_excludes_a_second_holder_until_released(tmp_path: Path) -> None:
    """Two live processes on one disk: the zombie scenario needs both."""
    disk = SimulatedDisk(tmp_path / "0")
    first, second = disk.attach(), disk.attach()
    lock = first.lock(f"{disk.root}/LOCK")
    assert lock is not None
    assert second.lock(f"{disk.root}/LOCK") is None
    lock.release()
    again = second.lock(f"{disk.root}/LOCK")
    assert again is not None
    lock.release()
    assert first.lock(f"{disk.root}/LOCK") is None


def test_a_crash_frees_locks_and_file_descriptors(tmp_path: Path) -> None:
    """A sweep of thousands of crashes in one real process must not run out of either."""
    disk = SimulatedDisk(tmp_path / "0")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        files = disk.attach(crash_at=3)
        assert files.lock(f"{disk.root}/LOCK") is not None
        files.create(f"{disk.root}/{number}")
        with pytest.raises(SimulatedCrash):
            files.sync_dir(disk.root)

    assert len(os.listdir("/proc/self/fd")) == before
