"""Reading through a stack: the newest layer that holds a key, one by one, by the batch, and from a thread."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorstream.errors import InvariantError
from actorstream.model.key_groups import KeyGroupRange
from actorstream.state import layer as layer_module
from actorstream.state import stack as stack_module
from actorstream.state.lmdb_env import close_all
from actorstream.state.stack import LayerStack

if TYPE_CHECKING:
    from actorstream.state.layer import Layer
    from tests.state.rig import Shelf

GROUPS = 8


def entry_of(group: int, key: int) -> bytes:
    return b"\x00\x05" + group.to_bytes(2) + b"\x00\x01" + b"key%d" % key


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    layers=st.lists(
        st.dictionaries(st.tuples(st.integers(0, 7), st.integers(0, 1)), st.binary(max_size=3)), max_size=6
    ),
    cuts=st.sets(st.integers(1, GROUPS - 1), max_size=3),
    data=st.data(),
)
def test_reads_are_those_of_a_dict_for_each_run(
    shelf: Shelf, layers: list[dict[tuple[int, int], bytes]], cuts: set[int], data: st.DataObject
) -> None:
    """Each run of key groups sees its own layers: what others hold of its key groups is not there (T134)."""
    opened = [shelf.layer([(entry_of(*place), value) for place, value in layer.items()]) for layer in layers]
    bounds = [0, *sorted(cuts), GROUPS]
    stack = LayerStack(
        [
            (KeyGroupRange(start, end), [layer for layer in opened if data.draw(st.booleans())])
            for start, end in pairwise(bounds)
        ]
    )
    expected: dict[tuple[int, int], bytes] = {}
    for groups, seen in stack.runs():
        for layer in reversed(seen):
            held = layers[opened.index(layer)]
            expected |= {place: value for place, value in held.items() if groups.start <= place[0] < groups.end}
    places = [(group, key) for group in range(GROUPS) for key in range(3)]
    asked = data.draw(st.permutations([*places, *places[:7]]))

    assert [stack.get(group, entry_of(group, key)) for group, key in asked] == [expected.get(place) for place in asked]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack_module, "_READ_AT_ONCE", data.draw(st.sampled_from([1, 7, 1_000])))
        found = stack.get_many([(group, entry_of(group, key)) for group, key in asked])
    assert found == {entry_of(*place): expected[place] for place in asked if place in expected}
    stack.release()
    for layer in opened:
        layer.release()
        assert layer.closed


def test_pinned_stack_stays_as_it_was_and_open_until_it_is_released(shelf: Shelf) -> None:
    """A thread reads it while the loop pushes, merges and lets go."""
    old, new, merged = (shelf.layer([(entry_of(0, 1), value)]) for value in (b"old", b"new", b"merged"))
    stack = LayerStack([(KeyGroupRange(0, GROUPS), [old])])
    pinned = stack.pin()
    stack.push(new)
    stack.replace([new, old], merged)
    for layer in (old, new, merged):
        layer.release()
    results: list[dict[bytes, bytes]] = []
    reader = threading.Thread(target=lambda: results.append(pinned.get_many([(0, entry_of(0, 1))])))
    reader.start()
    reader.join()
    assert results == [{entry_of(0, 1): b"old"}]
    assert stack.get(0, entry_of(0, 1)) == b"merged"
    assert (old.closed, new.closed) == (False, True)
    pinned.release()
    pinned.release()
    assert old.closed
    stack.release()


def test_no_call_into_lmdb_takes_more_than_a_thousand_keys(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread in a long C call stalls the event loop; and each layer is asked in the order of its keys."""
    asked: list[list[bytes]] = []
    original = layer_module.Layer.get_sorted

    def watched(self: Layer, entries: list[bytes]) -> list[tuple[bytes, bytes]]:
        asked.append(list(entries))
        return original(self, entries)

    monkeypatch.setattr(layer_module.Layer, "get_sorted", watched)
    rows = [(entry_of(number % GROUPS, number), b"v") for number in range(2_500)]
    stack = LayerStack([(KeyGroupRange(0, GROUPS), [shelf.layer(rows)])])
    keys = [(number % GROUPS, entry_of(number % GROUPS, number)) for number in range(2_500)]
    assert stack.get_many(keys) == dict(rows)
    assert [len(keys) for keys in asked] == [1_000, 1_000, 500]
    assert all(keys == sorted(keys) for keys in asked)


def test_absent_keys_seldom_reach_lmdb(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters are what keeps a new key from asking every layer: 24 of them would cost 18 µs."""
    layers = [shelf.layer([(entry_of(0, 10_000 * n + key), b"v") for key in range(500)]) for n in range(8)]
    stack = LayerStack([(KeyGroupRange(0, GROUPS), layers)])
    asked: list[bytes] = []
    original = layer_module.Layer.get_sorted

    def watched(self: Layer, entries: list[bytes]) -> list[tuple[bytes, bytes]]:
        asked.extend(entries)
        return original(self, entries)

    monkeypatch.setattr(layer_module.Layer, "get_sorted", watched)
    absent = [(0, entry_of(0, 900_000 + number)) for number in range(1_000)]
    assert stack.get_many(absent) == {}
    assert 0 < len(asked) < 0.05 * 8 * 1_000
    assert all(stack.get(*each) is None for each in absent)


def test_released_stack_reads_nothing(shelf: Shelf) -> None:
    """And a layer that is closed says so."""
    layer = shelf.layer([(entry_of(0, 1), b"v")])
    stack = LayerStack([(KeyGroupRange(0, GROUPS), [layer])])
    layer.release()
    stack.release()
    assert stack.get(0, entry_of(0, 1)) is None
    assert stack.get_many([(0, entry_of(0, 1))]) == {}
    with pytest.raises(InvariantError, match="after its last release"):
        layer.get_sorted([entry_of(0, 1)])


def test_reader_of_a_crashed_job_gets_an_error_and_no_wild_memory(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A simulated crash closes every file under its owner; a filter in the map goes with it."""
    monkeypatch.setattr(layer_module, "_COPIED_BYTES_MAX", 0)
    layer = shelf.layer([(entry_of(0, 1), b"v")])
    stack = LayerStack([(KeyGroupRange(0, GROUPS), [layer])])
    assert stack.get(0, entry_of(0, 1)) == b"v"
    close_all()
    with pytest.raises(ValueError, match="released memoryview"):
        stack.get(0, entry_of(0, 1))
    stack.release()
    layer.release()
