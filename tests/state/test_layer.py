"""Layer files: written durably, proved before they are opened, read in order, closed by the last user."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorstream.errors import InvariantError, StoreError
from actorstream.state import layer as layer_module
from actorstream.state.layer import open_checked, write_layer
from actorstream.state.lmdb_env import close_all
from actorstream.system.files import RealFiles

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.state.entries import Entry
    from tests.state.rig import Shelf

ENTRIES: list[Entry] = [(b"prefix" + bytes((n,)), bytes((n,)) * 40) for n in range(50)]


def test_what_was_written_is_read_in_the_order_of_the_keys(shelf: Shelf) -> None:
    """Parts come unsorted, in pieces."""
    file = shelf.write(ENTRIES[20:], ENTRIES[:20][::-1], [])
    with open_checked(shelf.files, shelf.path(file), file) as layer:
        assert file.entries == 50
        assert [layer.get(key) for key, _ in ENTRIES] == [value for _, value in ENTRIES]
        assert layer.get(b"prefix") is None
        assert list(layer.scan(b"")) == ENTRIES
        assert list(layer.scan(b"", reverse=True)) == ENTRIES[::-1]
    assert layer.closed


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_scan_gives_exactly_the_range(shelf: Shelf, data: st.DataObject) -> None:
    """Also where prefix or bound lie before, behind or beside every key, and with bytes FF."""
    part = st.binary(max_size=3).map(lambda raw: bytes(b"\x00a\xff"[byte % 3] for byte in raw))
    keys = sorted(data.draw(st.sets(part.map(lambda raw: b"\xff" + raw), max_size=12)))
    prefix = data.draw(part.map(lambda raw: b"\xff" + raw) | st.just(b""))
    start, stop = data.draw(st.none() | part), data.draw(st.none() | part)
    inside = [
        key
        for key in keys
        if key.startswith(prefix)
        and (start is None or key[len(prefix) :] >= start)
        and (stop is None or key[len(prefix) :] < stop)
    ]
    with shelf.layer([(key, b"v") for key in keys]) as layer:
        assert [key for key, _ in layer.scan(prefix, start, stop)] == inside
        assert [key for key, _ in layer.scan(prefix, start, stop, reverse=True)] == inside[::-1]


def test_large_layer_is_sorted_in_pieces(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit no sort spans more than it, and the file reads the same."""
    monkeypatch.setattr(layer_module, "SORT_ENTRIES_MAX", 7)
    with shelf.layer(ENTRIES[::-1], ENTRIES[:0]) as layer:
        assert list(layer.scan(b"prefix")) == ENTRIES


def test_full_map_grows_and_all_is_written_again_t130(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess that was too small costs time, never entries."""
    monkeypatch.setattr(layer_module, "_map_size_for", lambda parts: 16_384)
    large = [(key, value * 500) for key, value in ENTRIES]
    with shelf.layer(large) as layer:
        assert list(layer.scan(b"")) == large


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

    write_layer(Watched(), f"{tmp_path}/1-0-1.lmdb", [ENTRIES])
    assert calls == [("sync", f"{tmp_path}/1-0-1.lmdb"), ("sync_dir", str(tmp_path))]
    assert (tmp_path / "1-0-1.lmdb").stat().st_mode & 0o777 == 0o600


def test_failed_write_leaves_no_file(tmp_path: Path) -> None:
    """The disk fails in the sync: an error that names the file, and the name is free of half a layer."""

    class Failing(RealFiles):
        def sync(self, path: str, /) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"1-0-1\.lmdb.*No space left"):
        write_layer(Failing(), f"{tmp_path}/1-0-1.lmdb", [ENTRIES])
    assert list(tmp_path.iterdir()) == []


def test_taken_name_is_refused_and_left_alone(shelf: Shelf) -> None:
    """A checkpoint may list the file that has it."""
    file = shelf.write(ENTRIES)
    with pytest.raises(StoreError, match="never used twice"):
        write_layer(shelf.files, shelf.path(file), [[]])
    open_checked(shelf.files, shelf.path(file), file).release()


def test_entry_key_that_comes_twice_is_a_bug_t134(shelf: Shelf) -> None:
    """Two freezes of one owner in one file would have it: one of the two would be lost."""
    with pytest.raises(InvariantError, match="T134"):
        shelf.write(ENTRIES, ENTRIES[3:4])
    assert list(shelf.folder.iterdir()) == []


def test_damaged_file_is_an_error_and_never_opened(shelf: Shelf) -> None:
    """LMDB has no page checksums and dies by SIGBUS on a short file: size and digest are asked first."""
    file = shelf.write(ENTRIES)
    path = shelf.folder / file.name
    good = path.read_bytes()
    for at in range(0, len(good), 97):
        path.write_bytes(good[:at] + bytes((good[at] ^ 0x10,)) + good[at + 1 :])
        with pytest.raises(StoreError, match=rf"{file.name}: digest .* expected: it is damaged; put the file back"):
            open_checked(shelf.files, str(path), file)
    for size in (0, 1, 4_095, 4_096, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(StoreError, match=f"{size} bytes were found, {len(good)} expected"):
            open_checked(shelf.files, str(path), file)
    path.unlink()
    with pytest.raises(StoreError, match=rf"{file.name}: cannot be read .*restore an older checkpoint"):
        open_checked(shelf.files, str(path), file)
    path.write_bytes(good)
    open_checked(shelf.files, str(path), file).release()


def test_file_of_a_newer_format_or_none_is_refused(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest proves only that it is what was written."""
    monkeypatch.setattr(layer_module, "_FORMAT", b"actorstream layer 2")
    file = shelf.write(ENTRIES)
    monkeypatch.undo()
    with pytest.raises(StoreError, match=r"layer 2.*newer version"):
        open_checked(shelf.files, shelf.path(file), file)
    text = shelf.folder / "text.lmdb"
    text.write_bytes(b"no LMDB file at all" * 1_000)
    size, digest = layer_module._size_and_digest(shelf.files, str(text))
    with pytest.raises(StoreError, match="LMDB"):
        open_checked(shelf.files, str(text), replace(file, size=size, digest=digest))


def test_last_release_closes(shelf: Shelf) -> None:
    """And a use after it says so, instead of reading a closed file."""
    layer = shelf.layer(ENTRIES)
    layer.retain()
    layer.release()
    walk = layer.scan(b"")
    next(walk)
    layer.release()
    assert not layer.closed
    walk.close()  # type: ignore[attr-defined]
    assert layer.closed
    for use in (layer.retain, layer.release, lambda: layer.get(b"k"), lambda: list(layer.scan(b""))):
        with pytest.raises(InvariantError, match="after its last release"):
            use()


def test_one_file_may_be_opened_twice(shelf: Shelf) -> None:
    """Jobs of one process share linked files; LMDB refuses a second environment."""
    file = shelf.write(ENTRIES)
    (shelf.folder / "linked.lmdb").hardlink_to(shelf.folder / file.name)
    first = open_checked(shelf.files, shelf.path(file), file)
    second = open_checked(shelf.files, f"{shelf.folder}/linked.lmdb", file)
    first.release()
    assert list(second.scan(b"")) == ENTRIES
    second.release()


def test_layers_of_a_crashed_job_do_not_close_those_of_the_next(shelf: Shelf) -> None:
    """A simulated crash closes every environment; what the dead job releases late must hurt nobody."""
    file = shelf.write(ENTRIES)
    dead = open_checked(shelf.files, shelf.path(file), file)
    close_all()
    alive = open_checked(shelf.files, shelf.path(file), file)
    dead.release()
    third = open_checked(shelf.files, shelf.path(file), file)
    assert alive.get(ENTRIES[0][0]) == third.get(ENTRIES[0][0]) == ENTRIES[0][1]
    alive.release()
    third.release()
