"""Compaction: whatever run of layers becomes one, every reader sees what it saw before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import InvariantError, StoreError
from actorstream.model.ids import OperatorNumber
from actorstream.model.key_groups import KeyGroupRange, key_group_of, range_of
from actorstream.state import entries, layer_builder
from actorstream.state.compaction import Merge, Piece, Source, merge
from actorstream.state.entries import CLEAR_TAG, TOMBSTONE_TAG, VALUE_TAG, Slots, head_of
from actorstream.state.layer import LayerFile, open_checked
from actorstream.state.memtable import MISSING
from actorstream.state.operator_state import OperatorState
from actorstream.state.stack import LayerStack
from tests.state.rig import ALL, MAP, OTHER_ROW, ROW, Shelf, encode_all, state_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorstream.model.ids import LayerName
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer
    from actorstream.state.operator_state import Generation

STEM = "k" * 250
LONG = [each for number in range(30) if key_group_of(encode_key(each := f"{STEM}{number}"), ALL.end) == 4][:3]
KEYS: list[object] = ["a", "b", *LONG, STEM]
MAP_KEYS: list[object] = [1, 2, "m", STEM, STEM + "a", STEM + "x"]
OPERATORS = (OperatorNumber(5), OperatorNumber(6))
HEAD = head_of(5, 1, 3)

Pick: TypeAlias = "tuple[OperatorNumber, LayerStack, KeyGroupRange, tuple[Layer, ...]]"


@pytest.fixture(params=["true hash", "every digest the same"])
def hashing(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "true hash":
            patch.setattr(entries, "digest_of", lambda part: b"\x00" * 16)
        yield


def over(operator: OperatorNumber, stack: LayerStack) -> OperatorState:
    return OperatorState(
        operator=operator,
        columns=(ROW, OTHER_ROW, MAP),
        key_groups=stack.key_groups,
        max_parallelism=ALL.end,
        stack=stack,
        name=f"operator {operator}",
    )


def seen(operator: OperatorNumber, runs: Sequence[tuple[KeyGroupRange, Sequence[Layer]]]) -> list[object]:
    """Read everything there is, in every way, with nothing in memory."""
    state = over(operator, LayerStack(runs))
    found: list[object] = []
    for key in KEYS:
        if state.stack.key_groups.start <= key_group_of(encode_key(key), ALL.end) < state.stack.key_groups.end:
            pages = state.maps["pages"]
            found += [key, state.rows.peek(key), pages.peek(key), [pages.get(key, each) for each in MAP_KEYS]]
            found.append(list(pages.items(key, reverse=True))[::-1] == pages.peek(key))
    state.stack.release()
    return found


def source_of(shelf: Shelf, file: LayerFile) -> Source:
    return Source(shelf.path(file), file.name, file.size, file.digest, file.entries)


def task_for(shelf: Shelf, picks: Sequence[Pick], clocks: Mapping[Any, int] | None = None) -> Merge:
    layers = list(dict.fromkeys(layer for *_, old in picks for layer in old))
    known = dict(clocks or {})
    pieces = [
        Piece(
            operator, *groups, list(map(layers.index, old)), bottom=old[-1] is stacked(stack, groups)[-1], clocks=known
        )
        for operator, stack, groups, old in picks
    ]
    return Merge([source_of(shelf, layer.file) for layer in layers], pieces, f"{shelf.folder}/{shelf.name()}")


def stacked(stack: LayerStack, groups: KeyGroupRange) -> tuple[Layer, ...]:
    return stack.layers_for(groups.start)


def compact(shelf: Shelf, picks: Sequence[Pick]) -> Layer | None:
    """Merge into one layer what is picked in each stack, and put it there."""
    layer = merged_layer(shelf, picks)
    replace_picked(picks, layer)
    return layer


def merged_layer(shelf: Shelf, picks: Sequence[Pick], clocks: Mapping[Any, int] | None = None) -> Layer | None:
    """Merge into one layer what is picked in each stack; None where nothing is left."""
    task = task_for(shelf, picks, clocks)
    merged = merge(shelf.files, task)
    if merged.name is None:
        return None
    file = LayerFile(task_name(task), merged.size, merged.digest, merged.entries)
    return open_checked(shelf.files, task.target, file)


def replace_picked(picks: Sequence[Pick], layer: Layer | None) -> None:
    """Put a layer where the picked ones stand; takes over the caller's count of it."""
    for _, stack, groups, old in picks:
        stack.replace(old, layer, within=groups)
    if layer is not None:
        layer.release()


def task_name(task: Merge) -> LayerName:
    return task.target.rpartition("/")[2]  # type: ignore[return-value]


def whole(state: OperatorState, operator: OperatorNumber = OPERATORS[0]) -> list[Pick]:
    return [(operator, state.stack, groups, layers) for groups, layers in state.stack.runs()]


class History:
    """Two operators at some parallelism: they write, share layers, compact, and are restored at another split."""

    def __init__(self, shelf: Shelf, random: Random) -> None:
        self.shelf = shelf
        self.random = random
        self.states: list[tuple[OperatorNumber, OperatorState]] = []
        self.restore()

    def restore(self) -> None:
        """Open every operator at some parallelism, over the stacks that there are."""
        before, self.states = self.states, []
        for operator in OPERATORS:
            runs = [run for other, state in before if other == operator for run in state.stack.runs()]
            parallelism = self.random.randint(1, 3)
            for index in range(parallelism):
                groups = range_of(index, parallelism, ALL.end)
                self.states.append((operator, over(operator, LayerStack.covering(groups, runs))))
        for _, state in before:
            state.stack.release()

    def write(self) -> None:
        """Change some keys of each state, then freeze some states into one file; of these one may not take it."""
        random = self.random
        parts: list[list[Entry]] = []
        frozen: list[tuple[OperatorState, Generation]] = []
        for _, state in self.states:
            for key in random.sample(KEYS, len(KEYS)):
                groups, group = state.stack.key_groups, key_group_of(encode_key(key), ALL.end)
                if groups.start <= group < groups.end and random.random() < 0.6:
                    self.change(state, key)
            if random.random() < 0.7 and (generation := state.freeze()) is not None:
                parts += encode_all(generation)
                frozen.append((state, generation))
        layer = self.shelf.layer(*parts)
        for state, generation in frozen:
            if random.random() < 0.2:
                state.on_write_failed(generation)
            else:
                layer.retain()
                state.on_written(generation, layer)
        layer.release()

    def change(self, state: OperatorState, key: object) -> None:
        random, pages = self.random, state.maps["pages"]
        action = random.random()
        if action < 0.15:
            state.clear_key(key)
        elif action < 0.5:
            state.rows.live[key] = random.choice([(MISSING, 3), (random.random(), MISSING), (1, 2), MISSING])
        if 0.1 < action < 0.3:
            pages.clear(key)
        for map_key in random.sample(MAP_KEYS, random.randint(0, 3)):
            if random.random() < 0.3:
                pages.delete(key, map_key)
            else:
                pages.set(key, map_key, random.random())

    def picks(self) -> list[Pick]:
        """Pick a contiguous run in most stacks, another one in each."""
        found: list[Pick] = []
        for operator, state in self.states:
            for groups, layers in state.stack.runs():
                start, end = sorted(self.random.choices(range(len(layers) + 1), k=2))
                if start < end:
                    found.append((operator, state.stack, groups, layers[start:end]))
        return found

    def runs_of(self, operator: OperatorNumber) -> list[tuple[KeyGroupRange, tuple[Layer, ...]]]:
        return [run for other, state in self.states if other == operator for run in state.stack.runs()]

    def seen(self) -> list[object]:
        return [seen(operator, state.stack.runs()) for operator, state in self.states]

    def split_anew(self) -> list[object]:
        """Read as a restore at parallelism 1 would."""
        return [seen(operator, self.runs_of(operator)) for operator in OPERATORS]

    def close(self) -> None:
        for _, state in self.states:
            state.stack.release()


@pytest.mark.usefixtures("hashing")
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_reader_sees_the_same_before_and_after_t130_t134(seed: int) -> None:
    """Any history, any run of layers in each stack, layers shared and not referred to, restores at another split."""
    random = Random(seed)
    shelf = Shelf(Path(mkdtemp()))
    history = History(shelf, random)
    for _ in range(8):
        action = random.random()
        if action < 0.6:
            history.write()
        elif action < 0.75:
            history.restore()
        elif picks := history.picks():
            before, anew = history.seen(), history.split_anew()
            compact(shelf, picks)
            assert history.seen() == before
            assert history.split_anew() == anew
    history.close()
    rmtree(shelf.folder)


def entry(key: bytes, map_key: bytes, tagged: bytes, head: bytes = HEAD) -> Entry:
    return Slots().entry(head, key, map_key, tagged)


def merged_entries(shelf: Shelf, *layers: list[Entry], bottom: bool, operator: int = 5) -> list[Entry]:
    """Merge layers, newest first, and give what the new one holds."""
    files = [shelf.write(each) for each in layers]
    piece = Piece(operator, 0, ALL.end, list(range(len(files))), bottom)
    task = Merge([source_of(shelf, file) for file in files], [piece], f"{shelf.folder}/{shelf.name()}")
    merged = merge(shelf.files, task)
    if merged.name is None:
        return []
    with open_checked(
        shelf.files, task.target, LayerFile(task_name(task), merged.size, merged.digest, merged.entries)
    ) as layer:
        return list(layer.scan(b""))


def test_newest_entry_wins(shelf: Shelf) -> None:
    newest, older = [entry(b"a", b"", b"\x00new")], [entry(b"a", b"", b"\x00old"), entry(b"b", b"", b"\x00b")]
    assert merged_entries(shelf, newest, older, bottom=True) == [newest[0], older[1]]


def test_tombstones_and_marks_go_at_the_bottom_only(shelf: Shelf) -> None:
    """Elsewhere they still hide something below."""
    layers = [
        [entry(b"a", b"", TOMBSTONE_TAG), entry(b"m", b"", CLEAR_TAG), entry(b"n", b"1", TOMBSTONE_TAG)],
        [entry(b"a", b"", b"\x00a"), entry(b"m", b"1", b"\x00m"), entry(b"n", b"2", b"\x00n")],
    ]
    assert merged_entries(shelf, *layers, bottom=True) == [entry(b"n", b"2", b"\x00n")]
    assert merged_entries(shelf, *layers, bottom=False) == [*layers[0], entry(b"n", b"2", b"\x00n")]


def test_clear_mark_hides_older_layers_and_not_its_own(shelf: Shelf) -> None:
    """The map was cleared and filled again within one epoch, and changed in the next."""
    newest = [entry(b"m", b"4", b"\x00newest"), entry(b"m", b"2", TOMBSTONE_TAG)]
    marked = [entry(b"m", b"", CLEAR_TAG), entry(b"m", b"1", b"\x00own"), entry(b"m", b"2", b"\x00own")]
    oldest = [entry(b"m", b"1", b"\x00old"), entry(b"m", b"3", b"\x00old"), entry(b"n", b"3", b"\x00other map")]

    rest = [entry(b"m", b"1", b"\x00own"), entry(b"m", b"4", b"\x00newest"), entry(b"n", b"3", b"\x00other map")]
    assert merged_entries(shelf, newest, marked, oldest, bottom=True) == rest
    assert merged_entries(shelf, newest, marked, oldest, bottom=False) == [entry(b"m", b"", CLEAR_TAG), *rest]


def test_same_map_key_in_another_map_or_state_is_not_hidden(shelf: Shelf) -> None:
    other = head_of(5, 1, 4)
    marked = [entry(b"m", b"", CLEAR_TAG)]
    older = [entry(b"l", b"1", b"\x00l"), entry(b"n", b"1", b"\x00n"), entry(b"m", b"1", b"\x00state 4", other)]
    assert merged_entries(shelf, marked, older, bottom=True) == older


def test_long_key_is_one_key_whatever_its_slot_t130(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """B has slot 0 in one file and slot 1 in the other; the mark of B hides B's entries, not A's."""
    monkeypatch.setattr(entries, "digest_of", lambda part: b"\x00" * 16)
    a, b = b"k" * 300 + b"a", b"k" * 300 + b"b"
    newest, older, new = Slots(), Slots(), Slots()
    marked = [newest.entry(HEAD, b, b"", CLEAR_TAG), newest.entry(HEAD, b, b"2", b"\x00b2")]
    before = [
        older.entry(HEAD, a, b"1", b"\x00a1"),
        older.entry(HEAD, b, b"1", b"\x00b1"),
        older.entry(HEAD, b, b"m" * 300, b"\x00b long"),
        older.entry(HEAD, a, b"m" * 300, b"\x00a long"),
    ]
    assert merged_entries(shelf, marked, before, bottom=True) == [
        new.entry(HEAD, a, b"1", b"\x00a1"),
        new.entry(HEAD, a, b"m" * 300, b"\x00a long"),
        new.entry(HEAD, b, b"2", b"\x00b2"),
    ]


def test_more_collisions_than_slots_leave_everything_as_it_was(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files of 200 keys each: one file has no room for 400 with one digest."""
    monkeypatch.setattr(entries, "digest_of", lambda part: b"\x00" * 16)
    layers = []
    for number in range(2):
        slots = Slots()
        layers.append([slots.entry(HEAD, b"k" * 300 + bytes((number, n)), b"", b"\x00v") for n in range(200)])
    with pytest.raises(InvariantError, match="hash is broken"):
        merged_entries(shelf, *layers, bottom=True)
    assert not (shelf.folder / "1-0-3.lmdb").exists()


def test_entries_that_no_stack_refers_to_never_enter_t134(shelf: Shelf) -> None:
    """Two subtasks in one file: the low one's write was taken back, so after a merge it must still not be seen."""
    low, high = KeyGroupRange(0, 4), KeyGroupRange(4, 8)
    states = [state_over(key_groups=groups) for groups in (low, high)]
    groups = {key: key_group_of(encode_key(key), ALL.end) for key in range(40)}
    for value in ("acknowledged", "taken back"):
        parts, frozen = [], []
        for state in states:
            for key, group in groups.items():
                if group in range(*state.stack.key_groups):
                    state.rows.live[key] = value
            generation = state.freeze()
            assert generation is not None
            parts += encode_all(generation)
            frozen.append(generation)
        layer = shelf.layer(*parts)
        if value == "taken back":
            states[0].on_write_failed(frozen[0])
            states[1].on_written(frozen[1], layer)
        else:
            layer.retain()
            for state, generation in zip(states, frozen, strict=True):
                state.on_written(generation, layer)

    merged = compact(shelf, [*whole(states[0]), *whole(states[1])])

    assert merged is not None
    assert merged.file.entries == len(groups)
    assert states[0].stack.layers_for(0) == states[1].stack.layers_for(4)
    for state in states:
        fresh = state_over(LayerStack(state.stack.runs()), key_groups=state.stack.key_groups)
        expected = "acknowledged" if state is states[0] else "taken back"
        assert {fresh.rows.peek(k) for k, g in groups.items() if g in range(*state.stack.key_groups)} == {expected}
        fresh.stack.release()
        state.stack.release()


def test_where_nothing_is_left_there_is_no_file(shelf: Shelf) -> None:
    """Everything was deleted: the stack is empty again."""
    state = over(OPERATORS[0], LayerStack.covering(ALL))
    state.rows.live["a"] = (1, 2)
    shelf.checkpoint(state)
    state.clear_key("a")
    shelf.checkpoint(state)
    names = sorted(path.name for path in shelf.folder.iterdir())

    assert compact(shelf, whole(state)) is None
    assert state.stack.runs() == [(ALL, ())]
    assert sorted(path.name for path in shelf.folder.iterdir()) == names


def test_damaged_source_is_not_copied_into_a_good_file(shelf: Shelf) -> None:
    """The digest of the new file would cover the damage for ever."""
    good, bad = shelf.write([entry(b"a", b"", b"\x00a")]), shelf.write([entry(b"b", b"", b"\x00b")])
    task = Merge(
        [source_of(shelf, good), replace(source_of(shelf, bad), digest="0" * 32)],
        [Piece(5, 0, 8, [0, 1], bottom=True)],
        f"{shelf.folder}/{shelf.name()}",
    )
    with pytest.raises(StoreError, match=r"1-0-2\.lmdb: digest .* restore an older checkpoint"):
        merge(shelf.files, task)
    assert not Path(task.target).exists()


def test_kind_of_a_newer_version_is_refused(shelf: Shelf) -> None:
    """What hides or expires in a way that we do not know must not be merged as if it did not."""
    with pytest.raises(StoreError, match=r"layer 1-0-2\.lmdb: an entry of kind 5 .*newer version"):
        merged_entries(shelf, [entry(b"a", b"", b"\x00a")], [entry(b"b", b"", b"\x05b")], bottom=True)
    assert not (shelf.folder / "1-0-3.lmdb").exists()


def test_output_is_streamed_in_small_runs(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory and each C call are bounded by a run, in entries and in bytes; the file reads the same."""
    layers = [[entry(b"%02d" % n, b"", VALUE_TAG + bytes(n * 10)) for n in range(start, 40, 2)] for start in (0, 1)]
    monkeypatch.setattr(layer_builder, "_RUN_ENTRIES", 7)
    monkeypatch.setattr(layer_builder, "_RUN_BYTES", 1_000)
    runs = list(layer_builder.runs_of(layers[0]))
    assert max(map(len, runs)) <= 7
    assert all(sum(len(key) + len(value) for key, value in run[:-1]) < 1_000 for run in runs)
    assert [each for run in runs for each in run] == layers[0]
    assert merged_entries(shelf, *layers, bottom=True) == sorted(layers[0] + layers[1])
