"""A subtask's part of an operator list state: a list that knows whether the next snapshot has to write it.

Whatever changes it says so. An element that may be changed in place, and was handed out, counts as a change too.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import TYPE_CHECKING, Any, overload

from actorstream.codec.values import is_immutable
from actorstream.state.missing import PLAIN, private_copy
from actorstream.state.unkeyed import LIST_ITEM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorstream.state.map_table import MapTable
    from actorstream.state.unkeyed import Slot


class OperatorList(MutableSequence[Any]):
    """`self.waiting` of a process."""

    __slots__ = ("_before", "_changed", "_items", "_name", "_slot", "_table", "_trial")

    def __init__(self, name: str, table: MapTable, slot: Slot) -> None:
        """Start empty; the list is stored in `table` under `slot`."""
        self._items: list[Any] = []
        self._changed = False
        self._trial = False
        self._before: tuple[list[Any], bool] | None = None
        self._name = name
        self._table = table
        self._slot = slot

    def restore(self, items: Iterable[object], *, moved: bool) -> None:
        """Take over what a snapshot had; `moved`: not all of it, or not from where this list is stored."""
        self._items = [private_copy(item) for item in items]
        self._changed = moved

    def store(self) -> None:
        """Put the list where the snapshot that is about to be taken finds it, if it has changed."""
        if self._changed:
            self._changed = False
            if self._items:
                self._table.set(self._slot, LIST_ITEM, [private_copy(item) for item in self._items])
            else:
                self._table.delete(self._slot, LIST_ITEM)

    def begin_trial(self) -> None:
        """Let what is done from here on be undone if need be: a copy is made when it is touched first."""
        self._trial = True

    def end_trial(self, *, keep: bool) -> None:
        """Keep what was done since `begin_trial`, or let it never have been."""
        if self._before is not None and not keep:
            self._items, self._changed = self._before
        self._trial, self._before = False, None

    def _touch(self) -> None:
        """Something is about to be changed, or handed out that may be."""
        if self._trial and self._before is None:
            self._before = [private_copy(item) for item in self._items], self._changed
        self._changed = True

    @overload
    def __getitem__(self, index: int) -> Any: ...  # noqa: ANN401  (of the annotated type)
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Give an element, or a list of some."""
        found = self._items[index]
        if self._settled and not all(map(_is_fixed, found if isinstance(index, slice) else (found,))):
            self._touch()
        return found

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the elements."""
        if self._settled and not all(map(_is_fixed, self._items)):
            self._touch()
        return iter(self._items)

    @property
    def _settled(self) -> bool:
        """Whether a touch would say something that is not known yet."""
        return not self._changed or (self._trial and self._before is None)

    @overload
    def __setitem__(self, index: int, value: Any) -> None: ...  # noqa: ANN401
    @overload
    def __setitem__(self, index: slice, value: Iterable[Any]) -> None: ...
    def __setitem__(self, index: int | slice, value: Any) -> None:
        """Put an element, or several, in the place of others."""
        self._touch()
        self._items[index] = value

    def __delitem__(self, index: int | slice) -> None:
        """Remove an element, or several."""
        self._touch()
        del self._items[index]

    def __len__(self) -> int:
        """Count the elements."""
        return len(self._items)

    def insert(self, index: int, value: Any) -> None:  # noqa: ANN401
        """Put an element before another."""
        self._touch()
        self._items.insert(index, value)

    def append(self, value: Any) -> None:  # noqa: ANN401
        """Put an element at the end."""
        self._touch()
        self._items.append(value)

    def clear(self) -> None:
        """Remove all elements."""
        self._touch()
        self._items = []

    def __eq__(self, other: object) -> bool:
        """Compare with another sequence, as lists are."""
        if isinstance(other, OperatorList):
            return self._items == other._items
        return self._items == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Show the size: elements may be secret."""
        return f"<operator list state {self._name} of {len(self._items)} elements>"


def _is_fixed(value: object) -> bool:
    return value.__class__ in PLAIN or is_immutable(value)
