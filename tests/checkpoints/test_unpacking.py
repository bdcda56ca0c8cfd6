from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.savepoints import IMPORTING, LAYERS, MANIFEST
from actorstream.checkpoints.unpacking import ArchiveLimits, import_savepoint
from actorstream.errors import StoreError, StoreInUseError
from actorstream.system.files import RealFiles
from tests.checkpoints.savepoints import FILES, contents, names, unpack

if TYPE_CHECKING:
    from pathlib import Path


def test_finished_savepoint_is_never_replaced(archive: Path, tmp_path: Path) -> None:
    """Nor does it go on looking like an import, if that one died when it was complete."""
    unpack(archive, tmp_path / "kept")
    before = contents(tmp_path / "kept")
    (tmp_path / "kept" / IMPORTING).write_bytes(b"")
    with pytest.raises(StoreError, match=r"there is a savepoint in .* an import replaces nothing: give a new folder"):
        unpack(archive, tmp_path / "kept")
    assert contents(tmp_path / "kept") == before


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (["notes.txt"], "'notes.txt'"),
        ([f"{LAYERS}/1-0-1.lmdb"], "'layers'"),
        ([IMPORTING, "notes.txt"], "'notes.txt'"),
        ([IMPORTING, f"{LAYERS}/notes.txt"], "'layers/notes.txt'"),
    ],
)
def test_folder_with_something_else_is_left_as_it_is(
    archive: Path, tmp_path: Path, theirs: list[str], words: str
) -> None:
    """Layers without a manifest may be a savepoint that is being taken."""
    folder = tmp_path / "folder"
    for name in theirs:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"theirs")
    with pytest.raises(StoreError, match=f"holds {words}, which is not what an import leaves"):
        unpack(archive, folder)
    assert set(contents(folder)) == set(theirs)


def test_what_a_killed_import_left_is_swept(archive: Path, savepoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    (folder / LAYERS).mkdir(parents=True)
    for name in (IMPORTING, f"{MANIFEST}.draft", f"{LAYERS}/1-0-1.lmdb", f"{LAYERS}/7-other-1.lmdb"):
        (folder / name).write_bytes(b"half")
    unpack(archive, folder)
    assert contents(folder) == contents(savepoint)


def test_second_import_into_a_folder_is_refused_and_harms_not_the_first(
    archive: Path, savepoint: Path, tmp_path: Path
) -> None:
    refused: list[str] = []

    def meanwhile(done: int, total: int) -> None:
        with pytest.raises(StoreInUseError, match=r"another import into .* is under way") as caught:
            unpack(archive, tmp_path / "kept")
        refused.append(str(caught.value))

    import_savepoint(FILES, str(archive), str(tmp_path / "kept"), tell=meanwhile)
    assert len(refused) > 2
    assert contents(tmp_path / "kept") == contents(savepoint)


def test_manifest_that_appears_meanwhile_wins_and_loses_no_layer(archive: Path, tmp_path: Path) -> None:
    """Somebody who heeds no lock: which layers it counts on is not known."""

    def publish(done: int, total: int) -> None:
        if done == total:
            (tmp_path / "kept" / MANIFEST).write_bytes(b"theirs")

    with pytest.raises(StoreError, match="was made by somebody else meanwhile"):
        import_savepoint(FILES, str(archive), str(tmp_path / "kept"), tell=publish)
    assert (tmp_path / "kept" / MANIFEST).read_bytes() == b"theirs"
    assert len(names(tmp_path / "kept" / LAYERS)) > 2


def test_import_that_is_stopped_leaves_what_the_next_one_takes(archive: Path, savepoint: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_savepoint(FILES, str(archive), str(tmp_path / "kept"), tell=stop)
    assert set(contents(tmp_path / "kept")) == {IMPORTING}
    unpack(archive, tmp_path / "kept")
    assert contents(tmp_path / "kept") == contents(savepoint)


class NearlyFull(RealFiles):
    """A disk with so much room, as it says."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.asked: list[str] = []

    def free_bytes(self, path: str, /) -> int:
        self.asked.append(path)
        return self.free


def test_disk_without_room_is_found_before_anything_is_made(archive: Path, savepoint: Path, tmp_path: Path) -> None:
    spare = ArchiveLimits().spare_bytes
    size = sum(len(data) for data in contents(savepoint).values())
    files = NearlyFull(size + spare - 1)
    with pytest.raises(StoreError, match=f"too full .* {files.free} bytes are free of the {size + spare}"):
        unpack(archive, tmp_path / "new" / "kept", files=files)
    assert names(tmp_path) == []
    assert files.asked == [str(tmp_path)]
    unpack(archive, tmp_path / "new" / "kept", files=NearlyFull(size + spare))


def test_room_that_a_killed_import_takes_counts_as_free(archive: Path, savepoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    (folder / LAYERS).mkdir(parents=True)
    (folder / IMPORTING).write_bytes(b"")
    size = sum(len(data) for data in contents(savepoint).values())
    (folder / LAYERS / "1-0-1.lmdb").write_bytes(bytes(size))
    unpack(archive, folder, files=NearlyFull(ArchiveLimits().spare_bytes))
    assert contents(folder) == contents(savepoint)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (ArchiveLimits(manifest_bytes=100), r"manifest\.json has \d+ bytes, over the limit of 100"),
        (ArchiveLimits(layers=2), r"lists \d+ layers, over the limit of 2"),
        (ArchiveLimits(content_bytes=20_480), r"has a content of \d+ bytes, over the limit of 20480"),
    ],
)
def test_limit_is_named_with_what_is_over_it(archive: Path, tmp_path: Path, limits: ArchiveLimits, words: str) -> None:
    with pytest.raises(StoreError, match=f"{words}: raise ArchiveLimits.* if you trust the archive"):
        import_savepoint(FILES, str(archive), str(tmp_path / "kept"), limits=limits)
    assert names(tmp_path) == []
