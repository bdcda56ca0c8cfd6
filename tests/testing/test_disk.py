"""What a machine may find after a power cut: each rule by an example, then by drawing many."""

from __future__ import annotations

import errno
import os
import random
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actorstream.state.lmdb_env import create_building, open_layer, open_segment
from actorstream.testing.disk import SimulatedDisk, temporary_disk
from actorstream.testing.loop import SimulatedCrash

if TYPE_CHECKING:
    from collections.abc import Iterator

from tests.testing.cutting import CUTS, folders_for_cuts, found_after_cuts, write


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Folders for the disks of one test."""
    with folders_for_cuts() as folder:
        yield folder


def test_an_unsynced_name_may_be_lost_and_a_synced_one_never(tmp_path: Path) -> None:
    """Content alone is not enough: a file is found by its name, which lives in the folder."""

    def unsynced(disk: SimulatedDisk) -> None:
        write(disk, f"{disk.root}/a", b"data")

    def synced(disk: SimulatedDisk) -> None:
        unsynced(disk)
        disk.sync_dir(disk.root)

    assert found_after_cuts(tmp_path, unsynced) == {(), (("a", b"data"),)}


def test_synced_content_under_a_synced_name_survives_always(tmp_path: Path) -> None:
    """The promise that publishing a manifest rests on."""

    def synced(disk: SimulatedDisk) -> None:
        write(disk, f"{disk.root}/a", b"data")
        disk.sync_dir(disk.root)

    assert found_after_cuts(tmp_path, synced) == {(("a", b"data"),)}


def test_an_unsynced_tail_is_torn(tmp_path: Path) -> None:
    """Any prefix of what was appended since the last sync, or zeros for what was not written yet."""

    def append(disk: SimulatedDisk) -> None:
        file = disk.create(f"{disk.root}/a")
        file.write(b"head")
        file.sync()
        disk.sync_dir(disk.root)
        file.write(b"tail")
        file.close()

    contents = {dict(names)["a"] for names in found_after_cuts(tmp_path, append)}

    assert {b"head", b"headtail", b"headta", b"headt\0\0\0"} <= contents
    assert all(b"headtail".startswith(content.rstrip(b"\0")) for content in contents)
    assert all(content.startswith(b"head") and len(content) <= 8 for content in contents)


def test_linking_does_not_sync_the_content(tmp_path: Path) -> None:
    """A manifest linked to its final name before its content was synced may be found torn there."""

    def publish(disk: SimulatedDisk) -> None:
        write(disk, f"{disk.root}/tmp", b"manifest", sync=False)
        disk.link(f"{disk.root}/tmp", f"{disk.root}/final")
        disk.sync_dir(disk.root)

    found = [dict(names) for names in found_after_cuts(tmp_path, publish)]

    assert all(names["tmp"] == names["final"] for names in found)
    assert {b"", b"manifest"} < {names["final"] for names in found}


def test_a_link_survives_power_cuts_as_one_file(tmp_path: Path) -> None:
    """Two names of a layer must not become two copies: identity is what the registry of open files knows."""
    disk = SimulatedDisk(tmp_path)
    write(disk, f"{tmp_path}/a", b"data")
    disk.link(f"{tmp_path}/a", f"{tmp_path}/b")
    disk.sync_dir(disk.root)
    disk.power_cut(random.Random(0))
    disk.unlink(f"{tmp_path}/a")
    disk.sync_dir(disk.root)
    disk.power_cut(random.Random(0))

    assert disk.read(f"{tmp_path}/b") == b"data"
    assert not disk.exists(f"{tmp_path}/a")


def test_changes_of_a_folder_survive_in_their_order(tmp_path: Path) -> None:
    """Of link, unlink, create a prefix survives: never a later change without the earlier ones."""

    def change(disk: SimulatedDisk) -> None:
        write(disk, f"{disk.root}/tmp", b"x")
        disk.sync_dir(disk.root)
        disk.link(f"{disk.root}/tmp", f"{disk.root}/final")
        disk.unlink(f"{disk.root}/tmp")
        write(disk, f"{disk.root}/next", b"y")

    tmp, final, following = ("tmp", b"x"), ("final", b"x"), ("next", b"y")

    assert found_after_cuts(tmp_path, change) == {(tmp,), (final, tmp), (final,), (final, following)}


def test_a_file_that_is_renamed_has_one_of_its_names(tmp_path: Path) -> None:
    """Never both, never none: also where the new name was another's."""

    def change(disk: SimulatedDisk) -> None:
        write(disk, f"{disk.root}/new", b"old")
        disk.sync_dir(disk.root)
        write(disk, f"{disk.root}/a", b"x")
        disk.rename(f"{disk.root}/a", f"{disk.root}/new")

    kept = ("new", b"old")
    assert found_after_cuts(tmp_path, change) == {(kept,), (("a", b"x"), kept), (("new", b"x"),)}


def test_a_name_is_moved_within_its_folder_only(tmp_path: Path) -> None:
    """From one folder to another it may be in both after a power cut, or in none."""
    disk = SimulatedDisk(tmp_path)
    disk.make_dirs(f"{tmp_path}/b")
    write(disk, f"{tmp_path}/a", b"x")
    with pytest.raises(ValueError, match="within its folder"):
        disk.rename(f"{tmp_path}/a", f"{tmp_path}/b/a")
    with pytest.raises(FileNotFoundError):
        disk.rename(f"{tmp_path}/none", f"{tmp_path}/a")


def test_folders_are_independent(tmp_path: Path) -> None:
    """Syncing one folder says nothing about another: a layer's folder is synced before the manifest's."""

    def change(disk: SimulatedDisk) -> None:
        for folder in ("layers", "checkpoints"):
            disk.make_dirs(f"{disk.root}/{folder}")
            write(disk, f"{disk.root}/{folder}/1", b"")
        disk.sync_dir(f"{disk.root}/checkpoints")

    layers = set()
    for seed in range(CUTS):
        disk = SimulatedDisk(tmp_path / str(seed))
        change(disk)
        disk.power_cut(random.Random(seed))
        assert disk.list_dir(f"{disk.root}/checkpoints") == ["1"]
        layers.add(tuple(disk.list_dir(f"{disk.root}/layers")))
    assert layers == {(), ("1",)}


def test_an_unsynced_removal_may_come_back(tmp_path: Path) -> None:
    """Deleting old files is not over until the folder is synced; nothing may rely on their absence."""

    def remove(disk: SimulatedDisk) -> None:
        write(disk, f"{disk.root}/old", b"old")
        disk.sync_dir(disk.root)
        disk.unlink(f"{disk.root}/old")

    assert found_after_cuts(tmp_path, remove) == {(), (("old", b"old"),)}


def test_a_folder_that_is_lost_takes_its_files_along(tmp_path: Path) -> None:
    """Syncing inside a folder whose own name was never synced is of no use."""
    kept = set()
    for seed in range(CUTS):
        disk = SimulatedDisk(tmp_path / str(seed))
        disk.make_dir(f"{disk.root}/new")
        write(disk, f"{disk.root}/new/a", b"data")
        disk.sync_dir(f"{disk.root}/new")
        disk.power_cut(random.Random(seed))
        kept.add(disk.exists(f"{disk.root}/new/a"))
        assert disk.exists(f"{disk.root}/new") == disk.exists(f"{disk.root}/new/a")
    assert kept == {True, False}


def test_a_removed_folder_may_come_back(tmp_path: Path) -> None:
    """With the files whose removal was not synced either."""
    found = set()
    for seed in range(CUTS):
        disk = SimulatedDisk(tmp_path / str(seed))
        folder = f"{disk.root}/savepoint"
        disk.make_dirs(folder)
        write(disk, f"{folder}/a", b"data")
        disk.sync_dir(folder)
        disk.unlink(f"{folder}/a")
        disk.unlink(folder)
        disk.power_cut(random.Random(seed))
        found.add((disk.exists(folder), tuple(disk.list_dir(folder))))
    assert found == {(False, ()), (True, ()), (True, ("a",))}


def test_make_dirs_is_durable_also_for_a_folder_that_is_there(tmp_path: Path) -> None:
    """Whoever made it may have died before its name was durable."""
    disk = SimulatedDisk(tmp_path)
    disk.make_dir(f"{tmp_path}/store")
    disk.make_dirs(f"{tmp_path}/store")
    disk.make_dirs(f"{tmp_path}/deep/er")
    disk.power_cut(random.Random(1))

    assert {"store", "deep"} <= set(disk.list_dir(disk.root))
    assert disk.list_dir(f"{tmp_path}/deep") == ["er"]


def test_a_killed_process_loses_nothing_of_what_it_wrote(tmp_path: Path) -> None:
    """The machine goes on: only syncs that matter for power are missing."""
    disk = SimulatedDisk(tmp_path / "0")
    write(disk, f"{disk.root}/a", b"data", sync=False)
    disk.kill()

    assert disk.read(f"{disk.root}/a") == b"data"


def test_a_failed_sync_is_not_made_good_by_another(tmp_path: Path) -> None:
    """Linux drops the bytes and reports success the second time: only a new file helps."""

    def retry(disk: SimulatedDisk) -> None:
        files = disk.attach(fail_at={3: errno.EIO})
        file = files.create(f"{disk.root}/a")
        file.write(b"data")
        with pytest.raises(OSError, match="Input/output error"):
            file.sync()
        file.sync()
        files.sync_dir(disk.root)

    assert {b"", b"data"} < {dict(names)["a"] for names in found_after_cuts(tmp_path, retry)}


def test_layers_built_by_lmdb_count_as_unsynced_until_synced(tmp_path: Path) -> None:
    """LMDB makes and fills the file behind our back; the caller's sync and sync_dir make it durable."""
    sizes, whole = set(), 0
    for seed in range(20):
        disk = SimulatedDisk(tmp_path / str(seed))
        path = f"{disk.root}/1.lmdb"
        building = create_building(path, 1 << 20)
        with building.transaction(write=True) as txn:
            txn.put(b"key", b"value")
        building.close()
        whole = disk.size(path)
        disk.sync_dir(disk.root)
        disk.power_cut(random.Random(seed))
        sizes.add(disk.size(path))
    assert {0, whole} < sizes


def test_a_synced_layer_can_be_opened_after_a_power_cut(tmp_path: Path) -> None:
    """Real files, real LMDB: what is durable is readable by it."""
    disk = SimulatedDisk(tmp_path / "0")
    path = f"{disk.root}/1.lmdb"
    building = create_building(path, 1 << 20)
    with building.transaction(write=True) as txn:
        txn.put(b"key", b"value")
    building.close()
    disk.sync(path)
    disk.sync_dir(disk.root)
    open_layer(path)
    disk.power_cut(random.Random(3))
    layer = open_layer(path)
    with layer.transaction() as txn:
        assert txn.get(b"key") == b"value"
    layer.close()


def test_a_commit_of_lmdb_is_durable_also_if_the_crash_comes_at_once() -> None:
    """LMDB orders its own syncs: a crash can come after its commit or before, never inside one we were told of."""
    for seed in range(20):
        with temporary_disk() as disk:
            files = disk.attach(crash_at=2)
            path = f"{disk.root}/log"
            segment = open_segment(path, map_size=1 << 20)
            files.sync_dir(disk.root)
            with segment.transaction(write=True) as txn:
                txn.put(b"key", b"value")
            with pytest.raises(SimulatedCrash, match="synced"):
                files.synced(path)
            disk.power_cut(random.Random(seed))
            segment = open_segment(path, map_size=1 << 20)
            with segment.transaction() as txn:
                assert txn.get(b"key") == b"value"
            segment.close()


def test_a_power_cut_says_what_was_lost_and_is_drawn_by_its_rng(tmp_path: Path) -> None:
    """The report of a failing seed shows it; the same draw gives the same disk."""
    reports = []
    for number in ("0", "1"):
        disk = SimulatedDisk(tmp_path / number)
        write(disk, f"{disk.root}/a", b"1234567890", sync=False)
        disk.sync_dir(disk.root)
        write(disk, f"{disk.root}/b", b"")
        lost = disk.power_cut(random.Random(2))
        reports.append(([line.replace(disk.root, "") for line in lost], disk.read(f"{disk.root}/a")))

    assert reports[0] == reports[1]
    assert reports[0][0]


def test_an_append_is_torn_like_any_write_until_it_is_synced(tmp_path: Path) -> None:
    """Any prefix of what was added since the last sync."""

    def append(disk: SimulatedDisk) -> None:
        path = f"{disk.root}/a"
        disk.append(path, b"safe ")
        disk.sync(path)
        disk.sync_dir(disk.root)
        disk.append(path, b"late")

    found = found_after_cuts(tmp_path, append)
    assert all(dict(names)["a"].rstrip(b"\0") == b"safe late"[: len(dict(names)["a"].rstrip(b"\0"))] for names in found)
    assert {b"safe ", b"safe late"} < {dict(names)["a"] for names in found}


def test_identity_lasts_while_the_file_is_unchanged_and_the_power_on(tmp_path: Path) -> None:
    """Also over the death of a process; a change that no call of ours makes shows too, as on a real disk."""
    disk = SimulatedDisk(tmp_path / "0")
    path = f"{disk.root}/a"
    write(disk, path, b"data")
    disk.sync_dir(disk.root)
    first = disk.attach().identity(path)
    disk.kill()
    assert disk.attach().identity(path) == first
    Path(path).write_bytes(b"late")
    assert disk.identity(path) != first
    Path(path).write_bytes(b"data")
    assert disk.identity(path) == first
    disk.power_cut(random.Random(1))
    assert disk.identity(path) != first
    with pytest.raises(FileNotFoundError):
        disk.identity(f"{disk.root}/missing")


def test_paths_are_read_one_after_the_other(tmp_path: Path) -> None:
    """Threads would make a run differ from the next."""
    disk = SimulatedDisk(tmp_path / "0")
    threads = disk.attach().read_each(lambda path: threading.current_thread(), ["a", "b", "c"])
    assert set(threads) == {threading.current_thread()}


def test_paths_outside_the_disk_are_refused(tmp_path: Path) -> None:
    """A program that writes elsewhere would survive its own crash."""
    disk = SimulatedDisk(tmp_path / "0")

    with pytest.raises(ValueError, match="is not on this disk"):
        disk.create(f"{tmp_path}/1/a")
    with pytest.raises(FileNotFoundError):
        disk.create(f"{disk.root}/nowhere/a")
    with pytest.raises(FileNotFoundError):
        disk.sync(f"{disk.root}/missing")
    disk.unlink(f"{disk.root}/missing")


def test_a_folder_removed_by_hand_does_not_upset_the_disk(tmp_path: Path) -> None:
    """Tests delete stores behind the program's back, then cut the power."""
    disk = SimulatedDisk(tmp_path / "0")
    disk.make_dirs(f"{disk.root}/store")
    write(disk, f"{disk.root}/store/a", b"data")
    disk.sync_dir(f"{disk.root}/store")
    os.unlink(f"{disk.root}/store/a")
    os.rmdir(f"{disk.root}/store")
    disk.sync_dir(disk.root)
    disk.power_cut(random.Random(0))

    assert disk.list_dir(disk.root) == []
