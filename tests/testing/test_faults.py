"""A planned fault hits exactly one call, of the right kind, and leaves what such a fault leaves."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actorstream.system.files import RealFiles
from actorstream.testing.faults import CHANGES, CallKind, Effect, Fault, FaultyFiles
from actorstream.testing.loop import SimulatedCrash

if TYPE_CHECKING:
    from actorstream.model.world import FileSystem

ROOT = Path(__file__).parents[2]


def publish(files: FileSystem, folder: str) -> None:
    """Use every kind of call once or more."""
    files.make_dirs(f"{folder}/store")
    lock = files.lock(f"{folder}/store/LOCK")
    assert lock is not None
    try:
        file = files.create(f"{folder}/store/tmp")
        try:
            file.write(b"mani")
            file.write(b"fest")
            file.sync()
        finally:
            file.close()
        files.sync(f"{folder}/store/tmp")
        files.rename(f"{folder}/store/tmp", f"{folder}/store/ready")
        files.link(f"{folder}/store/ready", f"{folder}/store/final")
        files.unlink(f"{folder}/store/ready")
        files.sync_dir(f"{folder}/store")
        assert files.list_dir(f"{folder}/store") == ["LOCK", "final"]
        assert files.read(f"{folder}/store/final") == b"".join(files.chunks(f"{folder}/store/final"))
        assert files.read_at(f"{folder}/store/final", 4, 99) == b"fest"
        assert files.size(f"{folder}/store/final") == 8
        assert files.identity(f"{folder}/store/final")
        files.append(f"{folder}/store/final", b" and more")
        assert files.read_each(files.size, [f"{folder}/store/final"]) == [17]
        assert files.exists(f"{folder}/store/final")
        files.synced(f"{folder}/store/final")
    finally:
        lock.release()


@pytest.mark.parametrize("effect", ["EIO", "ENOSPC"])
def test_looping_until_no_fault_fires_meets_every_call(tmp_path: Path, effect: Effect) -> None:
    """SQLite's loop: the n-th call fails for n = 1, 2, 3, …; the end is when a run meets no fault."""
    met: list[CallKind] = []
    for nth in itertools.count(1):
        folder = tmp_path / str(nth)
        folder.mkdir()
        files = FaultyFiles(RealFiles(), Fault(nth, effect))
        try:
            publish(files, str(folder))
        except OSError as error:
            raised: OSError | None = error
        else:
            raised = None
        if files.fired is None:
            break
        assert raised is not None
        assert (raised.errno, raised.filename) == (getattr(errno, effect), files.fired.path)
        assert files.calls[-1] == files.fired
        met.append(files.fired.kind)

    untouched = FaultyFiles(RealFiles())
    publish(untouched, str(tmp_path))
    assert met == [call.kind for call in untouched.calls]
    assert set(met) == CHANGES | {"read"}


def test_only_chosen_kinds_are_counted(tmp_path: Path) -> None:
    """The second write fails, wherever it stands among other calls."""
    files = FaultyFiles(RealFiles(), Fault(2, "EIO", kinds=frozenset({"write"})))
    with pytest.raises(OSError, match="Input/output error"):
        publish(files, str(tmp_path))

    assert (tmp_path / "store/tmp").read_bytes() == b"mani"


def test_a_fault_fires_once(tmp_path: Path) -> None:
    """What is tried again succeeds: the handling of the error is what is under test."""
    files = FaultyFiles(RealFiles(), Fault(1, "EIO", kinds=frozenset({"make_dirs"})))
    with pytest.raises(OSError, match="Input/output error"):
        publish(files, str(tmp_path))
    publish(files, str(tmp_path))


def test_a_short_write_leaves_a_part(tmp_path: Path) -> None:
    """A full disk takes what fits, then says so; other calls are not counted."""
    files = FaultyFiles(RealFiles(), Fault(2, "short write"))
    with pytest.raises(OSError, match="No space left"):
        publish(files, str(tmp_path))

    assert (tmp_path / "store/tmp").read_bytes() == b"manife"


def test_a_short_append_leaves_a_part_at_the_end(tmp_path: Path) -> None:
    """An append is a write that opens its file itself."""
    files = FaultyFiles(RealFiles(), Fault(2, "short write"))
    path = str(tmp_path / "file")
    files.append(path, b"whole ")
    with pytest.raises(OSError, match="No space left"):
        files.append(path, b"half of it")
    assert files.read(path) == b"whole half "
    assert files.fired == ("write", path)


def test_without_a_fault_calls_are_recorded_only(tmp_path: Path) -> None:
    """A test reads the order of calls: content, then name, then folder."""
    files = FaultyFiles(RealFiles())
    publish(files, str(tmp_path))
    kinds = [call.kind for call in files.calls]

    expected = ["make_dirs", "lock", "create", "write", "write", "sync", "sync", "rename", "link", "unlink"]
    assert kinds[:10] == expected
    assert files.calls[8].path == f"{tmp_path}/store/final"
    assert files.fired is None


def test_kill_may_be_a_callback(tmp_path: Path) -> None:
    """In a simulation the process only seems to die; if the callback returns, the call is not made all the same."""
    killed: list[str] = []
    files = FaultyFiles(RealFiles(), Fault(1, "kill", kinds=frozenset({"link"})), kill=lambda: killed.append("killed"))
    with pytest.raises(SimulatedCrash, match="link"):
        publish(files, str(tmp_path))

    assert killed == ["killed"]
    assert not (tmp_path / "store/final").exists()


def test_kill_ends_a_real_process_without_cleaning_up(tmp_path: Path) -> None:
    """As SIGKILL: no `finally`, no flush."""
    code = (
        "import sys\n"
        "from actorstream.system.files import RealFiles\n"
        "from actorstream.testing.faults import Fault, FaultyFiles\n"
        "from tests.testing.test_faults import publish\n"
        "try:\n"
        "    publish(FaultyFiles(RealFiles(), Fault(1, 'kill', kinds=frozenset({'sync_dir'}))), sys.argv[1])\n"
        "finally:\n"
        "    print('cleaned up')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, cwd=ROOT, check=False)

    assert (done.returncode, done.stdout) == (137, b"")
    assert os.listdir(tmp_path / "store") != []


def test_kill_in_write_leaves_half_of_it(tmp_path: Path) -> None:
    """What a process that is killed while the disk takes its data leaves; other calls are not counted."""
    killed: list[str] = []
    files = FaultyFiles(RealFiles(), Fault(2, "kill in write"), kill=lambda: killed.append("killed"))
    with pytest.raises(SimulatedCrash, match="write"):
        publish(files, str(tmp_path))

    assert killed == ["killed"]
    assert (tmp_path / "store/tmp").read_bytes() == b"manife"


def test_threads_share_one_count(tmp_path: Path) -> None:
    """Offloaded calls come from several threads: still exactly one fails."""
    files = FaultyFiles(RealFiles(), Fault(50, "EIO", kinds=frozenset({"create"})))
    failures: list[OSError] = []

    def create(start: int) -> None:
        for number in range(start, start + 25):
            try:
                files.create(f"{tmp_path}/{number}").close()
            except OSError as error:
                failures.append(error)

    threads = [threading.Thread(target=create, args=(start,)) for start in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(failures) == 1
    assert len(os.listdir(tmp_path)) == 99
