"""Long keys: shortened, found again, and told apart even with one digest (T130)."""

from __future__ import annotations

import pytest

from actorstream.errors import InvariantError
from actorstream.state import entries
from actorstream.state.entries import (
    PART_BYTES_MAX,
    TOMBSTONE_TAG,
    VALUE_TAG,
    Slots,
    as_tombstone,
    expired,
    expiring,
    find,
    head_of,
    map_entries,
    take_apart,
)
from actorstream.state.lmdb_env import KEY_BYTES_MAX
from actorstream.state.memtable import MISSING
from tests.state.rig import Shelf, restored, state_over

STEM = "k" * 250
HEAD = head_of(5, 1, 2)


@pytest.fixture(params=["true hash", "every digest the same"])
def hashing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "true hash":
        monkeypatch.setattr(entries, "digest_of", lambda part: b"\x00" * 16)


def test_layout_of_an_entry() -> None:
    """Golden: a change orphans every store."""
    assert head_of(5, 0x0102, 3) == b"\x00\x05\x01\x02\x00\x03"
    assert Slots().entry(HEAD, b"key", b"map", b"\x00v") == (b"\x00\x05\x00\x01\x00\x02keymap", b"\x00v")
    key, value = Slots().entry(HEAD, b"k" * 201, b"m", b"\x01")
    assert key == HEAD + b"k" * 200 + bytes.fromhex("11241eb9a687f38b91f5185abad0c34a") + b"\x00" + b"m"
    assert value == b"\x41" + b"\x00\x00\x00\xc9" + b"k" * 201
    assert expiring(b"\x00v", 5) == b"\x03" + b"\x00" * 7 + b"\x05" + b"v"
    assert expiring(b"\x00v", -1) == b"\x03" + b"\xff" * 8 + b"v"


def test_longest_parts_fit_lmdb_t130() -> None:
    """511 bytes are all there is, with the scan bounds that are made of them."""
    key, value = Slots().entry(HEAD, b"k" * 9_000, b"m" * 9_000, b"\x00v")
    assert len(key) <= KEY_BYTES_MAX
    assert take_apart(value) == (b"k" * 9_000, b"m" * 9_000, b"\x00v")
    assert len(Slots().entry(HEAD, b"k" * PART_BYTES_MAX, b"", b"")[0]) == 6 + PART_BYTES_MAX


@pytest.mark.parametrize("key", [b"k", b"k" * 201])
@pytest.mark.parametrize("map_key", [b"", b"m", b"m" * 201])
def test_expiry_stands_beside_the_value_and_not_in_it(key: bytes, map_key: bytes) -> None:
    """Whoever does not ask for it reads the value as if there were none."""
    _, plain = Slots().entry(HEAD, key, map_key, b"\x00v")
    _, value = Slots().entry(HEAD, key, map_key, expiring(b"\x00v", 7))
    assert take_apart(plain).expires is None
    assert take_apart(plain).live == take_apart(value).live == b"\x00v"
    assert take_apart(value).expires == 7
    assert [expired(value, now) for now in (6, 7, 8)] == [False, True, True]
    assert not expired(plain, 2**62)
    assert as_tombstone(value) == Slots().entry(HEAD, key, map_key, TOMBSTONE_TAG)[1]


def test_values_with_an_expiry_are_found_and_scanned(shelf: Shelf) -> None:
    slots = Slots()
    with shelf.layer(
        [slots.entry(HEAD, b"k", part, expiring(VALUE_TAG + part, 1)) for part in (b"1", b"m" * 300)]
    ) as layer:
        short, long = (expiring(VALUE_TAG + part, 1) for part in (b"1", b"m" * 300))
        assert find(layer, HEAD, b"k", b"1") == short
        assert find(layer, HEAD, b"k", b"m" * 300) == long
        found = list(map_entries(layer, HEAD + b"k", None, None, reverse=False))
        assert found == [(b"1", short), (b"m" * 300, long)]


@pytest.mark.usefixtures("hashing")
def test_long_keys_with_one_beginning_are_told_apart_t130(shelf: Shelf) -> None:
    """They share 200 bytes, and here even the digest: the whole key stands in the value."""
    state = state_over()
    names = [STEM + end for end in ("", "1", "2", "3")]
    for number, name in enumerate(names):
        state.rows.live[name] = number
        for other, map_key in enumerate(names):
            state.maps["pages"].set(name, map_key, [number, other])
    shelf.checkpoint(state)
    state.rows.live[names[1]] = MISSING
    state.rows.live[names[2]] = "new"
    state.maps["pages"].clear(names[1])
    state.maps["pages"].delete(names[2], names[3])
    state.maps["pages"].set(names[0], names[0], "new")
    shelf.checkpoint(state)

    again = restored(state)
    assert [again.rows.peek(name) for name in names] == [0, MISSING, "new", 3]
    assert again.rows.peek(STEM + "4") is MISSING
    pages = again.maps["pages"]
    assert pages.peek(names[0]) == [(names[0], "new"), *((names[n], [0, n]) for n in (1, 2, 3))]
    assert pages.peek(names[1]) == []
    assert pages.peek(names[2]) == [(names[n], [2, n]) for n in (0, 1, 2)]
    assert [pages.get(names[3], name) for name in names] == [[3, n] for n in range(4)]
    assert pages.get(names[3], STEM + "4") is MISSING


@pytest.mark.usefixtures("hashing")
def test_scan_over_long_map_keys_keeps_order_and_bounds_t130(shelf: Shelf) -> None:
    """Digests do not sort as keys do; short keys lie around the long ones."""
    state = state_over()
    pages = state.maps["pages"]
    names = sorted([STEM + end for end in "zqa"] + ["a", "k", "k" * 150, "k" * 199 + "l", "z"])
    for name in names:
        pages.set("k", name, name[-1])
    shelf.checkpoint(state)
    pages = restored(state).maps["pages"]
    found = [name for name, _ in pages.items("k")]
    assert found == names
    for start in [None, *names]:
        for stop in [None, *names]:
            inside = [n for n in names if (start is None or n >= start) and (stop is None or n < stop)]
            assert [name for name, _ in pages.items("k", start, stop)] == inside
            assert [name for name, _ in pages.items("k", start, stop, reverse=True)] == inside[::-1]


def test_more_collisions_than_slots_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never two parts in one slot: with a 128-bit digest this is a broken hash."""
    monkeypatch.setattr(entries, "digest_of", lambda part: b"\x00" * 16)
    slots = Slots()
    keys = {slots.entry(HEAD, b"k" * 300 + bytes((n,)), b"", VALUE_TAG)[0] for n in range(256)}
    assert len(keys) == 256
    with pytest.raises(InvariantError, match="hash is broken"):
        slots.entry(HEAD, b"k" * 300 + b"more", b"", VALUE_TAG)


def test_slots_of_one_layer_say_nothing_about_another(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same key may have slot 0 here and slot 1 there, and slots before its own may be free."""
    monkeypatch.setattr(entries, "digest_of", lambda part: b"\x00" * 16)
    one, two = b"k" * 300 + b"1", b"k" * 300 + b"2"
    other_head = head_of(5, 1, 3)
    slots = Slots()
    first = shelf.layer([slots.entry(HEAD, one, b"", b"\x00a"), slots.entry(HEAD, two, b"", b"\x00b")])
    slots = Slots()
    second = shelf.layer([slots.entry(other_head, one, b"", b"\x00x"), slots.entry(HEAD, two, b"", b"\x00c")])

    assert (find(first, HEAD, one), find(first, HEAD, two)) == (b"\x00a", b"\x00b")
    assert (find(second, HEAD, one), find(second, HEAD, two)) == (None, b"\x00c")
    first.release()
    second.release()


def test_clear_mark_is_no_entry_of_its_map(shelf: Shelf) -> None:
    """It lies at the map's own prefix, before every map key."""
    slots = Slots()
    layer = shelf.layer([slots.entry(HEAD, b"k", b"", b"\x02"), slots.entry(HEAD, b"k", b"\x05", b"\x00v")])
    assert list(map_entries(layer, HEAD + b"k", None, None, reverse=False)) == [(b"\x05", b"\x00v")]
    assert list(map_entries(layer, HEAD + b"k", None, None, reverse=True)) == [(b"\x05", b"\x00v")]
    assert find(layer, HEAD, b"k") == b"\x02"
    layer.release()
