"""Files of a job without a store behave as the disk's do, for everything that a store does with them."""

from __future__ import annotations

import asyncio
import glob
from typing import TYPE_CHECKING

import pytest

from actorstream import Pipeline
from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.system.files import RealFiles
from actorstream.system.scratch import ScratchFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from actorstream.model.world import FileSystem


@pytest.fixture(params=["disk", "scratch"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> FileSystem:
    if request.param == "disk":
        return RealFiles()
    return ScratchFiles(RealFiles(), str(tmp_path), str(tmp_path / "job" / "layers"))


def write(files: FileSystem, path: str, *pieces: bytes) -> None:
    file = files.create(path)
    for piece in pieces:
        file.write(piece)
    file.sync()
    file.close()


@pytest.mark.parametrize("name", ["document", "layers/1-0-1.lmdb"])
def test_a_file_is_what_was_written(files: FileSystem, tmp_path: Path, name: str) -> None:
    root = str(tmp_path / "job")
    files.make_dirs(f"{root}/layers")
    path = f"{root}/{name}"
    assert not files.exists(path)
    write(files, path, b"one ", b"two")

    assert files.exists(path)
    assert files.read(path) == b"one two"
    assert b"".join(files.chunks(path)) == b"one two"
    assert files.size(path) == 7
    with pytest.raises(FileExistsError):
        files.create(path)


@pytest.mark.parametrize("name", ["document", "layers/1-0-1.lmdb"])
def test_a_part_is_read_and_a_name_moved(files: FileSystem, tmp_path: Path, name: str) -> None:
    root = str(tmp_path / "job")
    files.make_dirs(f"{root}/layers")
    path, other = f"{root}/{name}", f"{root}/{name}.2"
    write(files, path, b"one ", b"two")
    write(files, other, b"three")
    assert [files.read_at(path, 0, 3), files.read_at(path, 4, 9), files.read_at(path, 9, 9)] == [b"one", b"two", b""]

    files.rename(path, other)
    assert files.read(other) == b"one two"
    assert not files.exists(path)
    with pytest.raises(FileNotFoundError):
        files.rename(path, other)


@pytest.mark.parametrize("name", ["document", "layers/1-0-1.lmdb"])
def test_a_link_is_put_if_absent(files: FileSystem, tmp_path: Path, name: str) -> None:
    root = str(tmp_path / "job")
    files.make_dirs(f"{root}/layers")
    write(files, f"{root}/{name}", b"x")
    files.link(f"{root}/{name}", f"{root}/{name}.2")

    with pytest.raises(FileExistsError):
        files.link(f"{root}/{name}", f"{root}/{name}.2")
    files.unlink(f"{root}/{name}")
    files.unlink(f"{root}/{name}")
    assert files.read(f"{root}/{name}.2") == b"x"
    with pytest.raises(FileNotFoundError):
        files.read(f"{root}/{name}")


def test_a_folder_lists_what_is_in_it(files: FileSystem, tmp_path: Path) -> None:
    root = str(tmp_path / "job")
    files.make_dirs(f"{root}/layers")
    files.make_dirs(f"{root}/checkpoints/7")
    write(files, f"{root}/checkpoints/7/manifest.json", b"{}")
    write(files, f"{root}/layers/b", b"")
    write(files, f"{root}/layers/a", b"")

    assert files.list_dir(f"{root}/layers") == ["a", "b"]
    assert files.list_dir(f"{root}/checkpoints") == ["7"]
    assert files.list_dir(f"{root}/nowhere") == []
    assert files.exists(f"{root}/checkpoints/7")


def test_appending_makes_the_file_and_adds_to_it(files: FileSystem, tmp_path: Path) -> None:
    files.make_dirs(str(tmp_path / "job"))
    path = str(tmp_path / "job" / "notes")
    files.append(path, b"a")
    files.append(path, b"b")

    assert files.read(path) == b"ab"


def test_a_store_can_be_opened_and_locked(files: FileSystem, tmp_path: Path) -> None:
    directory = CheckpointDirectory(files, str(tmp_path / "job"))
    job = directory.open("0123456789abcdef")
    directory.lock()

    assert job
    assert directory.manifests() == []
    directory.close()


async def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job without a store is gone when it ends, with or without layers."""
    monkeypatch.setattr(RealFiles, "temporary", lambda _, name: str(tmp_path / name))
    all_read, go_on = asyncio.Event(), asyncio.Event()

    async def numbers() -> AsyncIterator[int]:
        for number in range(700):
            yield number
        all_read.set()
        await go_on.wait()

    pipeline = Pipeline("gone")
    pipeline.source(numbers).key_by(lambda n: n).count().sink(str)

    async with pipeline.run(checkpoint_interval=None) as job:
        await all_read.wait()
        await job.checkpoint()
        assert glob.glob(f"{tmp_path}/*/gone/layers/*.lmdb")
        go_on.set()
        await job.wait()

    assert glob.glob(f"{tmp_path}/*") == []


def test_free_bytes_are_those_of_the_disk_below(files: FileSystem, tmp_path: Path) -> None:
    assert abs(files.free_bytes(str(tmp_path)) - RealFiles().free_bytes(str(tmp_path))) < 1 << 30
