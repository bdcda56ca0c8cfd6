"""Windows of slices against the definition: the same results at the same moments, and the same records late.

Records come in any order, watermarks at any moment, in batches of any size, with checkpoints, crashes, evictions
and merges of layers between them; after a rescale some key groups have come further than others.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from math import gcd
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.codec.ordered_keys import encode_key
from actorstream.codec.values import SELF_DESCRIBING
from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.key_groups import key_group_of, range_of
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.timed import LATE
from actorstream.operators.windows import sliced, sliced_firing, sliced_order
from actorstream.operators.windows.aggregates import counting, extreme_by, folding, reducing, summing
from actorstream.operators.windows.definition import Aligned
from actorstream.operators.windows.sliced import SLICES, SlicedWindows
from actorstream.state import slice_entries, slice_table
from actorstream.state.missing import MISSING
from actorstream.state.operator_state import StateColumn
from actorstream.state.stack import LayerStack
from tests.state.rig import ALL, Shelf, state_over
from tests.state.test_compaction import compact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.operators.windows.aggregates import Aggregation
    from actorstream.state.stack import Run

COLUMN = StateColumn(StateNumber(3), SLICES, "slices", SELF_DESCRIBING)
KEYS: list[object] = ["a", "b", "ä", "", ("t", 1), ("t", 2), ("s", 3)]

Record: TypeAlias = "tuple[object, object, int]"  # key, value, timestamp
Output: TypeAlias = "tuple[object, ...]"  # (key, end, value) of a window, or ("late", record)


def extended(held: Any, other: Any) -> Any:
    """Change the first one in place, and keep what the second holds: an accumulator that shares anything shows it."""
    held.extend(other if isinstance(other, list) else [other])
    return held


AGGREGATIONS: dict[str, Aggregation] = {
    "count": counting(),
    "sum": summing(lambda value: value),
    "max_by": extreme_by(lambda value: value % 5, "max_by"),
    "list": folding([], extended, extended),
    "nested": folding(
        {"all": []},
        lambda held, value: {"all": extended(held["all"], value)},
        lambda one, other: one | {"all": extended(one["all"], other["all"])},
    ),
    "joined": reducing(lambda one, other: f"{one},{other}"),
}


class Batch:
    """The definition, in plain Python: every window of a key has a list of records."""

    def __init__(self, aligned: Aligned, aggregation: Aggregation, lateness: int) -> None:
        self.aligned = aligned
        self.aggregation = aggregation
        self.lateness = lateness
        self.windows: dict[tuple[int, bytes], tuple[object, list[tuple[object, int]]]] = {}
        self.fired: set[tuple[int, bytes]] = set()

    def ends(self, timestamp: int) -> list[int]:
        size, slide, offset = self.aligned
        return [end for end in range(timestamp + 1, timestamp + size + 1) if (end - size - offset) % slide == 0]

    def value(self, key: object, end: int) -> Output:
        """Give the result of a window: records by slice, those of one slice as they came."""
        held: object = MISSING
        slice_us = gcd(self.aligned.size_us, self.aligned.slide_us)
        records = self.windows[end, encode_key(key)][1]
        for value, _ in sorted(records, key=lambda each: (each[1] - end) // slice_us):
            held = self.aggregation.add(held, deepcopy(value))
        return key, end, self.aggregation.result(held)

    def record(self, record: Record, watermark: int) -> list[Output]:
        key, value, timestamp = record
        ends = self.ends(timestamp)
        alive = [end for end in ends if end - 1 + self.lateness > watermark]
        if ends and not alive:
            return [("late", record)]
        for end in alive:
            self.windows.setdefault((end, encode_key(key)), (key, []))[1].append((value, timestamp))
        again = [end for end in alive if end - 1 <= watermark]
        self.fired.update((end, encode_key(key)) for end in again)
        return [self.value(key, end) for end in again]

    def advance(self, watermark: int) -> list[Output]:
        due = sorted(each for each in self.windows if each[0] - 1 <= watermark and each not in self.fired)
        self.fired.update(due)
        return [self.value(self.windows[each][0], each[0]) for each in due]


class Subtask:
    """Runs the operator as a generated loop does, over a state of real layers."""

    def __init__(
        self,
        shelf: Shelf,
        words: tuple[Aligned, Aggregation, int],
        groups: KeyGroupRange = ALL,
        runs: Sequence[Run] = (),
        watermark: int = TIME_MIN,
        floors: Sequence[tuple[KeyGroupRange, int]] = (),
    ) -> None:
        self.shelf = shelf
        self.words = words
        self.groups = groups
        self.watermark = watermark
        self.state = state_over(LayerStack.covering(groups, runs), (COLUMN,), groups)
        self.operator = SlicedWindows(*words, self.state)
        self.operator.on_restore(watermark, floors)
        self.given: list[Output] = []

    def owns(self, key: object) -> bool:
        return key_group_of(encode_key(key), ALL.end) in range(*self.groups)

    def fire(self, random: Random) -> None:
        for _ in range(10_000):
            if self.watermark < self.operator.due or self.operator.due == TIME_MAX:
                return
            for result, time in self.operator.fire(self.watermark, random.choice([1, 3, 64])):
                self.take(result, time)
            assert self.operator.firing == (self.watermark >= self.operator.due < TIME_MAX)
            assert self.operator._seen == set(self.operator._slices)
            if random.random() < 0.2:  # what others may do while this one gives way
                self.state.settle(3)
                self.state.evict(3, 1 << 30)
        raise AssertionError("firing has no end")

    def take(self, result: Any, time: int) -> None:
        key, start, end, value = result
        assert (end - start).total_seconds() * 1_000_000 == self.words[0].size_us
        self.given.append((key, time + 1, deepcopy(value)))
        if isinstance(value, list):
            value.append("the receiver's")  # it may do what it likes with what it got (T125)
        elif isinstance(value, dict):
            value["all"].append("the receiver's")

    def record(self, record: Record, random: Random) -> None:
        self.fire(random)
        key, value, timestamp = record
        operator, value = self.operator, deepcopy(value)
        start = timestamp - (timestamp - operator.offset) % operator.slice_us
        if random.random() < 0.7 and self.watermark < operator.close_at(start):
            entries = operator.enter(start, self.watermark)
            held = entries.get(key, MISSING)
            if held is MISSING:
                held = operator.older(start, key)
            entries[key] = operator.add(held, value)
            return
        given = operator.on_element(key, value, timestamp, self.watermark)
        if given is LATE:
            self.given.append(("late", record))
        else:
            for result, time in given or ():
                self.take(result, time)

    def advance(self, watermark: int, random: Random) -> None:
        self.watermark = max(self.watermark, watermark)
        self.fire(random)

    def checkpoint(self, random: Random) -> None:
        assert not self.operator.firing
        generation = self.state.freeze()
        if generation is not None and random.random() < 0.1:
            self.state.on_write_failed(generation)
            generation = self.state.freeze()
        self.shelf.finish(self.state, generation, random.choice([1, 100]))
        stack = self.state.stack
        for groups, layers in stack.runs():
            start, end = sorted(random.choices(range(len(layers) + 1), k=2))
            if start < end and random.random() < 0.3:
                compact(self.shelf, [(OperatorNumber(5), stack, groups, layers[start:end])])


@dataclass
class Saved:
    """What a checkpoint holds: the position in the input, the watermark, what was given until then, and layers."""

    position: int
    watermark: int
    given: list[Output]
    stack: LayerStack


@pytest.fixture
def narrow() -> Iterator[None]:
    """Pauses after every few entries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slice_table, "_PIECE", 2)
        patch.setattr(slice_entries, "_ROWS", 2)
        patch.setattr(sliced, "_FREED_AT_ONCE", 2)
        patch.setattr(sliced_firing, "_LOOKED_AT_ONCE", 3)
        patch.setattr(sliced_order, "RUN", 4)
        patch.setattr(sliced_order, "_EVERY", 2)
        yield


def windows_at_random(random: Random) -> Aligned:
    size, slide = random.choice([(10, 10), (10, 4), (10, 2), (12, 3), (7, 1), (6, 4), (10, 7), (4, 10), (5, 5)])
    return Aligned(size, slide, random.randrange(slide))


def words_at_random(random: Random) -> tuple[Aligned, Aggregation, int]:
    return (
        windows_at_random(random),
        AGGREGATIONS[random.choice(list(AGGREGATIONS))],
        random.choice([0, 0, 1, 5, 30, TIME_MAX]),
    )


def input_at_random(random: Random, length: int, begin: int) -> list[Record | int]:
    """Give records out of order, and watermarks."""
    now = begin
    events: list[Record | int] = []
    for number in range(length):
        now += random.choice([0, 0, 0, 1, 2, 5, 40 if random.random() < 0.1 else 0])
        if random.random() < 0.2:
            events.append(now - random.choice([0, 3, 8]))
        else:
            events.append((random.choice(KEYS), number, now - random.choice([0, 0, 1, 4, 12, 30])))
    return events


@pytest.mark.usefixtures("narrow")
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_windows_of_slices_are_those_of_the_definition_t47_t58_t59_t125_t136(seed: int) -> None:
    """Whatever order, lateness, batches, crashes; what was given before a crash is given again, and nothing else."""
    random = Random(seed)
    shelf = Shelf(Path(mkdtemp()))
    words = words_at_random(random)
    events = [*input_at_random(random, random.choice([5, 60]), random.choice([0, -25, 10**9])), TIME_MAX]
    batch, watermark = Batch(*words), TIME_MIN
    expected: list[Output] = []
    for event in events:
        if isinstance(event, int):
            watermark = max(watermark, event)
            expected += batch.advance(watermark)
        else:
            expected += batch.record(event, watermark)
    subtask = Subtask(shelf, words)
    saved = Saved(0, TIME_MIN, [], LayerStack.covering(ALL))
    at = crashes = 0
    while at < len(events):
        event = events[at]
        if isinstance(event, int):
            subtask.advance(event, random)
        else:
            subtask.record(event, random)
        at += 1
        if random.random() < 0.15:
            subtask.fire(random)
            subtask.checkpoint(random)
            saved.stack.release()
            saved = Saved(at, subtask.watermark, list(subtask.given), LayerStack(subtask.state.stack.runs()))
        if random.random() < 0.05 and crashes < 3:
            crashes += 1
            subtask.state.stack.release()
            subtask = Subtask(shelf, words, ALL, saved.stack.runs(), saved.watermark)
            subtask.given = list(saved.given)
            at = saved.position
    assert subtask.given == expected
    assert subtask.operator.due == TIME_MAX
    assert subtask.state.slices is not None
    assert subtask.state.slices.slices() == []
    assert subtask.state.statistics().keys_in_memory == 0
    rmtree(shelf.folder)


@pytest.mark.usefixtures("narrow")
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_after_a_rescale_key_groups_keep_their_time_t33_t47(seed: int) -> None:
    """What the old owner has fired does not fire again, and what was late for it is late."""
    random = Random(seed)
    shelf = Shelf(Path(mkdtemp()))
    words = words_at_random(random)
    halves = [Half(Subtask(shelf, words, range_of(index, 2, ALL.end)), Batch(*words)) for index in range(2)]
    for half in halves:
        for event in input_at_random(random, 40, 0):
            half.take(half.subtask, event, random)
        half.subtask.fire(random)
        half.subtask.checkpoint(random)
        half.floor = half.subtask.watermark
    watermark = min(half.floor for half in halves)
    floors = [(half.subtask.groups, half.floor) for half in halves]
    runs = [run for half in halves for run in half.subtask.state.stack.runs()]
    one = Subtask(shelf, words, ALL, runs, watermark, floors)
    for event in [*input_at_random(random, 60, watermark if watermark > TIME_MIN else 0), TIME_MAX]:
        for half in halves:
            half.take(one, event, random)
    for half in halves:
        assert half.subtask.given + [each for each in one.given if half.owns(each)] == half.expected
        half.subtask.state.stack.release()
    one.state.stack.release()
    rmtree(shelf.folder)


@dataclass
class Half:
    """A subtask before the rescale, and what the keys that were its own must give, before and after."""

    subtask: Subtask
    batch: Batch
    expected: list[Output] = field(default_factory=list)
    floor: int = TIME_MIN

    def owns(self, output: Output) -> bool:
        return self.subtask.owns(output[1][0] if output[0] == "late" else output[0])  # type: ignore[index]

    def take(self, subtask: Subtask, event: Record | int, random: Random) -> None:
        """Let whoever has the keys now take an event, and see what it must give for ours."""
        if isinstance(event, int):
            subtask.advance(event, random)
            self.expected += self.batch.advance(max(subtask.watermark, self.floor))
        elif self.subtask.owns(event[0]):
            subtask.record(event, random)
            self.expected += self.batch.record(event, max(subtask.watermark, self.floor))
