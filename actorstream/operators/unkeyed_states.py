"""The states of one process object that belong to no key, and what it takes over of a snapshot.

broadcast   every subtask takes all; the one that keeps it stores what `on_broadcast` writes
list        at the same parallelism each takes its own; else all are dealt out, one element after the other

            a b c | d e     of 2 subtasks      to 3:     a d | b e | c           rescale="union": a b c d e to each
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from actorstream.operators.broadcast_view import BroadcastView
from actorstream.operators.operator_list import OperatorList
from actorstream.operators.unkeyed_declarations import BroadcastState, OperatorListState
from actorstream.state.unkeyed import BROADCAST_KEY, LIST_ITEM, Unkeyed, group_of, slot_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.operators.state_declarations import Declaration
    from actorstream.state.operator_state import OperatorState

ALONE = (0, 1)


class UnkeyedStates:
    """What the declared states are in one subtask, by name: `broadcast` and `lists`, `attributes` both of them."""

    def __init__(
        self,
        declared: Mapping[str, Declaration],
        owner: type,
        state: OperatorState,
        place: tuple[int, int] = ALONE,
        restored: Unkeyed | None = None,
    ) -> None:
        """Begin with this subtask's share of what was restored; `place` is its index and the parallelism."""
        restored = restored or Unkeyed()
        self.broadcast: dict[str, BroadcastView] = {}
        self.lists: dict[str, OperatorList] = {}
        for name, declaration in declared.items():
            if isinstance(declaration, BroadcastState):
                keeps = state.owns(BROADCAST_KEY)
                view = self.broadcast[name] = BroadcastView(declaration, owner, state.unkeyed[name] if keeps else None)
                view.writer.fill(restored.broadcast.get(name, ()))
            elif isinstance(declaration, OperatorListState):
                self.lists[name] = _list(declaration, owner, state, place, restored)
        self.attributes: Mapping[str, object] = {**self.broadcast, **self.lists}


def _list(
    declaration: OperatorListState[Any], owner: type, state: OperatorState, place: tuple[int, int], restored: Unkeyed
) -> OperatorList:
    """Make one list, and have entries removed that lie among our key groups, and are not where lists are kept now."""
    subtask, parallelism = place
    name, shares = declaration.name, declaration.rescale == "split"
    slot = slot_of(subtask, state.key_groups, state.max_parallelism)
    table, stored = state.unkeyed[name], restored.lists.get(name, ())
    own = OperatorList(f"{owner.__name__}.{name}", table, slot)
    for each in stored:
        if each.slot != slot and group_of(each.slot, state.max_parallelism) in range(*state.key_groups):
            table.delete(each.slot, LIST_ITEM)
    # A savepoint written offline says 1, whoever had the lists.
    if restored.parallelism == parallelism and all(each.slot[0] < parallelism for each in stored):
        mine = [each for each in stored if each.slot[0] == subtask]
        own.restore(chain.from_iterable(each.items for each in mine), moved=any(each.slot != slot for each in mine))
    else:
        everything = chain.from_iterable(each.items for each in stored)
        dealt = (item for n, item in enumerate(everything) if not shares or n % parallelism == subtask)
        own.restore(dealt, moved=bool(stored))
    state.before_freeze.append(own.store)
    return own
