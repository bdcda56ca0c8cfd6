"""Compaction: whatever run of layers becomes one, every reader sees what it saw before."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.codec.documents import decode_json, encode_json
from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import InvariantError, StoreError
from actorstream.model.ids import OperatorNumber
from actorstream.model.key_groups import KeyGroupRange, key_group_of, range_of
from actorstream.state import compaction, entries
from actorstream.state.compaction import Merge, Merged, Piece, Source, merge
from actorstream.state.entries import CLEAR_TAG, TOMBSTONE_TAG, VALUE_TAG, Slots, head_of
from actorstream.state.layer import LayerFile, open_checked, write_sorted
from actorstream.state.memtable import MISSING
from actorstream.state.operator_state import OperatorState
from actorstream.state.stack import LayerStack
from tests.state.rig import ALL, MAP, OTHER_ROW, ROW, Shelf, encode_all, restored, state_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.model.ids import LayerName
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer
    from actorstream.state.operator_state import Generation

STEM = "k" * 250
KEYS: list[object] = ["a", "b", "c", STEM, STEM + "1", STEM + "2"]
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


def task_for(shelf: Shelf, picks: Sequence[Pick]) -> Merge:
    layers = list(dict.fromkeys(layer for *_, old in picks for layer in old))
    pieces = [
        Piece(operator, *groups, [layers.index(layer) for layer in old], bottom=old[-1] is stacked(stack, groups)[-1])
        for operator, stack, groups, old in picks
    ]
    return Merge([source_of(shelf, layer.file) for layer in layers], pieces, f"{shelf.folder}/{shelf.name()}")


def stacked(stack: LayerStack, groups: KeyGroupRange) -> tuple[Layer, ...]:
    return stack.layers_for(groups.start)


def compact(shelf: Shelf, picks: Sequence[Pick]) -> Merged:
    """Merge into one layer what is picked in each stack, and put it there."""
    task = task_for(shelf, picks)
    merged = merge(shelf.files, task)
    layer = None
    if merged.name is not None:
        file = LayerFile(task_name(task), merged.size, merged.digest, merged.entries)
        layer = open_checked(shelf.files, task.target, file)
    for _, stack, groups, old in picks:
        stack.replace(old, layer, within=groups)
    if layer is not None:
        layer.release()
    return merged


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
            for key in KEYS:
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
