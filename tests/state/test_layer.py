"""Layer files: written durably, proved before they are opened, read in order, closed by the last user."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorstream.errors import InvariantError, StoreError
from actorstream.model.ids import LayerName
from actorstream.state import layer as layer_module
from actorstream.state.layer import FORMAT, FORMAT_KEY, Layer, LayerFile, open_checked, size_and_digest
from actorstream.state.lmdb_env import close_all, create_building
from actorstream.state.stack import LayerStack
from tests.state.rig import ALL, open_files

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def other_layer(shelf: Shelf, head: bytes) -> LayerFile:
    """Write a file of our entries that begins with `head`."""
    path = f"{shelf.folder}/{shelf.name()}"
    env = create_building(path, 1 << 20)
    with env.transaction(write=True) as txn:
        txn.put(FORMAT_KEY, head)
        for key, value in ENTRIES:
            txn.put(key, value)
    env.close()
    return LayerFile(LayerName(path.rpartition("/")[2]), *size_and_digest(shelf.files, path), len(ENTRIES))


def test_file_of_the_first_format_has_no_filter_and_is_read_all_the_same(shelf: Shelf) -> None:
    """It was written before there were filters: every key may be in it."""
    file = other_layer(shelf, b"actorstream layer 1")
    with open_checked(shelf.files, shelf.path(file), file) as layer:
        assert layer.may_hold(b"absent")
        assert list(layer.scan(b"")) == ENTRIES
        stack = LayerStack([(ALL, [layer])])
        assert stack.get_many([(0, key) for key, _ in [*ENTRIES, (b"absent", b"")]]) == dict(ENTRIES)
        stack.release()


@pytest.mark.parametrize("head", [b"actorstream layer 3".ljust(40, b"\0"), FORMAT, b"", b"actorstream layer 1 or so"])
def test_file_of_a_newer_format_or_none_is_refused(shelf: Shelf, head: bytes) -> None:
    """The digest proves only that it is what was written."""
    file = other_layer(shelf, head)
    with pytest.raises(StoreError, match=r"format .* was found, .*newer version"):
        open_checked(shelf.files, shelf.path(file), file)
    assert open_files(shelf.folder) == []


def test_file_that_is_none_of_lmdb_is_refused(shelf: Shelf) -> None:
    text = shelf.folder / "text.lmdb"
    text.write_bytes(b"no LMDB file at all" * 1_000)
    size, digest = size_and_digest(shelf.files, str(text))
    with pytest.raises(StoreError, match="LMDB"):
        open_checked(shelf.files, str(text), LayerFile(LayerName("text.lmdb"), size, digest, 1))


def test_large_filter_is_read_in_the_map_and_refused_after_the_last_release(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory of a file that was closed is not ours: reading it would end the process."""
    monkeypatch.setattr(layer_module, "_COPIED_BYTES_MAX", 10)
    layer = shelf.layer(ENTRIES)
    table, size, get = layer.probe
    assert isinstance(table, memoryview)
    assert len(table) == size == 100
    assert all(layer.may_hold(key) and get(key) == value for key, value in ENTRIES)
    again = open_checked(shelf.files, shelf.path(layer.file), layer.file)
    layer.release()
    assert table[0] == again.probe[0][0]
    again.release()
    with pytest.raises(ValueError, match="released memoryview"):
        table[0]


def test_filter_says_of_most_absent_keys_that_they_are_absent(shelf: Shelf) -> None:
    """Format key and all: what is asked about an entry key is asked about nothing else."""
    with shelf.layer(ENTRIES) as layer:
        assert all(layer.may_hold(key) for key, _ in ENTRIES)
        assert sum(layer.may_hold(b"absent%d" % number) for number in range(1_000)) < 80


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


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Without the garbage collector only counts of references free what is dropped."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_layer_that_was_let_go_needs_no_garbage_collector(shelf: Shelf) -> None:
    """Merges let several layers go with each checkpoint: as cycles they took memory for minutes."""
    layer = shelf.layer(ENTRIES)
    layer.release()
    del layer
    assert not [found for found in gc.get_objects() if isinstance(found, Layer) and found.closed]
