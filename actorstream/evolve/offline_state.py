"""One state of a snapshot: ask it for a key, or go through it in order.

    key group 0   a=1        e=5  ┐
    key group 1        c=3        ├─merge─>  a=1  b=2  c=3  e=5
    key group 2   b=2             ┘

Memory holds a row of each key group and layer, however large the state is: about 3 kB each. Several iterators may go on
side by side. One that was begun inside of the snapshot's block holds its files until it is exhausted or dropped.
"""

from __future__ import annotations

from heapq import merge
from typing import TYPE_CHECKING, Any

from actorstream.model.key_groups import key_group_of
from actorstream.state.entries import head_of
from actorstream.state.live_rows import live_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorstream.evolve.stored_items import Found, Items, StateKind
    from actorstream.model.ids import OperatorNumber, StateNumber
    from actorstream.state.live_rows import Bounds, Instants, LiveRow
    from actorstream.state.stack import LayerStack


class OfflineState:
    """One state of one operator, as of a snapshot.

    What an item is goes by the kind of the state: for a value or list the key, for a map (key, map key), for timers
    (key, domain, name), for window slices (begin of the slice, key); for broadcast state the map key, for an operator's
    lists the index of the subtask that had it.

    Attributes:
        kind: "value", "map", "timers", "slices", "broadcast" or "list".
        of: What reads its rows.
    """

    def __init__(
        self,
        items: Items,
        kind: StateKind,
        numbers: tuple[OperatorNumber, StateNumber],
        stack: LayerStack,
        now: Callable[[int], Instants] | None,
        check_open: Callable[[], None] = lambda: None,
    ) -> None:
        """Read the entries under `numbers`, as `items` says; `check_open` raises once that is over.

        `now` says what time it is for a key group, so what has expired; None: nothing has.
        """
        self.kind: StateKind = kind
        self.of = items
        self._operator, self._state = numbers
        self._stack = stack
        self._groups = stack.key_groups
        self._now = now
        self._check_open = check_open

    def get(self, key: Any, /, default: Any = None) -> Any:  # noqa: ANN401  (what was stored)
        """Give what is stored under a key.

        Args:
            key: A key, of the type that the operator's keys have: 1, 1.0 and True are three keys.
            default: What to give where nothing is stored: also where the job had left a state at its own default.

        Returns:
            The value, or the list. For a map a dict of all its entries, for timers one from (domain, name) to the
            time, for slices one from their begin; these are empty where there is nothing, whatever `default` is.

        Raises:
            CodecError: The key is of a type that no key can have, or what is stored cannot be decoded.
        """
        if self.kind == "list":
            return next((items for subtask, items in self.items() if subtask == key), default)
        part, bounds = self.of.lookup(key)
        found = self.of.read(self.rows_in(key_group_of(part, self._groups.end), bounds))
        if self.kind in {"value", "broadcast"}:
            return next((value for _, value, _ in found), default)
        if self.kind == "slices":
            return {item[0]: value for item, value, _ in found if item[1] == key}  # type: ignore[index]
        if self.kind == "map":
            return {item[1]: value for item, value, _ in found}  # type: ignore[index]
        return {item[1:]: value for item, value, _ in found}  # type: ignore[index]

    def items(self, *, start: Any = None, stop: Any = None) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
        """Give items and their values in the order of the encoded keys: numbers by size, text by code point.

        Of keys that are over 200 bytes long encoded, those with the same first 200 are together, in an order of
        their digests.

        Args:
            start: The first key; for slices the first begin of one.
            stop: The key behind the last.

        Raises:
            CodecError: A bound cannot be a key, or what is stored cannot be decoded.
            StoreError: The snapshot's block has ended.
        """
        return ((item, value) for item, value, _ in self.found(self.of.between(start, stop)))

    def found(self, bounds: Bounds | None = None) -> Iterator[Found]:
        """Give items with the times at which their values expire, in order."""
        return self.of.read(self.rows(bounds))

    def rows(self, bounds: Bounds | None = None) -> Iterator[LiveRow]:
        """Give the rows of all key groups, in order; within `bounds`, or all that stand for an item.

        Raises:
            StoreError: The snapshot's block has ended before the first.
        """
        self._check_open()
        within = self.of.between(None, None) if bounds is None else bounds
        yield from merge(*[self.rows_in(group, within) for group in range(*self._groups)])

    def rows_in(self, group: int, bounds: Bounds) -> Iterator[LiveRow]:
        """Give the rows of one key group, in order."""
        self._check_open()
        now = None if self._now is None else self._now(group)
        return live_rows(self._stack.layers_for(group), head_of(self._operator, group, self._state), bounds, now)
