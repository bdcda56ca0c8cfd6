from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from actorstream.errors import DataLossError, StoreError
from actorstream.eventlog.meta_pages import check_whole
from actorstream.eventlog.page_tree import prove_trees
from actorstream.state.lmdb_env import create_building, open_segment
from actorstream.system.files import RealFiles

if TYPE_CHECKING:
    from pathlib import Path

FILES = RealFiles()


def written(path: Path) -> None:
    """Fill a file with rows that only come."""
    env = create_building(str(path), 1 << 26)
    for start in range(0, 2_000, 100):
        with env.transaction(write=True) as txn:
            for row in range(start, start + 100):
                txn.put(b"%06d" % row, b"v" * (row % 900))
    env.close()


def prove(path: Path) -> None:
    env = open_segment(str(path), map_size=check_whole(FILES, str(path)).map_size)
    try:
        prove_trees(FILES, str(path), env)
    finally:
        env.close()


def test_a_whole_file_passes_and_says_its_map_size(tmp_path: Path) -> None:
    written(tmp_path / "f")
    meta = check_whole(FILES, str(tmp_path / "f"))
    assert meta.map_size == 1 << 26
    assert meta.pages * meta.page_size == (tmp_path / "f").stat().st_size


@pytest.mark.parametrize("keep", [0, 100, 4096, 8192, 100_000, -4096, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    """At any length; below 0: that many bytes less. By its length alone, or once its trees are looked at."""
    path = tmp_path / "f"
    written(path)
    size = path.stat().st_size
    os.truncate(path, keep if keep >= 0 else size + keep)
    with pytest.raises(DataLossError, match=r"is truncated|is no segment"):
        prove(path)


def test_what_is_no_segment_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"hello" * 5000)
    with pytest.raises(StoreError, match="is no segment"):
        check_whole(FILES, str(path))
    with pytest.raises(StoreError, match="is missing"):
        check_whole(FILES, str(tmp_path / "g"))


@pytest.mark.parametrize("seed", range(6))
def test_pages_that_were_dropped_unwritten_are_not_missed(tmp_path: Path, seed: int) -> None:
    """LMDB never writes pages given out and dropped in one transaction: such a file is short, and whole."""
    path = tmp_path / "f"
    env = create_building(str(path), 1 << 26)
    rng = random.Random(seed)
    shortest = 0
    for _ in range(20):
        with env.transaction(write=True) as txn:
            for _ in range(rng.randint(0, 50)):
                txn.put(b"doc%d" % rng.randint(0, 100), b"d" * rng.randint(1, 9_000))
            for _ in range(rng.randint(0, 30)):
                txn.delete(b"doc%d" % rng.randint(0, 100))
        meta = check_whole(FILES, str(path))
        prove_trees(FILES, str(path), env)
        shortest = min(shortest, path.stat().st_size - meta.pages * meta.page_size)
    env.close()
    if seed == 1:
        assert shortest < 0


@pytest.mark.crash
def test_lmdb_dies_where_we_refuse(tmp_path: Path) -> None:
    """Why the check exists: without it a truncated file ends the process, not the call."""
    path = tmp_path / "f"
    written(path)
    os.truncate(path, 40_960)
    with pytest.raises(StoreError):
        check_whole(FILES, str(path))
    code = "import sys, lmdb; env = lmdb.open(sys.argv[1], subdir=False); [len(v) for _, v in env.begin().cursor()]"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGBUS
