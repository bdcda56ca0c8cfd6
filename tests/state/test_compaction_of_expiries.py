"""Compaction of values that expire: at every instant from the merge on, every key reads as it did before."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.codec.ordered_keys import encode_key
from actorstream.model.key_groups import KeyGroupRange
from actorstream.state import entries
from actorstream.state.compaction import Merge, Piece, Source, merge
from actorstream.state.entries import (
    CLEAR_MARK,
    CLEAR_TAG,
    EXPIRING,
    HEAD_BYTES,
    STEM_BYTES,
    TOMBSTONE,
    TOMBSTONE_TAG,
    VALUE,
    VALUE_TAG,
    Slots,
    expiring,
    head_of,
    take_apart,
)
from actorstream.state.layer import LayerFile, open_checked
from tests.state.rig import ALL, Shelf

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.state.entries import Entry

HEAD = head_of(5, 1, 3)
LONG = "k" * 250
ROWS = [encode_key(key) for key in ("a", LONG + "1", LONG + "2")]
MAPS = [encode_key(key) for key in ("b", LONG + "3", LONG + "4")]
MAP_KEYS = [encode_key(key) for key in (1, "m", LONG, LONG + "x")]
GROUPS = (1, 5)
INSTANTS = range(8)

Identity: TypeAlias = "tuple[int, bytes, bytes]"  # key group, key part, map-key part
PLACES: list[Identity] = [
    (group, key, part)
    for group in GROUPS
    for key in ROWS + MAPS
    for part in ((b"", *MAP_KEYS) if key in MAPS else (b"",))
]
BY_BYTES = {(group, key + part): (group, key, part) for group, key, part in PLACES}


class Said(NamedTuple):
    """What one layer says about one key."""

    kind: int
    payload: bytes = b""
    expires: int | None = None


class Stored(NamedTuple):
    """A layer's file, and what it says."""

    file: LayerFile
    says: dict[Identity, Said]


def tagged(said: Said) -> bytes:
    if said.kind in {VALUE, EXPIRING}:
        plain = VALUE_TAG + said.payload
        return plain if said.expires is None else expiring(plain, said.expires)
    return TOMBSTONE_TAG if said.kind == TOMBSTONE else CLEAR_TAG


def some_layer(random: Random) -> dict[Identity, Said]:
    """Some of the rows, map entries and clear marks that there are."""
    says: dict[Identity, Said] = {}
    for place in random.sample(PLACES, random.randint(0, len(PLACES))):
        draw = random.random()
        if not place[2] and place[1] in MAPS:
            if draw < 0.4:
                says[place] = Said(CLEAR_MARK)
        elif draw < 0.25:
            says[place] = Said(TOMBSTONE)
        elif draw < 0.5:
            says[place] = Said(VALUE, random.randbytes(3))
        else:
            says[place] = Said(EXPIRING, random.randbytes(3), random.choice(INSTANTS))
    return says


def store(shelf: Shelf, says: dict[Identity, Said]) -> Stored:
    slots = Slots()
    made = [slots.entry(head_of(5, group, 3), key, part, tagged(said)) for (group, key, part), said in says.items()]
    return Stored(shelf.write(made), says)


def load(shelf: Shelf, file: LayerFile) -> Stored:
    """Read a file back by nothing but its layout."""
    says: dict[Identity, Said] = {}
    with open_checked(shelf.files, shelf.path(file), file) as layer:
        for entry_key, value in layer.scan(b""):
            wholes, body = take_apart(value), entry_key[HEAD_BYTES:]
            if wholes.key is not None:
                body = wholes.key + body[STEM_BYTES + 1 :]
            if wholes.map_key is not None:
                body = body[: -STEM_BYTES - 1] + wholes.map_key
            place = BY_BYTES[int.from_bytes(entry_key[2:4]), body]
            says[place] = Said(wholes.tagged[0], wholes.live[1:], wholes.expires)
    return Stored(file, says)


def read(stack: Sequence[Stored], place: Identity, now: int) -> bytes | None:
    """Read one key from the newest layer down, by the rules."""
    group, key, part = place
    for layer in stack:
        said = layer.says.get(place)
        if said is not None and said.kind != CLEAR_MARK:
            live = said.kind != TOMBSTONE and (said.expires is None or now < said.expires)
            return said.payload if live else None
        if part and (mark := layer.says.get((group, key, b""))) is not None and mark.kind == CLEAR_MARK:
            return None
    return None


def seen(stacks: dict[int, list[Stored]], since: int) -> dict[tuple[Identity, int], bytes | None]:
    return {(place, now): read(stacks[place[0]], place, now) for place in PLACES for now in range(since, 9)}


def compact(shelf: Shelf, random: Random, stacks: dict[int, list[Stored]], now: int | None) -> None:
    """Merge some run of each key group's stack into one layer, by pieces that are cut anywhere between them."""
    runs = {group: sorted(random.choices(range(len(stack) + 1), k=2)) for group, stack in stacks.items()}
    if stacks[GROUPS[0]] == stacks[GROUPS[1]] and random.random() < 0.5:
        runs[GROUPS[1]] = runs[GROUPS[0]]
    chosen = {group: stacks[group][start:end] for group, (start, end) in runs.items() if start < end}
    files = list(dict.fromkeys(layer.file for run in chosen.values() for layer in run))
    if not files or (len(chosen) == 2 and not all(order_kept(files, run) for run in chosen.values())):
        return
    bottom = {group: runs[group][1] == len(stacks[group]) for group in chosen}
    clocks = {} if now is None else {3: now}
    pieces = [
        Piece(5, *bounds, [files.index(layer.file) for layer in chosen[group]], bottom=bottom[group], clocks=clocks)
        for group, bounds in zip(GROUPS, ((0, 4), (4, 8)), strict=True)
        if group in chosen
    ]
    if len(pieces) == 2 and pieces[0].layers == pieces[1].layers and len(set(bottom.values())) == 1:
        pieces = [Piece(5, 0, 8, pieces[0].layers, bottom=pieces[0].bottom, clocks=clocks)]
    sources = [Source(shelf.path(file), file.name, file.size, file.digest, file.entries) for file in files]
    name = shelf.name()
    merged = merge(shelf.files, Merge(sources, pieces, f"{shelf.folder}/{name}"))
    new = [] if merged.name is None else [load(shelf, LayerFile(name, merged.size, merged.digest, merged.entries))]
    for group in chosen:
        start, end = runs[group]
        stacks[group][start:end] = new
        for place, said in new[0].says.items() if new else ():
            if place[0] == group and bottom[group]:
                assert said.kind in {VALUE, EXPIRING}, "nothing is below that it could hide"
            assert now is None or said.expires is None or said.expires > now


def order_kept(files: Sequence[LayerFile], run: Sequence[Stored]) -> bool:
    places = [files.index(layer.file) for layer in run]
    return places == sorted(places)


@pytest.fixture(params=["true hash", "every digest the same"])
def hashing(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "true hash":
            patch.setattr(entries, "digest_of", lambda part: b"\x00" * 16)
        yield


@pytest.mark.usefixtures("hashing")
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_instant_from_the_merge_on_reads_as_before_t129_t130(seed: int) -> None:
    """Values with and without expiry, tombstones, marks, long keys; two key groups with stacks of their own."""
    random = Random(seed)
    shelf = Shelf(Path(mkdtemp()))
    stacks: dict[int, list[Stored]] = defaultdict(list)
    clock = 0
    for _ in range(random.randint(2, 5)):
        layer = store(shelf, some_layer(random))
        for group in random.choice([GROUPS, GROUPS, GROUPS[:1], GROUPS[1:]]):
            stacks[group].insert(0, layer)
    stacks.update((group, stacks[group]) for group in GROUPS)
    for _ in range(4):
        clock = random.randint(clock, 7)
        now = random.choice([None, clock])
        before = seen(stacks, clock if now is None else now)
        compact(shelf, random, stacks, now)
        assert seen(stacks, clock if now is None else now) == before
        if random.random() < 0.5:
            layer = store(shelf, some_layer(random))
            for group in random.choice([GROUPS, GROUPS[:1]]):
                stacks[group].insert(0, layer)
    rmtree(shelf.folder)


def merged_entries(shelf: Shelf, *layers: list[Entry], bottom: bool, now: int | None) -> list[Entry]:
    """Merge layers, newest first, and give what the new one holds."""
    files = [shelf.write(each) for each in layers]
    sources = [Source(shelf.path(file), file.name, file.size, file.digest, file.entries) for file in files]
    name = shelf.name()
    clocks = {} if now is None else {3: now}
    piece = Piece(5, ALL.start, ALL.end, list(range(len(files))), bottom, clocks)
    merged = merge(shelf.files, Merge(sources, [piece], f"{shelf.folder}/{name}"))
    if merged.name is None:
        return []
    file = LayerFile(name, merged.size, merged.digest, merged.entries)
    with open_checked(shelf.files, shelf.path(file), file) as layer:
        return list(layer.scan(b""))


def entry(key: bytes, said: bytes, map_key: bytes = b"") -> Entry:
    return Slots().entry(HEAD, key, map_key, said)


def expires(at: int) -> bytes:
    return expiring(VALUE_TAG + b"v", at)


def test_expired_value_hides_what_is_older_until_the_bottom(shelf: Shelf) -> None:
    """Were it only dropped, the older value would be there again, for ever."""
    newest, oldest = [entry(b"a", expires(5)), entry(b"b", expires(6))], [entry(b"a", b"\x00old")]
    assert merged_entries(shelf, newest, oldest, bottom=False, now=5) == [entry(b"a", TOMBSTONE_TAG), newest[1]]
    assert merged_entries(shelf, newest, oldest, bottom=True, now=5) == [newest[1]]


@pytest.mark.parametrize(("now", "there"), [(None, True), (4, True), (5, False), (6, False)])
def test_value_is_there_while_now_is_before_its_expiry(shelf: Shelf, now: int | None, there: bool) -> None:
    """Half-open, as every interval; without a clock nothing expires."""
    value = entry(b"a", expires(5))
    assert merged_entries(shelf, [value], bottom=True, now=now) == ([value] if there else [])


def test_state_that_has_no_clock_keeps_its_values_t129(shelf: Shelf) -> None:
    """Its time-to-live was taken away, and the values are read as any others: to drop one would lose it."""
    values = [Slots().entry(head_of(5, 1, state), b"a", b"", expires(5)) for state in (3, 4)]
    assert merged_entries(shelf, values, bottom=True, now=5) == [values[1]]


def test_each_subtask_and_state_goes_by_a_clock_of_its_own(shelf: Shelf) -> None:
    """One file for two subtasks, of which one has come further in event time; two states with two times."""
    entries = [Slots().entry(head_of(5, group, state), b"a", b"", expires(5)) for group in (1, 5) for state in (3, 4)]
    file = shelf.write(entries)
    halves = [
        Piece(5, 0, 4, [0], bottom=True, clocks={3: 4, 4: 5}),
        Piece(5, 4, 8, [0], bottom=True, clocks={3: 5, 4: 4}),
    ]
    name = shelf.name()
    sources = [Source(shelf.path(file), file.name, file.size, file.digest, file.entries)]
    merged = merge(shelf.files, Merge(sources, halves, f"{shelf.folder}/{name}"))
    made = LayerFile(name, merged.size, merged.digest, merged.entries)
    with open_checked(shelf.files, shelf.path(made), made) as layer:
        assert list(layer.scan(b"")) == [entries[0], entries[3]]


def test_clocks_are_no_part_of_what_a_piece_is() -> None:
    """They go on during a merge; whether its stacks stand as they did is told by the rest."""
    piece = Piece(5, 0, 8, [0, 1], bottom=True, clocks={3: 1})
    assert piece == replace(piece, clocks={3: 2})
    assert piece != replace(piece, bottom=False)


def test_instants_before_1970_are_instants(shelf: Shelf) -> None:
    """The expiry is signed."""
    early, late = entry(b"a", expires(-(10**15))), entry(b"b", expires(-5))
    assert merged_entries(shelf, [early, late], bottom=True, now=-6) == [late]


def test_expired_long_key_stays_that_key_t130(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tombstone carries the whole parts: another key with its digest must not be hidden."""
    monkeypatch.setattr(entries, "digest_of", lambda part: b"\x00" * 16)
    slots = Slots()
    one, two, part = b"k" * 300 + b"1", b"k" * 300 + b"2", b"m" * 300
    newest = [slots.entry(HEAD, one, part, expires(1)), slots.entry(HEAD, two, part, expires(9))]
    merged = merged_entries(shelf, newest, bottom=False, now=1)
    assert [take_apart(value) for _, value in merged] == [
        (one, part, TOMBSTONE_TAG),
        (two, part, expires(9)),
    ]


def test_expired_entry_beside_a_mark_that_stays_is_not_needed(shelf: Shelf) -> None:
    """The mark hides what is below already."""
    layer = [entry(b"m", CLEAR_TAG), entry(b"m", expires(1), b"1"), entry(b"m", expires(9), b"2")]
    assert merged_entries(shelf, layer, bottom=False, now=1) == [layer[0], layer[2]]


def test_restored_stack_of_another_split_keeps_what_only_one_half_may_drop(shelf: Shelf) -> None:
    """One file for two subtasks: for one the run reaches the bottom, for the other something lies below."""
    low, high = head_of(5, 1, 3), head_of(5, 5, 3)
    file = shelf.write([Slots().entry(head, b"a", b"", expires(1)) for head in (low, high)])
    source = Source(shelf.path(file), file.name, file.size, file.digest, file.entries)
    halves = [
        Piece(5, *KeyGroupRange(0, 4), [0], bottom=True, clocks={3: 1}),
        Piece(5, *KeyGroupRange(4, 8), [0], bottom=False, clocks={3: 1}),
    ]
    name = shelf.name()
    merged = merge(shelf.files, Merge([source], halves, f"{shelf.folder}/{name}"))
    made = LayerFile(name, merged.size, merged.digest, merged.entries)
    with open_checked(shelf.files, shelf.path(made), made) as layer:
        assert list(layer.scan(b"")) == [Slots().entry(high, b"a", b"", TOMBSTONE_TAG)]
