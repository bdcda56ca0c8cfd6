"""Environments: once a file and process, whole transactions, errors of ours."""

from __future__ import annotations

import gc
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import lmdb
import pytest

from actorstream.errors import InvariantError, StoreError
from actorstream.state.lmdb_env import Env, MapFullError, close_all, create_building, open_layer, open_segment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAP_SIZE = 1 << 20


def test_file_opened_twice_is_one_environment_until_the_last_close(tmp_path: Path) -> None:
    """LMDB refuses a second one, and its locks would not hold between the two."""
    path = str(tmp_path / "segment")
    first = open_segment(path, map_size=MAP_SIZE)
    second = open_segment(path, map_size=MAP_SIZE)
    assert first is second
    first.close()
    with second.transaction(write=True) as txn:
        txn.put(b"k", b"v")
    assert second.last_transaction == 1
    second.close()
    again = open_segment(path, map_size=MAP_SIZE, readonly=True)
    assert again is not first
    with again.transaction() as txn:
        assert txn.get(b"k") == b"v"
    assert again.clear_dead_readers() == 0
    again.close()


def test_reader_that_the_collector_drops_anywhere_holds_nothing_up(tmp_path: Path) -> None:
    """A generator closes its file when it is collected: at any allocation, so also while another file is opened."""
    paths = [str(tmp_path / name) for name in ("read", "opened")]
    for path in paths:
        open_segment(path, map_size=MAP_SIZE).close()

    def drop_a_reader() -> None:
        env = open_segment(paths[0], map_size=MAP_SIZE)

        def read() -> Iterator[None]:
            try:
                with env.transaction():
                    yield
            finally:
                env.close()

        reader = read()
        next(reader)
        itself: list[object] = [reader]
        itself.append(itself)  # only the collector can tell that nobody has it

    def open_everywhere() -> None:
        thresholds = gc.get_threshold()
        for allocations in range(1, 100, 3):
            for path in paths:
                gc.collect()
                gc.disable()
                drop_a_reader()
                gc.set_threshold(allocations)
                gc.enable()
                env = open_segment(path, map_size=MAP_SIZE)
                with env.transaction(write=True) as txn:
                    txn.put(b"k", b"v")
                env.close()
        gc.set_threshold(*thresholds)

    work = threading.Thread(target=open_everywhere, daemon=True)
    work.start()
    work.join(20)
    assert not work.is_alive(), "it waits for itself"
    gc.collect()
    for path in paths:
        with lmdb.open(path, subdir=False):  # refused while it is open
            pass


def test_transaction_that_raises_writes_nothing(tmp_path: Path) -> None:
    """Half a group of records must never be seen."""
    env = open_segment(str(tmp_path / "segment"), map_size=MAP_SIZE)

    def write_and_fail() -> None:
        with env.transaction(write=True) as txn:
            txn.put(b"k", b"v")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    with env.transaction() as txn:
        assert env.entries_in(txn) == 0
    env.close()


def test_full_map_is_told_apart_from_damage_t130(tmp_path: Path) -> None:
    """The one is answered with more room and a second try of the whole, the other with a copy of the file."""
    env = open_segment(str(tmp_path / "segment"), map_size=16_384)

    def write(entries: dict[bytes, bytes]) -> None:
        with env.transaction(write=True) as txn:
            for key, value in entries.items():
                txn.put(key, value)

    with pytest.raises(MapFullError, match="16384 bytes is full"):
        write({b"%d" % number: b"v" * 1_000 for number in range(100)})
    with pytest.raises(StoreError, match="LMDB says"):
        write({b"k" * 512: b"v"})
    with env.transaction() as txn:
        assert env.entries_in(txn) == 0
    env.close()


def test_environment_is_refused_in_a_forked_child(tmp_path: Path) -> None:
    """LMDB in a child that inherited it breaks the parent's file."""
    env = open_segment(str(tmp_path / "segment"), map_size=MAP_SIZE)
    env._pid = os.getpid() + 1
    for use in (env.begin_reading, env.transaction().__enter__):
        with pytest.raises(InvariantError, match="before fork"):
            use()
    env._pid = os.getpid()
    env.close()


def test_building_file_has_a_new_name_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    """A layer's name is never used twice, and state is private."""
    path = str(tmp_path / "layer")
    env = create_building(path, MAP_SIZE)
    with env.transaction(write=True) as txn:
        txn.put(b"k", b"v")
    env.close()
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["layer"]
    with pytest.raises(StoreError, match="exists already"):
        create_building(path, MAP_SIZE)


def test_files_do_not_carry_our_memory(tmp_path: Path) -> None:
    """Layers are copied and sent on: unused parts of their pages must be zero, not old heap."""
    secret = [b"secret-%d" % number * 500 for number in range(2_000)]
    del secret
    env = create_building(str(tmp_path / "layer"), MAP_SIZE)
    with env.transaction(write=True) as txn:
        for number in range(200):
            txn.put(b"%d" % number, b"v" * 700)
    env.close()
    assert b"secret-" not in (tmp_path / "layer").read_bytes()


def test_late_close_after_a_simulated_crash_leaves_the_successor_open(tmp_path: Path) -> None:
    """`close_all` forgets everyone; the one who closes late must not close what was opened since."""
    path = str(tmp_path / "layer")
    building = create_building(path, MAP_SIZE)
    with building.transaction(write=True) as txn:
        txn.put(b"k", b"v")
    building.close()
    dead = open_layer(path)
    close_all()
    alive = open_layer(path)
    dead.close()
    assert open_layer(path) is alive
    with alive.transaction() as reading:
        assert reading.get(b"k") == b"v"
    alive.close()
    alive.close()


def test_file_may_be_opened_while_another_thread_closes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMDB refuses a second environment of one file: the first must be gone before anybody may think so."""
    path = str(tmp_path / "segment")
    unmap = Env._unmap
    opened: list[Future[Env]] = []

    def unmap_after_somebody_asked(env: Env) -> None:
        if not opened:
            opened.append(threads.submit(open_segment, path, map_size=MAP_SIZE, readonly=True))
            wait(opened, timeout=0.1)
        unmap(env)

    monkeypatch.setattr(Env, "_unmap", unmap_after_somebody_asked)
    with ThreadPoolExecutor(1) as threads:
        open_segment(path, map_size=MAP_SIZE).close()
        opened[0].result().close()


class Panicked:
    """An environment whose meta page could not be written: LMDB refuses everything until it is opened anew."""

    def __init__(self, real: lmdb.Environment) -> None:
        self.close, self.info = real.close, real.info

    def begin(self, **_: object) -> None:
        """Refuse."""
        raise lmdb.PanicError("MDB_PANIC")


def panic(env: Env) -> None:
    env._env = Panicked(env._env)  # type: ignore[assignment]


def test_panicked_environment_is_opened_anew(tmp_path: Path) -> None:
    env = open_segment(str(tmp_path / "segment"), map_size=MAP_SIZE)
    with env.transaction(write=True) as txn:
        txn.put(b"k", b"v")
    panic(env)
    with env.transaction() as txn:
        assert txn.get(b"k") == b"v"
    assert env.last_transaction == 1
    env.close()


def test_environment_that_could_not_be_opened_anew_says_so_in_our_words_and_is_tried_again(tmp_path: Path) -> None:
    """The disk is still full at that moment; a reader looks for new records meanwhile."""
    path = tmp_path / "segment"
    env = open_segment(str(path), map_size=MAP_SIZE)
    with env.transaction(write=True) as txn:
        txn.put(b"k", b"v")
    panic(env)
    path.rename(tmp_path / "away")
    path.mkdir()
    for _ in range(2):
        with pytest.raises(StoreError, match="segment"), env.transaction():
            pass
        with pytest.raises(StoreError, match="segment"):
            _ = env.last_transaction
    path.rmdir()
    (tmp_path / "away").rename(path)
    with env.transaction() as txn:
        assert txn.get(b"k") == b"v"
    assert env.last_transaction == 1
    env.close()
