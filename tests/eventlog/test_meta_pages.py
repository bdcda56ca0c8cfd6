from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actorstream.errors import StoreError
from actorstream.eventlog.meta_pages import check_whole
from actorstream.state.lmdb_env import open_segment
from actorstream.system.files import RealFiles

FILES = RealFiles()


def written(path: Path, rounds: int, seed: int, size: int = 900) -> None:
    """Fill a file with rows that come, change and go, in many small transactions."""
    rng = random.Random(seed)
    env = open_segment(str(path), map_size=1 << 26)
    for _ in range(rounds):
        with env.transaction(write=True) as txn:
            for _ in range(rng.randint(1, 60)):
                txn.put(rng.randbytes(4), b"v" * rng.randint(1, size))
            for _ in range(rng.randint(0, 5)):
                txn.put(b"doc%d" % rng.randint(0, 9), b"d" * rng.randint(1, 4000))
            if rng.random() < 0.3:
                txn.delete(b"doc%d" % rng.randint(0, 9))
    env.close()


def test_a_whole_file_passes_and_says_its_map_size(tmp_path: Path) -> None:
    for seed in range(5):
        path = tmp_path / str(seed)
        written(path, 20, seed)
        assert check_whole(FILES, str(path)).map_size == 1 << 26


@pytest.mark.parametrize("keep", [0, 100, 4096, 8192, 0.5, -4096, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "f"
    written(path, 20, 1)
    size = path.stat().st_size
    os.truncate(path, int(keep * size) if isinstance(keep, float) else keep if keep >= 0 else size + keep)
    with pytest.raises(StoreError, match=r"is truncated|is no segment"):
        check_whole(FILES, str(path))


def test_what_is_no_segment_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"hello" * 5000)
    with pytest.raises(StoreError, match="is no segment"):
        check_whole(FILES, str(path))
    with pytest.raises(StoreError, match="is missing"):
        check_whole(FILES, str(tmp_path / "g"))


def short_but_whole(folder: Path) -> Path | None:
    """Make files until LMDB leaves one shorter than its meta page says, as it does now and then."""
    for seed in range(400):
        path = folder / str(seed)
        env = open_segment(str(path), map_size=1 << 26)
        rng = random.Random(seed)
        for _ in range(8):
            with env.transaction(write=True) as txn:
                for _ in range(rng.randint(0, 8)):
                    txn.put(b"doc%d" % rng.randint(0, 3), b"d" * rng.randint(1, 20_000))
        env.close()
        page = FILES.read(str(path))
        newest = max((int.from_bytes(page[at + 144 : at + 152], "little"), at) for at in (0, 4096))[1]
        pages = int.from_bytes(page[newest + 136 : newest + 144], "little") + 1
        if path.stat().st_size < pages * 4096:
            return path
    return None


def test_pages_that_were_dropped_unwritten_are_not_missed(tmp_path: Path) -> None:
    """LMDB never writes pages given out and dropped in one transaction: that file is whole, one page less is not."""
    path = short_but_whole(tmp_path)
    assert path is not None
    check_whole(FILES, str(path))
    code = (
        "import sys, lmdb; env = lmdb.open(sys.argv[1], subdir=False); txn = env.begin(); sum(map(len, txn.cursor()))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0


@pytest.mark.crash
def test_lmdb_dies_where_we_refuse(tmp_path: Path) -> None:
    """Why the check exists: without it a truncated file ends the process, not the call."""
    path = tmp_path / "f"
    written(path, 60, 1)
    os.truncate(path, 40_960)
    with pytest.raises(StoreError):
        check_whole(FILES, str(path))
    code = "import sys, lmdb; env = lmdb.open(sys.argv[1], subdir=False); txn = env.begin(); [len(v) for _, v in txn.cursor()]"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGBUS
