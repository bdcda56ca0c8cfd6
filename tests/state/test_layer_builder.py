"""Building layers: any number of runs, in any order, one durable file or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorstream.errors import InvariantError, StoreError
from actorstream.state import layer_builder
from actorstream.state.layer import open_checked
from actorstream.state.layer_builder import LayerBuilder, write_layer
from actorstream.system.files import RealFiles

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.state.entries import Entry
    from tests.state.rig import Shelf

ENTRIES: list[Entry] = [(b"prefix" + bytes((n,)), bytes((n,)) * 40) for n in range(50)]


def runs_of(entries: list[Entry], length: int) -> list[list[Entry]]:
    return [entries[at : at + length] for at in range(0, len(entries), length)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    keys=st.sets(st.binary(min_size=2, max_size=8).map(lambda key: b"\x01" + key), max_size=60),
    length=st.integers(1, 20),
    how=st.sampled_from(["in order", "sorted runs", "alone"]),
    data=st.data(),
)
def test_every_way_of_building_gives_the_same_entries(
    shelf: Shelf, keys: set[bytes], length: int, how: str, data: st.DataObject
) -> None:
    """Also when runs are put in several transactions, and there are more entries than one sort may span."""
    expected = [(key, key * 3) for key in sorted(keys)]
    given_ = expected if how == "in order" else data.draw(st.permutations(expected))
    builder = LayerBuilder(
        shelf.files, f"{shelf.folder}/{shelf.name()}", in_order=how == "in order", alone=how == "alone"
    )
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("_WAITING_BYTES", "_ALONE_BYTES"):
            patch.setattr(layer_builder, limit, data.draw(st.sampled_from([0, 1_000, 1 << 20])))
        patch.setattr(layer_builder, "SORT_ENTRIES_MAX", data.draw(st.sampled_from([1, 7, 10_000])))
        patch.setattr(layer_builder, "_RUNS_AT_ONCE", data.draw(st.integers(1, 3)))
        for run in runs_of(given_, length):
            builder.add(run)
        file = builder.finish()
    assert builder.entries == file.entries == len(expected)
    with open_checked(shelf.files, shelf.path(file), file) as layer:
        assert list(layer.scan(b"")) == expected
        assert all(layer.may_hold(key) for key in keys)


@pytest.mark.parametrize("how", ["in order", "sorted runs", "alone"])
def test_full_map_grows_and_only_what_waits_is_put_again_t130(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A map that was too small costs time, never entries; also for the filter, which comes last."""
    monkeypatch.setattr(layer_builder, "_MAP_BYTES", 16_384)
    monkeypatch.setattr(layer_builder, "_WAITING_BYTES", 100_000)
    large = [(b"key" + number.to_bytes(2), number.to_bytes(2) * 2_000) for number in range(300)]
    large += [(b"kez" + number.to_bytes(2), b"") for number in range(20_000)]
    with LayerBuilder(
        shelf.files, f"{shelf.folder}/{shelf.name()}", in_order=how == "in order", alone=how == "alone"
    ) as builder:
        for run in runs_of(large, 90):
            builder.add(list(run))
        file = builder.finish()
    with open_checked(shelf.files, shelf.path(file), file) as layer:
        assert list(layer.scan(b"")) == large


@pytest.mark.parametrize("call", ["add", "finish"])
def test_builder_that_fails_leaves_no_file_and_is_over(shelf: Shelf, call: str) -> None:
    """A half layer under a good name could be taken for one; and its name is never used again."""

    class Failing(RealFiles):
        def sync(self, path: str, /) -> None:
            raise OSError(5, "Input/output error")

    path = f"{shelf.folder}/1-0-1.lmdb"
    builder = LayerBuilder(Failing(), path)
    if call == "add":
        with pytest.raises(TypeError):
            builder.add([(1, b"value")])  # type: ignore[list-item]
    else:
        builder.add(ENTRIES[:5])
        with pytest.raises(StoreError, match=r"1-0-1\.lmdb: cannot be written .*Input/output error"):
            builder.finish()
    assert list(shelf.folder.iterdir()) == []
    builder.abandon()
    for use in (lambda: builder.add(ENTRIES[:1]), builder.finish):
        with pytest.raises(InvariantError, match="finished or abandoned"):
            use()


def test_block_that_does_not_finish_abandons(shelf: Shelf) -> None:
    """Whatever happens to a writer, a child that is told to give up included."""
    with LayerBuilder(shelf.files, f"{shelf.folder}/1-0-1.lmdb") as builder:
        builder.add(ENTRIES[:5])
        assert list(shelf.folder.iterdir()) == [shelf.folder / "1-0-1.lmdb"]
    assert list(shelf.folder.iterdir()) == []


def test_content_and_name_are_durable_when_it_returns(tmp_path: Path) -> None:
    """An acknowledged checkpoint must survive a power cut: the file, then its folder."""
    calls: list[tuple[str, str]] = []

    class Watched(RealFiles):
        def sync(self, path: str, /) -> None:
            calls.append(("sync", path))
            super().sync(path)

        def sync_dir(self, path: str, /) -> None:
            calls.append(("sync_dir", path))
            super().sync_dir(path)

    folder = tmp_path / "layers"
    folder.mkdir()
    write_layer(Watched(), f"{folder}/1-0-1.lmdb", [ENTRIES])
    assert calls == [("sync", f"{folder}/1-0-1.lmdb"), ("sync_dir", str(folder))]
    assert (folder / "1-0-1.lmdb").stat().st_mode & 0o777 == 0o600


def test_taken_name_is_refused_and_left_alone(shelf: Shelf) -> None:
    """A checkpoint may list the file that has it."""
    file = shelf.write(ENTRIES)
    with pytest.raises(StoreError, match="never used twice"):
        write_layer(shelf.files, shelf.path(file), [[]])
    open_checked(shelf.files, shelf.path(file), file).release()


@pytest.mark.parametrize("waiting", [0, 1 << 20])
def test_entry_key_that_comes_twice_is_a_bug_t134(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, waiting: int) -> None:
    """Two freezes of one owner in one file would have it: one of the two would be lost."""
    monkeypatch.setattr(layer_builder, "_WAITING_BYTES", waiting)
    with pytest.raises(InvariantError, match="T134"):
        shelf.write(ENTRIES, ENTRIES[3:4])
    assert list(shelf.folder.iterdir()) == []


def test_entries_that_are_not_in_the_order_announced_are_a_bug(shelf: Shelf) -> None:
    """LMDB would pass over them when it appends."""
    builder = LayerBuilder(shelf.files, f"{shelf.folder}/1-0-1.lmdb", in_order=True)
    builder.add([ENTRIES[1], ENTRIES[0]])
    with pytest.raises(InvariantError, match="out of order"):
        builder.finish()
    assert list(shelf.folder.iterdir()) == []
