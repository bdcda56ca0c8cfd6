"""The state that each operator begins an attempt with: by key in every subtask, without key read once for all.

manifest's stacks ──covering──> OperatorState of a subtask         its key groups only
                  └─read_unkeyed──> Unkeyed of an operator         broadcast and list states, for all subtasks
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from anyio.lowlevel import checkpoint

from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.key_groups import KeyGroupRange, range_of
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.stack import LayerStack
from actorstream.state.unkeyed import StoredList, Unkeyed, read_broadcast, read_lists

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actorstream.checkpoints.numbers import Numbers
    from actorstream.graph.plan import Chain
    from actorstream.model.ids import SubtaskId
    from actorstream.operators.columns import Column
    from actorstream.runtime.restoring import Restored

_T = TypeVar("_T")
_AT_ONCE = 200
"""So many entries are decoded before others have a turn: some milliseconds at most."""


def state_of(
    chain: Chain, identity: SubtaskId, numbers: Numbers, columns: Sequence[Column], restored: Restored, groups: int
) -> OperatorState | None:
    """Make the state of a subtask over its share of what was restored; None where the chain keeps none."""
    if chain.stateful is None:
        return None
    name = chain.stateful.name
    key_groups = range_of(identity.subtask, chain.parallelism, groups)
    return OperatorState(
        operator=numbers.number_operator(name)[1],
        columns=_numbered(numbers, name, columns),
        key_groups=key_groups,
        max_parallelism=groups,
        stack=LayerStack.covering(key_groups, restored.stacks.get(name, ())),
        name=name,
    )


async def read_unkeyed(restored: Restored, columns: Mapping[str, Sequence[Column]], groups: int) -> dict[str, Unkeyed]:
    """Read the states of every operator that belong to no key, as the snapshot has them.

    Args:
        restored: What was opened.
        columns: The states of each operator, as they read what its layers hold.
        groups: How many key groups there are.

    Raises:
        CodecError: An entry cannot be decoded.
    """
    found: dict[str, Unkeyed] = {}
    for name, declared in columns.items():
        unkeyed = [column for column in declared if column.kind in {"broadcast", "list"}]
        if not unkeyed or name not in restored.stacks:
            continue
        operator = OperatorNumber(restored.numbers.operators[name])
        stack = LayerStack.covering(KeyGroupRange(0, groups), restored.stacks[name])
        broadcast: dict[str, list[tuple[object, object]]] = {}
        lists: dict[str, list[StoredList]] = {}
        try:
            for column in _numbered(restored.numbers, name, unkeyed):
                if column.kind == "broadcast":
                    broadcast[column.name] = await _gathered(read_broadcast(stack, operator, column))
                else:
                    lists[column.name] = await _gathered(read_lists(stack, operator, column))
                    lists[column.name].sort(key=attrgetter("slot"))
        finally:
            stack.release()
        found[name] = Unkeyed(restored.parallelism[name], broadcast, lists)
    return found


async def _gathered(entries: Iterable[_T | None]) -> list[_T]:
    """Take all entries, a slice a turn of the loop."""
    gathered: list[_T] = []
    for number, entry in enumerate(entries, 1):
        if entry is not None:
            gathered.append(entry)
        if number % _AT_ONCE == 0:
            await checkpoint()
    return gathered


def _numbered(numbers: Numbers, operator: str, columns: Sequence[Column]) -> list[StateColumn]:
    """Give those of the columns that have a number, with it."""
    known = numbers.states[operator]
    return [
        StateColumn(StateNumber(known[column.name]), column.name, column.kind, column.codec)
        for column in columns
        if column.name in known
    ]


def number_all(numbers: Numbers, columns: Mapping[str, Sequence[Column]]) -> Numbers:
    """Give every operator and state that has none a number."""
    for name, states in columns.items():
        numbers, _ = numbers.number_operator(name)
        for column in states:
            numbers, _ = numbers.number_state(name, column.name)
    return numbers
