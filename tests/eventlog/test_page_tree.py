from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from actorstream.errors import StoreError
from actorstream.eventlog.meta_pages import check_whole
from actorstream.eventlog.page_tree import prove_trees
from actorstream.state.lmdb_env import create_building, open_segment
from actorstream.system.files import RealFiles

if TYPE_CHECKING:
    from pathlib import Path

FILES = RealFiles()
PAGE = 4096

# Reads all and writes a little: whatever LMDB says to that, it must live to say it.
USE = """
import sys, lmdb
from actorstream.errors import StoreError
from actorstream.eventlog.meta_pages import check_whole
from actorstream.eventlog.page_tree import prove_trees
from actorstream.state.lmdb_env import open_segment
from actorstream.system.files import RealFiles

path, files, refused = sys.argv[1], RealFiles(), 0
pristine = open(path, "rb").read()
for at in map(int, sys.argv[2:]):
    damaged = bytearray(pristine)
    damaged[at // 8] ^= 1 << at % 8
    name = f"{path}.{at}"
    open(name, "wb").write(damaged)
    print(at, flush=True)
    try:
        env = open_segment(name, map_size=check_whole(files, name).map_size)
        try:
            prove_trees(files, name, env)
            with env.transaction() as txn:
                for _, value in txn.cursor():
                    len(value)
            with env.transaction(write=True) as txn:
                txn.put(b"row000", b"x" * 40)
                txn.put(b"another", b"x" * 9_000)
                txn.delete(b"row777")
        finally:
            env.close()
    except StoreError:
        refused += 1
print("refused", refused)
"""


def filled(path: Path, seed: int, transactions: int = 15) -> None:
    """Rows of all sizes come, change and go: overflow pages, a list of free pages, holes."""
    rng = random.Random(seed)
    env = create_building(str(path), 1 << 26)
    for _ in range(transactions):
        with env.transaction(write=True) as txn:
            for _ in range(rng.randint(1, 60)):
                size = rng.choice([rng.randint(0, 60), rng.randint(0, 2_000), rng.randint(0, 9_000)])
                txn.put(b"row%03d" % rng.randint(0, 900), b"d" * size)
            for _ in range(rng.randint(0, 30)):
                txn.delete(b"row%03d" % rng.randint(0, 900))
        prove_trees(FILES, str(path), env)
    env.close()


@pytest.mark.parametrize("seed", range(6))
def test_what_lmdb_writes_is_never_refused(tmp_path: Path, seed: int) -> None:
    """After every transaction of any kind; also once all rows are gone."""
    filled(tmp_path / "f", seed)
    env = open_segment(str(tmp_path / "f"), map_size=1 << 26)
    with env.transaction(write=True) as txn:
        for number in range(901):
            txn.delete(b"row%03d" % number)
    prove_trees(FILES, str(tmp_path / "f"), env)
    env.close()


def test_a_file_of_one_size_of_rows_is_never_refused(tmp_path: Path) -> None:
    """Splits in order, as an append makes them."""
    env = create_building(str(tmp_path / "f"), 1 << 26)
    for start in range(0, 20_000, 2_000):
        with env.transaction(write=True) as txn, txn.cursor() as cursor:
            cursor.putmulti([(number.to_bytes(8, "big"), b"v" * 33) for number in range(start, start + 2_000)])
        prove_trees(FILES, str(tmp_path / "f"), env)
    env.close()


@pytest.mark.crash
@pytest.mark.slow
def test_no_flipped_bit_ends_the_process(tmp_path: Path) -> None:
    """LMDB reads outside of the file behind a bad offset or length, and dies: such pages must not be entered."""
    path = tmp_path / "f"
    filled(path, 1)
    rng = random.Random(7)
    pages = path.stat().st_size // PAGE
    flips = [rng.randrange(pages) * PAGE * 8 + rng.randrange(rng.choice([16, 120, PAGE]) * 8) for _ in range(200)]
    said = subprocess.run(
        [sys.executable, "-c", USE, str(path), *map(str, flips)], check=False, capture_output=True, text=True
    )
    assert said.returncode == 0, f"died by {said.returncode} at bit {said.stdout.split()[-1]}: {said.stderr[-2_000:]}"
    assert int(said.stdout.split()[-1]) > 25


@pytest.mark.parametrize(
    ("page", "offset", "bit"),
    [
        pytest.param(0, 144, 20, id="number of an old transaction"),
        pytest.param(1, 144, 20, id="number of a transaction"),
        pytest.param(1, 144, 0, id="its parity"),
        pytest.param(0, 16, 0, id="magic"),
    ],
)
def test_a_meta_page_that_would_take_the_last_transaction_back_is_refused(
    tmp_path: Path, page: int, offset: int, bit: int
) -> None:
    """LMDB takes the higher number of the two, and would forget what was acknowledged."""
    path = tmp_path / "f"
    filled(path, 1, transactions=7)
    data = bytearray(path.read_bytes())
    data[page * PAGE + offset + bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    with pytest.raises(StoreError, match="its first pages are damaged"):
        check_whole(FILES, str(path))


def test_writer_killed_between_its_meta_page_and_its_announcement_is_no_damage(tmp_path: Path) -> None:
    """Others keep the lock file alive: it still tells the transaction before, which is then what everybody reads."""
    path, later = tmp_path / "log", tmp_path / "later"
    filled(path, 1)
    env = open_segment(str(path), map_size=1 << 24)
    with env.transaction() as txn:
        told = txn.id()
    later.write_bytes(path.read_bytes())
    dying = open_segment(str(later), map_size=1 << 24)
    with dying.transaction(write=True) as txn:
        txn.put(b"never announced", b"x" * 9_000)
    dying.close()
    with path.open("r+b") as file:
        file.write(later.read_bytes())

    prove_trees(FILES, str(path), env)
    with env.transaction(write=True) as txn:
        assert txn.id() == told + 1
        assert txn.get(b"never announced") is None
        txn.put(b"next", b"y")
    prove_trees(FILES, str(path), env)
    env.close()
