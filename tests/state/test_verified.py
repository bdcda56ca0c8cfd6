"""The record of proofs: it spares reading, and never vouches for what was not read."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorstream.errors import StoreError
from actorstream.model.ids import LayerName
from actorstream.state import verified
from actorstream.state.layer_builder import write_layer
from actorstream.state.verified import RECORD, identity_of, note, prove
from actorstream.system.files import RealFiles
from actorstream.testing.disk import SimulatedDisk, temporary_disk
from actorstream.testing.faults import FaultyFiles
from tests.state.rig import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actorstream.state.layer import LayerFile


class Store:
    """Three layers on a disk that can lose power."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self.folder = f"{disk.root}/layers"
        disk.make_dirs(self.folder)
        names = [f"1-0-{number}.lmdb" for number in range(3)]
        self.layers = {
            f"{self.folder}/{name}": write_layer(disk, f"{self.folder}/{name}", [[(b"key" + name.encode(), b"value")]])
            for name in names
        }
        self.record = self.folder + RECORD

    def read_by_prove(self) -> list[str]:
        """Prove all in a new process; give which files were read for it."""
        reader = Reader(self.disk)
        prove(reader, self.layers)
        return sorted(reader.read_files)

    @property
    def names(self) -> list[str]:
        return [path.rpartition("/")[2] for path in self.layers]


@pytest.fixture
def store() -> Iterator[Store]:
    with temporary_disk() as disk:
        yield Store(disk)


def flip(path: str, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes((byte ^ 0x20,)))


def test_what_this_machine_wrote_is_not_read_after_a_process_crash(store: Store) -> None:
    """A restart must not grow with the state."""
    store.disk.kill()
    assert store.read_by_prove() == []


def test_everything_is_read_once_after_a_power_cut(store: Store) -> None:
    """Only what was synced survives one, and the file system decides what else; then the proof holds for that boot."""
    store.disk.sync_dir(store.disk.root)
    store.disk.power_cut(random.Random(3))
    assert store.read_by_prove() == store.names
    assert store.read_by_prove() == []


def test_without_a_record_all_is_read_and_noted(store: Store) -> None:
    store.disk.unlink(store.record)
    assert store.read_by_prove() == store.names
    assert store.read_by_prove() == []


def test_changed_file_is_read_and_refused_whatever_was_noted(store: Store) -> None:
    """One byte through the file system is enough, at any place; mended, it is good again and read again."""
    for path, file in store.layers.items():
        for at in range(0, file.size, 701):
            flip(path, at)
            with pytest.raises(StoreError, match=rf"{file.name}: digest .* it is damaged"):
                prove(store.disk, store.layers)
            flip(path, at)
        store.disk.unlink(path)
        with pytest.raises(StoreError, match=f"{file.name}: cannot be read"):
            prove(store.disk, store.layers)
        write_layer(store.disk, path, [[(b"key" + file.name.encode(), b"value")]])


def test_note_counts_only_for_the_digest_that_was_calculated(store: Store) -> None:
    """A manifest that expects other content under the name is not answered with what was once read."""
    (path, file), *_ = store.layers.items()
    with pytest.raises(StoreError, match="it is damaged"):
        prove(store.disk, {path: replace(file, digest="0" * 32)})


def test_change_while_it_is_read_is_not_vouched_for(store: Store) -> None:
    """The identity is asked before the reading: the file may change behind the reader's back, in what was read."""
    store.disk.unlink(store.record)

    class ChangedMeanwhile(Reader):
        def chunks(self, path: str, /) -> Iterator[bytes]:
            yield from super().chunks(path)
            flip(path, 0)

    prove(ChangedMeanwhile(store.disk), store.layers)
    with pytest.raises(StoreError, match="it is damaged"):
        prove(store.disk, store.layers)


def test_change_right_after_it_was_written_is_not_vouched_for(store: Store) -> None:
    """A new file counts as it was digested, not as it was when that was over."""

    class ChangedMeanwhile(Reader):
        def chunks(self, path: str, /) -> Iterator[bytes]:
            yield from super().chunks(path)
            flip(path, 0)

    path = f"{store.folder}/2-0-1.lmdb"
    file = write_layer(ChangedMeanwhile(store.disk), path, [[(b"key", b"value")]])
    with pytest.raises(StoreError, match="it is damaged"):
        prove(store.disk, {path: file})


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 800), st.integers(0, 255) | st.none()), min_size=1, max_size=4), st.data())
def test_damaged_record_costs_reading_and_nothing_else(
    store: Store, damage: list[tuple[int, int | None]], data: st.DataObject
) -> None:
    """Torn, overwritten, or out of date: a damaged file never passes, a good one always does."""
    store.disk.unlink(store.record)
    prove(store.disk, store.layers)
    with open(store.record, "r+b") as record:
        text = bytearray(record.read())
        for at, byte in damage:
            if byte is None:
                del text[at:]
            elif at < len(text):
                text[at] = byte
        record.seek(0)
        record.truncate()
        record.write(text)
    store.read_by_prove()
    assert store.read_by_prove() == []
    path = data.draw(st.sampled_from(list(store.layers)))
    flip(path, 100)
    with pytest.raises(StoreError, match="it is damaged"):
        prove(store.disk, store.layers)
    flip(path, 100)


def test_line_that_is_not_its_own_digests_vouches_for_nothing(store: Store) -> None:
    """A digest changed by one bit could be that of the damaged file."""
    (path, file), *_ = store.layers.items()
    wrong = file.digest[:-1] + ("0" if file.digest[-1] != "0" else "1")
    with open(store.record, "r+b") as record:
        text = record.read().replace(file.digest.encode(), wrong.encode(), 1)
        record.seek(0)
        record.write(text)
    with pytest.raises(StoreError, match="it is damaged"):
        prove(store.disk, {path: replace(file, digest=wrong)})


def test_disk_that_takes_no_record_hinders_nothing(store: Store) -> None:
    """A read-only store, a full disk: only the reading is not spared."""

    class Refusing(Reader):
        def append(self, path: str, data: bytes, /) -> None:
            raise OSError(30, "Read-only file system")

        def identity(self, path: str, /) -> str:
            raise OSError(5, "Input/output error")

        def read(self, path: str, /) -> bytes:
            raise OSError(5, "Input/output error")

    files = Refusing(store.disk)
    file = write_layer(files, f"{store.folder}/2-0-1.lmdb", [[(b"key", b"value")]])
    prove(files, {f"{store.folder}/2-0-1.lmdb": file})
    assert files.read_files == ["2-0-1.lmdb", "2-0-1.lmdb"]


def test_progress_is_told_and_may_end_the_reading(store: Store) -> None:
    """A restore of a large state after a reboot takes its time: one sees it go on, and can stop it."""
    store.disk.unlink(store.record)
    told: list[tuple[int, int]] = []
    prove(store.disk, store.layers, lambda *reading: told.append(reading))
    total = sum(file.size for file in store.layers.values())
    assert told == [(sum(file.size for file in list(store.layers.values())[: n + 1]), total) for n in range(3)]
    told.clear()
    prove(store.disk, store.layers, lambda *reading: told.append(reading))
    assert told == []
    store.disk.unlink(store.record)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prove(store.disk, store.layers, stop)
    assert store.read_by_prove() == store.names


def test_record_stays_small_and_keeps_what_is_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer a second for a year is 30,000,000 lines."""
    monkeypatch.setattr(verified, "_RECORD_BYTES_MAX", 3_000)
    file = next(iter(store.layers.values()))
    for number in range(200):
        gone = replace(file, name=LayerName(f"2-0-{number}.lmdb"))
        note(store.disk, store.folder, [(gone, "some identity")])
        assert store.disk.size(store.record) <= 3_000
    assert store.read_by_prove() == []
    layers: dict[str, LayerFile] = {}
    reader = Reader(store.disk)
    for number in range(60):  # more files than there is room for: the newest are remembered
        path = f"{store.folder}/3-0-{number}.lmdb"
        layers[path] = write_layer(store.disk, path, [[(b"key", b"value")]])
        assert store.disk.size(store.record) <= 3_000
        prove(reader, dict(list(layers.items())[-5:]))
        assert reader.read_files == []


def test_files_are_proved_several_at_a_time_on_a_real_disk(tmp_path: Path) -> None:
    """What was no longer young when it was read is spared the next reading; a byte changed after that is found."""
    folder = tmp_path / "layers"
    folder.mkdir()
    layers: dict[str, LayerFile] = {}
    for number in range(6):
        path = f"{folder}/1-0-{number}.lmdb"
        layers[path] = write_layer(RealFiles(), path, [[(b"key%d" % number, bytes(100_000))]])
    with suppress(FileNotFoundError):
        os.unlink(f"{folder}{RECORD}")
    while any(identity_of(RealFiles(), path) != identity_of(RealFiles(), path) for path in layers):
        pass  # until the youngest is 20 ms old
    reader = FaultyFiles(RealFiles())
    told: list[int] = []
    prove(reader, layers, lambda done, total: told.append(done))
    assert told == sorted(told)
    assert told[-1] == sum(file.size for file in layers.values())
    reader = FaultyFiles(RealFiles())
    prove(reader, layers)
    assert [call.path for call in reader.calls if call.path.endswith(".lmdb")] == list(layers)
    flip(next(iter(layers)), 5_000)
    with pytest.raises(StoreError, match="it is damaged"):
        prove(RealFiles(), layers)
