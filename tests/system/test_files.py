from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from actorstream.system import files as files_module
from actorstream.system.files import RealFiles

if TYPE_CHECKING:
    from pathlib import Path

FILES = RealFiles()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def write(path: Path, data: bytes) -> None:
    file = FILES.create(str(path))
    file.write(data)
    file.sync()
    file.close()


def test_a_new_file_is_private_and_holds_what_was_written(tmp_path: Path) -> None:
    """State is users' data: 0600 whatever the umask leaves open."""
    before = os.umask(0)
    try:
        write(tmp_path / "file", b"data")
    finally:
        os.umask(before)
    assert (tmp_path / "file").read_bytes() == b"data"
    assert mode(tmp_path / "file") == 0o600
    assert FILES.size(str(tmp_path / "file")) == 4


def test_a_taken_name_is_not_opened_again(tmp_path: Path) -> None:
    write(tmp_path / "file", b"first")
    with pytest.raises(FileExistsError):
        FILES.create(str(tmp_path / "file"))
    assert FILES.read(str(tmp_path / "file")) == b"first"


def test_closing_twice_does_nothing(tmp_path: Path) -> None:
    """The number of a closed file may be another file's by then."""
    file = FILES.create(str(tmp_path / "a"))
    file.close()
    other = FILES.create(str(tmp_path / "b"))
    file.close()
    other.write(b"still open")
    other.close()
    assert (tmp_path / "b").read_bytes() == b"still open"


def test_a_large_file_is_written_whole_and_comes_back_in_pieces_of_1_mib(tmp_path: Path) -> None:
    path = tmp_path / "large"
    data = os.urandom(3 << 20)
    write(path, data)
    assert FILES.read(str(path)) == data
    chunks = list(FILES.chunks(str(path)))
    assert b"".join(chunks) == data
    assert {len(chunk) for chunk in chunks} == {1 << 20}


def test_a_full_quota_is_an_error_not_a_short_file(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands for a full disk: no root needed."""
    code = (
        "import resource, signal, sys; from actorstream.system.files import RealFiles\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "file = RealFiles().create(sys.argv[1])\n"
        "try: file.write(bytes(5000))\n"
        "except OSError as error: print(error.errno)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "file")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "27\n"


def test_an_append_goes_to_the_end_of_a_private_file(tmp_path: Path) -> None:
    """Whatever another process has put there meanwhile."""
    path = str(tmp_path / "file")
    FILES.append(path, b"one ")
    with open(path, "ab") as other:
        other.write(b"two ")
    FILES.append(path, b"three")
    assert FILES.read(path) == b"one two three"
    assert mode(tmp_path / "file") == 0o600


def settled(path: Path) -> str:
    """Give the identity of a file once its last change is old enough."""
    while (identity := FILES.identity(str(path))) != FILES.identity(str(path)):
        pass
    return identity


def test_an_identity_changes_with_each_change_of_the_file(tmp_path: Path) -> None:
    """Bytes of the same number, a file of the same bytes, the same again: each one shows."""
    path = tmp_path / "file"
    write(path, b"data")
    found = [settled(path)]
    path.write_bytes(b"late")
    found.append(settled(path))
    path.write_bytes(b"data")
    found.append(settled(path))
    path.rename(tmp_path / "old")
    write(path, b"data")
    found.append(settled(path))
    assert len(set(found)) == 4
    assert settled(path) == found[-1]
    assert "\n" not in found[-1]
    with pytest.raises(FileNotFoundError):
        FILES.identity(str(tmp_path / "missing"))


def test_the_identity_of_a_file_just_changed_is_no_other_readings(tmp_path: Path) -> None:
    """Some kernels count changes in ticks: the next one, in the same tick, would not show."""
    path = tmp_path / "file"
    for _ in range(20):
        path.write_bytes(b"data")
        before = FILES.identity(str(path))
        path.write_bytes(b"late")
        assert FILES.identity(str(path)) != before
        assert settled(path) != before


def test_another_process_of_this_boot_finds_the_same_identity_another_boot_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the machine does not say which boot it is, each process is one of its own."""
    path = tmp_path / "file"
    write(path, b"data")
    identity = settled(path)
    code = "import sys; from actorstream.system.files import RealFiles; print(RealFiles().identity(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{identity}\n"
    boots = []
    for name in ("boot_id", "missing", "missing"):
        (tmp_path / "boot_id").write_text("another-boot\n")
        monkeypatch.setattr(files_module, "_BOOT_ID", str(tmp_path / name))
        files_module._boot.cache_clear()
        boots.append(FILES.identity(str(path)).split()[0])
        assert FILES.identity(str(path)).split()[0] == boots[-1]
    files_module._boot.cache_clear()
    assert boots[0] == "another-boot"
    assert len({identity.split()[0], *boots}) == 4


def test_paths_are_read_side_by_side_and_the_first_error_comes_back(tmp_path: Path) -> None:
    """A barrier that only two readers at once can pass; and after an error nothing new is begun."""
    met = threading.Barrier(2)
    assert FILES.read_each(lambda path: (met.wait(10), path)[1], ["a", "b"]) == ["a", "b"]
    begun: list[str] = []

    def fail(path: str) -> None:
        begun.append(path)
        raise OSError(5, "Input/output error", path)

    with pytest.raises(OSError, match="Input/output error"):
        FILES.read_each(fail, [str(number) for number in range(5_000)])
    assert len(begun) < 5_000
    assert FILES.read_each(fail, []) == []


def test_folders_are_made_private_with_their_parents_and_may_exist(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    FILES.make_dirs(str(path))
    FILES.make_dirs(str(path))
    assert mode(path) == mode(path.parent) == 0o700


class Noting(RealFiles):
    """Notes which folders were synced, and whether the next one was there by then."""

    def __init__(self) -> None:
        """Start with none."""
        self.synced_dirs: list[str] = []

    def sync_dir(self, path: str, /) -> None:
        """Note it."""
        self.synced_dirs.append(path)
        super().sync_dir(path)


def test_a_folders_name_is_durable_before_the_next_is_made_in_it(tmp_path: Path) -> None:
    """A checkpoint in a folder whose own name a power cut takes away is lost with it."""
    files = Noting()
    files.make_dirs(str(tmp_path / "a" / "b"))
    assert files.synced_dirs == [str(tmp_path.parent), str(tmp_path), str(tmp_path / "a")]


def test_an_existing_folders_name_is_made_durable_too(tmp_path: Path) -> None:
    """Its maker may have died between making and syncing it."""
    (tmp_path / "a").mkdir()
    files = Noting()
    files.make_dirs(str(tmp_path / "a"))
    assert files.synced_dirs == [str(tmp_path)]


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    for path in (tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"):
        with pytest.raises(NotADirectoryError):
            FILES.make_dirs(str(path))


def test_a_link_is_the_put_if_absent_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "draft", b"mine")
    FILES.link(str(tmp_path / "draft"), str(tmp_path / "name"))
    write(tmp_path / "other", b"theirs")
    with pytest.raises(FileExistsError):
        FILES.link(str(tmp_path / "other"), str(tmp_path / "name"))
    FILES.unlink(str(tmp_path / "draft"))
    assert FILES.read(str(tmp_path / "name")) == b"mine"


def test_unlink_takes_files_links_and_empty_folders_and_passes_over_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    for name in ("file", "folder", "link", "absent"):
        FILES.unlink(str(tmp_path / name))
    assert FILES.list_dir(str(tmp_path)) == ["kept"]


def test_unlink_never_takes_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"")
    with pytest.raises(OSError, match="not empty"):
        FILES.unlink(str(tmp_path / "folder"))
    assert FILES.exists(str(tmp_path / "folder" / "file"))


def test_listing_is_sorted_and_a_missing_folder_is_empty(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / name).touch()
    assert FILES.list_dir(str(tmp_path)) == ["a", "b", "c"]
    assert FILES.list_dir(str(tmp_path / "absent")) == []


def test_a_name_exists_even_if_it_leads_nowhere(tmp_path: Path) -> None:
    """What matters is whether the name is taken."""
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    assert FILES.exists(str(tmp_path / "dangling"))
    assert not FILES.exists(str(tmp_path / "absent"))


def test_syncing_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    FILES.sync_dir(str(tmp_path))
    FILES.synced(str(tmp_path / "absent"))
    for call in (FILES.sync, FILES.sync_dir, FILES.read, FILES.size):
        with pytest.raises(FileNotFoundError):
            call(str(tmp_path / "absent"))
    (tmp_path / "file").touch()
    FILES.sync(str(tmp_path / "file"))
    with pytest.raises(NotADirectoryError):
        FILES.sync_dir(str(tmp_path / "file"))


def test_a_lock_is_exclusive_and_private_and_release_may_come_twice(tmp_path: Path) -> None:
    path = str(tmp_path / "LOCK")
    first = FILES.lock(path)
    assert first is not None
    assert mode(tmp_path / "LOCK") == 0o600
    assert FILES.lock(path) is None
    first.release()
    first.release()
    second = FILES.lock(path)
    assert second is not None
    second.release()


def test_a_lock_ends_with_its_process_and_is_not_inherited(tmp_path: Path) -> None:
    """SIGKILL is the worst end; a child that outlives its parent must not keep the store from the next start."""
    path = str(tmp_path / "LOCK")
    code = (
        "import subprocess, sys; from actorstream.system.files import RealFiles\n"
        "lock = RealFiles().lock(sys.argv[1])\n"
        "child = subprocess.Popen(['sleep', '60'], close_fds=False, stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            assert FILES.lock(path) is None
            holder.kill()
            holder.wait()
            lock = FILES.lock(path)
            assert lock is not None
            lock.release()
        finally:
            os.kill(child, 9)


def test_free_bytes_are_what_the_machine_says(tmp_path: Path) -> None:
    """Not exactly: others write to this disk, too."""
    free = FILES.free_bytes(str(tmp_path))
    assert abs(free - shutil.disk_usage(tmp_path).free) < 1 << 30
    with pytest.raises(FileNotFoundError):
        FILES.free_bytes(str(tmp_path / "none"))


def test_a_lock_is_on_the_file_of_that_name(tmp_path: Path) -> None:
    """Whoever held it may have removed the file after it was opened: that lock would keep nobody out."""
    path = tmp_path / "lock"
    real = fcntl.flock
    removed: list[Path] = []

    def flock(fd: int, how: int) -> None:
        if not removed:
            removed.append(path)
            path.unlink()
        real(fd, how)

    with patch.object(fcntl, "flock", flock):
        held = FILES.lock(str(path))
    assert held is not None
    assert removed
    assert FILES.lock(str(path)) is None
    held.release()
