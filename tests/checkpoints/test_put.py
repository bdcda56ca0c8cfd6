from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.put import (
    PutUnknownError,
    chunks_of,
    discard,
    disk_errors,
    link_if_absent,
    names_in,
    put_if_absent,
    read_file,
)
from actorstream.errors import FencedError, StoreError
from actorstream.system.files import RealFiles
from tests.checkpoints.stepped_files import AtStep, Crash, SteppedFiles, crash, fail_at, nothing

if TYPE_CHECKING:
    from pathlib import Path


def put(folder: Path, files: RealFiles, data: bytes = b"mine") -> bool:
    target = str(folder / "name")
    return put_if_absent(files, target, data, draft=target + ".draft", folders=[str(folder)])


def test_a_free_name_is_taken_and_no_draft_stays(tmp_path: Path) -> None:
    assert put(tmp_path, RealFiles())
    assert [path.name for path in tmp_path.iterdir()] == ["name"]
    assert (tmp_path / "name").read_bytes() == b"mine"
    assert (tmp_path / "name").stat().st_mode & 0o777 == 0o600


def test_a_taken_name_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "name").write_bytes(b"theirs")
    assert not put(tmp_path, RealFiles())
    assert [path.name for path in tmp_path.iterdir()] == ["name"]
    assert (tmp_path / "name").read_bytes() == b"theirs"


def test_content_is_synced_before_the_link_and_the_folder_after(tmp_path: Path) -> None:
    steps: list[str] = []
    put(tmp_path, SteppedFiles(lambda step, path: steps.append(step)))
    assert steps == ["create", "write", "sync", "link", "unlink", "sync_dir"]


def test_a_crash_at_any_step_leaves_all_or_nothing_and_the_next_put_works(tmp_path: Path) -> None:
    number = 0
    while True:
        folder = tmp_path / str(number)
        folder.mkdir()
        hook = AtStep(number, crash)
        try:
            put(folder, SteppedFiles(hook))
        except Crash:
            name = folder / "name"
            before = name.read_bytes() if name.exists() else None
            assert before in (None, b"mine")
            assert put(folder, RealFiles(), b"again") is (before is None)
        number += 1
        if not hook.fired:
            break
    assert number == 7


@pytest.mark.parametrize("step", ["create", "write", "sync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_an_error_before_the_link_puts_nothing_and_leaves_nothing(tmp_path: Path, step: str, code: int) -> None:
    """Disk full, failing or read-only: the caller may try again under the same name."""
    with pytest.raises(StoreError, match=r"name\.draft: writing failed: ") as caught:
        put(tmp_path, SteppedFiles(fail_at(step, "name.draft", code)))
    assert not isinstance(caught.value, PutUnknownError)
    assert list(tmp_path.iterdir()) == []
    assert put(tmp_path, RealFiles())


def test_the_remedy_fits_the_error() -> None:
    for code, remedy in [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "mount the disk for writing"),
        (errno.EACCES, "give this user the right"),
        (errno.EIO, "check the disk"),
    ]:
        with pytest.raises(StoreError, match=f"^/x: reading failed: .*; .*{remedy}"), disk_errors("/x", "reading"):
            raise OSError(code, "no")


def test_an_error_of_the_folder_sync_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    """The name is visible, yet a power cut may take it back: neither success nor failure."""
    with pytest.raises(PutUnknownError, match="unknown until the next recovery"):
        put(tmp_path, SteppedFiles(fail_at("sync_dir", tmp_path.name, errno.EIO)))
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_an_io_error_of_the_link_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    with pytest.raises(PutUnknownError, match="leaves open"):
        put(tmp_path, SteppedFiles(fail_at("link", "name", errno.EIO)))
    assert list(tmp_path.iterdir()) == []


def test_a_link_refused_for_want_of_space_put_nothing_for_certain(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="free some space") as caught:
        put(tmp_path, SteppedFiles(fail_at("link", "name", errno.ENOSPC)))
    assert not isinstance(caught.value, PutUnknownError)


def test_a_draft_that_cannot_be_removed_does_not_spoil_the_put(tmp_path: Path) -> None:
    assert put(tmp_path, SteppedFiles(fail_at("unlink", "name.draft", errno.EIO)))
    assert put(tmp_path, RealFiles(), b"again") is False
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_the_last_look_comes_after_the_draft_and_can_stop_the_put(tmp_path: Path) -> None:
    def refuse() -> None:
        assert [path.name for path in tmp_path.iterdir()] == ["name.draft"]
        raise FencedError("too late")

    target = str(tmp_path / "name")
    with pytest.raises(FencedError):
        put_if_absent(RealFiles(), target, b"x", draft=target + ".draft", folders=[], last_look=refuse)
    assert list(tmp_path.iterdir()) == []


def test_reading_and_listing_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"/absent: reading failed: .*put it back from a copy"):
        read_file(RealFiles(), str(tmp_path / "absent"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="/file: listing failed"):
        names_in(RealFiles(), str(tmp_path / "file"))
    discard(SteppedFiles(nothing), str(tmp_path / "absent"))


def test_a_draft_that_is_whole_takes_a_free_name_and_goes_either_way(tmp_path: Path) -> None:
    steps: list[str] = []
    files = SteppedFiles(lambda step, path: steps.append(f"{step} {path.rpartition('/')[2]}"))
    for linked in (True, False):
        (tmp_path / "draft").write_bytes(b"whole")
        assert link_if_absent(files, f"{tmp_path}/draft", f"{tmp_path}/name", folders=[str(tmp_path)]) is linked
        assert [path.name for path in tmp_path.iterdir()] == ["name"]
    assert steps == ["link name", "unlink draft", f"sync_dir {tmp_path.name}", "link name", "unlink draft"]


def test_chunks_are_all_of_a_file_and_their_failure_names_it(tmp_path: Path) -> None:
    (tmp_path / "name").write_bytes(bytes(3 << 20))
    assert [len(chunk) for chunk in chunks_of(RealFiles(), f"{tmp_path}/name")] == [1 << 20] * 3
    with pytest.raises(StoreError, match="none: reading failed: No such file"):
        next(chunks_of(RealFiles(), f"{tmp_path}/none"))
