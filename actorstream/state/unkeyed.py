"""State of an operator that belongs to no key: how it lies among the keyed entries, and how it is read back.

    broadcast   (0, map key)          -> value      written by one subtask, the one that has the key group of 0
    list        ((subtask, salt), 0)  -> the list   written by each; the salt puts it into the subtask's key groups

So layers, stacks, compaction and manifests need to know nothing of it. A restore reads the entries of all key groups,
whoever wrote them, and every subtask takes its share (operators/unkeyed_states.py): of broadcast state all, of
lists its own, or, at another parallelism, every q-th element.

An entry of a list that is not where its subtask keeps it now is removed by the subtask whose key group it is in, with
the same snapshot that has the list in its new place. So each element is in one entry of every snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

from actorstream.codec.ordered_keys import decode_key_at, encode_key
from actorstream.errors import CodecError
from actorstream.model.key_groups import key_group_of
from actorstream.state.entries import head_of, take_apart
from actorstream.state.live_rows import live_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorstream.codec.values import Codec
    from actorstream.model.ids import OperatorNumber
    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.state.operator_state import StateColumn
    from actorstream.state.stack import LayerStack

BROADCAST_KEY: Final = 0
"""Stands where a key does in the entries of broadcast state."""
LIST_ITEM: Final = 0
"""Stands where a map key does in the entry of a list."""

Slot: TypeAlias = "tuple[int, int]"
"""Under what a subtask keeps its list: its index, and a salt."""


class StoredList(NamedTuple):
    """The list of one subtask, as a snapshot holds it."""

    slot: Slot
    items: list[object]


@dataclass(slots=True)
class Unkeyed:
    """What a snapshot holds of one operator's states without key: whole, for all subtasks to take their share of.

    `parallelism` is the operator's in that snapshot, 0 where there is none. `broadcast` has the entries of each state
    in the order of their encoded keys, `lists` those of the old subtasks, in order. Nothing in it is changed.
    """

    parallelism: int = 0
    broadcast: Mapping[str, Sequence[tuple[object, object]]] = field(default_factory=dict)
    lists: Mapping[str, Sequence[StoredList]] = field(default_factory=dict)


def slot_of(subtask: int, key_groups: KeyGroupRange, max_parallelism: int) -> Slot:
    """Give under what a subtask with these key groups keeps its lists."""
    slots = ((subtask, salt) for salt in count())
    return next(slot for slot in slots if group_of(slot, max_parallelism) in range(*key_groups))


def group_of(slot: Slot, max_parallelism: int) -> int:
    """Give the key group that a list lies in."""
    return key_group_of(encode_key(slot), max_parallelism)


def read_broadcast(stack: LayerStack, operator: OperatorNumber, column: StateColumn) -> Iterator[tuple[object, object]]:
    """Give the entries of a broadcast state in the order of their encoded keys.

    Raises:
        CodecError: One cannot be decoded.
    """
    group = key_group_of(encode_key(BROADCAST_KEY), stack.key_groups.end)
    for parts, value in _rows(stack, operator, column, group):
        at = decode_key_at(parts, 0)[1]
        map_key = decode_key_at(parts, at)[0]
        yield map_key, _decoded(column.codec, value, f"{column.name}[{map_key!r:.100}]")


def read_lists(stack: LayerStack, operator: OperatorNumber, column: StateColumn) -> Iterator[StoredList | None]:
    """Give the lists of all subtasks, in no order; None now and then, where a key group has none.

    Raises:
        CodecError: One cannot be decoded.
    """
    for group in range(*stack.key_groups):
        yield None
        for parts, value in _rows(stack, operator, column, group):
            slot: Any = decode_key_at(parts, 0)[0]
            items: Any = _decoded(column.codec, value, f"{column.name}, {slot!r:.100}")
            if not (isinstance(slot, tuple) and list(map(type, slot)) == [int, int] and isinstance(items, list)):
                raise CodecError(
                    f"state {column.name} holds {items!r:.100} under {slot!r:.100}, expected a list's slot"
                )
            yield StoredList(cast("Slot", slot), items)


def _rows(
    stack: LayerStack, operator: OperatorNumber, column: StateColumn, group: int
) -> Iterator[tuple[bytes, bytes]]:
    for _, parts, value in live_rows(stack.layers_for(group), head_of(operator, group, column.number)):
        yield parts, take_apart(value).tagged


def _decoded(codec: Codec[Any], tagged: bytes, what: str) -> object:
    try:
        return codec.decode(tagged[1:])
    except CodecError as error:
        raise type(error)(f"state {what}: {error}") from error
