"""Savepoints as folders: self-contained, whole or not there, never in the way of the job's own checkpoints."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.checkpoints.manifest import seal
from actorstream.checkpoints.savepoints import (
    SnapshotPlace,
    check_name,
    delete_savepoint,
    find_snapshot,
    read_snapshot,
    verify_snapshot,
)
from actorstream.errors import FencedError, PlanError, StoreError
from actorstream.model.ids import CheckpointId
from actorstream.system.files import RealFiles
from tests.checkpoints.stepped_files import AtStep, Crash, SteppedFiles, Switch, crash, fail_at
from tests.checkpoints.stores import manifest_of, start, write_layer

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.checkpoints.manifest import Manifest
    from actorstream.protocol.attempts import Claim


class Store:
    """An open store with checkpoint 1, whose layer is listed again by what comes next."""

    def __init__(self, root: Path) -> None:
        """Publish checkpoint 1; then set `hook.then`."""
        self.root = root
        self.hook = Switch()
        self.directory, self.claim = start(root, files=SteppedFiles(self.hook))
        self.layers = [write_layer(self.directory, "1-0-1.lmdb", b"one"), write_layer(self.directory, "1-0-2.lmdb")]
        self.directory.publish(manifest_of(self.claim, 1, self.layers[:1]))

    def manifest(self, checkpoint: int = 2) -> Manifest:
        """Give what a savepoint of this id would say."""
        return manifest_of(self.claim, checkpoint, self.layers)

    def make(self, name: str = "before", checkpoint: int = 2) -> SnapshotPlace:
        """Make a savepoint."""
        return self.directory.publish_savepoint(self.manifest(checkpoint), name)


class Successor:
    """The next attempt, which takes over while the old one works."""

    def __init__(self, root: Path) -> None:
        """Do nothing yet."""
        self._root = root
        self.claim: Claim | None = None
        self.saw = False

    def start(self) -> None:
        """Take over; see whether there is a savepoint."""
        _, self.claim = start(self._root)
        self.saw = found(self._root) is not None


def found(root: Path, name: str = "before") -> Manifest | None:
    """Give a savepoint that is there, proved to the last byte; None if there is none."""
    folder = str(root / "savepoints" / name)
    if not os.path.exists(f"{folder}/manifest.json"):
        return None
    place = find_snapshot(RealFiles(), folder)
    manifest = read_snapshot(RealFiles(), place)
    assert verify_snapshot(RealFiles(), place, manifest) == []
    return manifest


def test_a_savepoint_holds_all_it_needs_wherever_it_is_moved(tmp_path: Path) -> None:
    """The store may go."""
    store = Store(tmp_path / "store")
    place = store.make()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(place.folder, elsewhere)
    shutil.rmtree(store.root)

    moved = find_snapshot(RealFiles(), str(elsewhere))
    manifest = read_snapshot(RealFiles(), moved)
    assert verify_snapshot(RealFiles(), moved, manifest) == []
    assert replace(manifest, digest="") == store.manifest()


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """It holds what users are."""
    place = Store(tmp_path / "store").make()

    for folder, _, names in os.walk(place.folder):
        assert os.stat(folder).st_mode & 0o777 == 0o700
        for name in names:
            assert name != "manifest.json" or os.stat(f"{folder}/{name}").st_mode & 0o777 == 0o600


def test_a_checkpoint_of_a_store_is_found_with_the_store_s_layers(tmp_path: Path) -> None:
    """So that any checkpoint can be restored into another store."""
    store = Store(tmp_path / "store")
    place = find_snapshot(RealFiles(), str(store.root / "checkpoints" / "1"))

    assert place.layers == str(store.root / "layers")
    assert verify_snapshot(RealFiles(), place, read_snapshot(RealFiles(), place)) == []


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "-x", "a b", "x" * 129, "a\n", "ä"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    """A name becomes a folder."""
    with pytest.raises(PlanError, match="a savepoint cannot be called"):
        check_name(name)


def test_a_second_one_of_a_name_is_refused_and_the_first_one_stays(tmp_path: Path) -> None:
    """Nobody's savepoint is ever replaced."""
    store = Store(tmp_path)
    store.make()
    before = found(tmp_path)

    with pytest.raises(StoreError, match=r"is a savepoint already: give the new one another name"):
        store.make(checkpoint=3)
    assert found(tmp_path) == before


def test_what_somebody_else_put_under_the_name_stays(tmp_path: Path) -> None:
    """An import that is under way, or a person's notes."""
    store = Store(tmp_path)
    (tmp_path / "savepoints" / "before").mkdir(parents=True)
    (tmp_path / "savepoints" / "before" / "notes.txt").write_text("mine")

    with pytest.raises(StoreError, match="no job has made"):
        store.make()
    assert (tmp_path / "savepoints" / "before" / "notes.txt").read_text() == "mine"


def test_layers_are_copied_where_they_cannot_be_linked(tmp_path: Path) -> None:
    """Another file system: the bytes go along, synced."""
    store = Store(tmp_path)
    store.hook.then = fail_at("link", ".lmdb", errno.EXDEV)
    store.make()

    assert found(tmp_path) is not None
    assert os.stat(tmp_path / "savepoints/before/layers/1-0-1.lmdb").st_nlink == 1


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_failure_at_any_step_leaves_none_or_a_whole_one(tmp_path: Path, error: int) -> None:
    """And the name can be used once the disk is well again, unless it is there."""
    number, over = 0, False
    outcomes = set()
    while not over:
        root = tmp_path / str(number)
        store = Store(root)

        def fail() -> None:
            raise OSError(error, os.strerror(error))

        store.hook.then = hook = AtStep(number, fail)
        try:
            store.make()
            made = True
        except StoreError:
            made = False
        outcomes.add((made, found(root) is not None))
        assert found(root) is not None or not made
        if found(root) is None:
            store.hook.then = AtStep(-2, fail)
            store.make(checkpoint=3)
            assert found(root) is not None
        over = not hook.fired
        number += 1
    assert outcomes == {(True, True), (False, False), (False, True)}


def test_a_crash_at_any_step_leaves_none_or_a_whole_one_and_the_next_attempt_tidies_up(tmp_path: Path) -> None:
    """Whole ones count in the row of ids, too (T81)."""
    number, over = 0, False
    while not over:
        root = tmp_path / str(number)
        store = Store(root)
        store.hook.then = hook = AtStep(number, crash)
        with suppress(Crash):
            store.make()
        directory, claim = start(root)
        there = found(root)
        if there is None:
            assert not (root / "savepoints/before").exists(), number
            place = directory.publish_savepoint(replace(manifest_of(claim, 9), layers=store.layers), "before")
            assert verify_snapshot(RealFiles(), place, read_snapshot(RealFiles(), place)) == []
        else:
            assert claim.first_checkpoint > there.checkpoint
        over = not hook.fired
        number += 1
    assert number > 12


def test_a_start_removes_no_link_to_a_savepoint_whose_disk_is_away(tmp_path: Path) -> None:
    store = Store(tmp_path)
    away = tmp_path / "savepoints" / "before"
    store.make()
    away.rename(tmp_path / "other disk")
    away.symlink_to(tmp_path / "unmounted")
    start(tmp_path)

    assert away.is_symlink()


def test_an_attempt_that_was_replaced_finishes_no_savepoint_that_the_new_one_has_not_seen(tmp_path: Path) -> None:
    """At every step of the old one, the whole start of the new one."""
    number, over = 0, False
    seen = set()
    while not over:
        root = tmp_path / str(number)
        store, new = Store(root), Successor(root)
        store.hook.then = hook = AtStep(number, new.start)
        try:
            store.make()
            made = True
        except (StoreError, FencedError):
            made = False
        if new.claim is not None:
            assert (found(root) is not None) == new.saw
            if new.saw:
                assert new.claim.first_checkpoint > 2
            seen.add(made)
        over = not hook.fired
        number += 1
    assert seen == {True, False}


def test_retention_neither_counts_nor_touches_savepoints_t78(tmp_path: Path) -> None:
    """T78: the newest real checkpoint stays, and a savepoint outlives every checkpoint it shares layers with."""
    store = Store(tmp_path)
    store.make()
    third = manifest_of(store.claim, 3, store.layers[1:])
    store.directory.publish(third)

    deleted = store.directory.retire(keep=1, in_use=[])
    assert deleted == ["checkpoints/1", "layers/1-0-1.lmdb"]
    assert store.directory.checkpoint_ids() == [CheckpointId(3)]
    assert found(tmp_path) is not None


def test_a_deletion_that_is_cut_anywhere_leaves_a_whole_one_or_none(tmp_path: Path) -> None:
    """And can be done again."""
    number, over = 0, False
    halves = 0
    while not over:
        root = tmp_path / str(number)
        place = Store(root).make()
        switch = Switch()
        switch.then = hook = AtStep(number, crash)
        with suppress(Crash):
            delete_savepoint(SteppedFiles(switch), place.folder)
        if found(root) is None and os.path.exists(place.folder):
            halves += 1
            with pytest.raises(StoreError, match=r"was not finished, or one that is being deleted|, but nothing"):
                find_snapshot(RealFiles(), place.folder)
        if os.path.exists(place.folder):
            delete_savepoint(RealFiles(), place.folder)
        assert not os.path.exists(place.folder)
        over = not hook.fired
        number += 1
    assert halves > 2


def test_what_is_no_savepoint_is_not_deleted(tmp_path: Path) -> None:
    """A typing error must not cost a folder."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").write_bytes(b"")

    with pytest.raises(StoreError, match=r"is no savepoint.*nothing was deleted"):
        delete_savepoint(RealFiles(), str(tmp_path / "photos"))
    assert (tmp_path / "photos" / "one.png").exists()


def test_what_cannot_be_read_says_what_was_found(tmp_path: Path) -> None:
    """Missing, unfinished, foreign, damaged, newer, a layer gone or cut."""
    store = Store(tmp_path / "store")
    place = store.make()
    files = RealFiles()

    with pytest.raises(StoreError, match="is not there"):
        find_snapshot(files, str(tmp_path / "nowhere"))
    (tmp_path / "photos").mkdir()
    with pytest.raises(StoreError, match=r"holds no manifest.json, but nothing"):
        find_snapshot(files, str(tmp_path / "photos"))
    whole = (tmp_path / "store/savepoints/before/manifest.json").read_bytes()
    path = tmp_path / "store/savepoints/before/manifest.json"
    path.write_bytes(whole[:-9])
    with pytest.raises(StoreError, match="is damaged"):
        read_snapshot(files, place)
    newer = seal(store.manifest()).replace(b'"format": 1', b'"format": 9')
    path.write_bytes(newer)
    with pytest.raises(StoreError, match="is damaged"):
        read_snapshot(files, place)
    path.write_bytes(whole)
    layer = tmp_path / "store/savepoints/before/layers/1-0-2.lmdb"
    layer.unlink()
    with pytest.raises(StoreError, match=r"1-0-2\.lmdb"):
        read_snapshot(files, place)
    layer.write_bytes(b"lay")
    with pytest.raises(StoreError, match="has 3 bytes, expected 5"):
        read_snapshot(files, place)
    layer.write_bytes(b"LAYER")
    (problem,) = verify_snapshot(files, place, read_snapshot(files, place))
    assert "1-0-2.lmdb has 5 bytes with digest" in problem


def test_ids_go_on_above_those_of_savepoints_t81(tmp_path: Path) -> None:
    """T81: one row for both; another job's savepoint, put here by a person, does not count."""
    store = Store(tmp_path)
    store.make(checkpoint=7)
    store.directory.close()
    foreign = tmp_path / "savepoints" / "foreign"
    shutil.copytree(tmp_path / "savepoints" / "before", foreign)
    (foreign / "manifest.json").write_bytes(seal(manifest_of(store.claim, 99, store.layers, job="f" * 32)))

    _, claim = start(tmp_path)
    assert claim.first_checkpoint == 8


def test_the_number_of_a_savepoint_that_was_moved_away_is_not_given_again_t81(tmp_path: Path) -> None:
    """T81: restored here later, it would pass for the checkpoint that had its number."""
    store = Store(tmp_path)
    place = store.make(checkpoint=7)
    store.directory.close()
    shutil.move(place.folder, tmp_path / "usb stick")

    _, claim = start(tmp_path)
    assert claim.first_checkpoint == 8


def test_a_damaged_savepoint_does_not_keep_the_job_from_starting(tmp_path: Path) -> None:
    """Whoever restores it is told."""
    store = Store(tmp_path)
    place = store.make()
    with open(f"{place.folder}/manifest.json", "ab") as file:
        file.write(b"x")

    directory, _ = start(tmp_path)
    assert isinstance(directory, CheckpointDirectory)
    with pytest.raises(StoreError, match="is damaged"):
        read_snapshot(RealFiles(), place)
