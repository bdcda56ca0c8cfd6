"""What a map state is inside a handler: a sorted mapping of the current key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorstream.operators.state_declarations import Declaration, SortedMap
from actorstream.state.memtable import MISSING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.state.map_table import MapTable


class MapView(SortedMap[Any, Any]):
    """`self.pages` of a process: the map of the key in `key`, which the generated loop sets."""

    __slots__ = ("_declaration", "_table", "key")

    def __init__(self, declaration: Declaration, table: MapTable) -> None:
        """Look at one map column."""
        self._declaration = declaration
        self._table = table
        self.key: object = MISSING

    def _key(self) -> object:
        if self.key is MISSING:
            raise self._declaration.refuse(None)
        return self.key

    def __getitem__(self, item: object) -> Any:  # noqa: ANN401  (of the annotated type)
        """Give an entry's value; KeyError if there is none."""
        value = self._table.get(self._key(), item)
        if value is MISSING:
            raise KeyError(item)
        return value

    def __setitem__(self, item: object, value: object) -> None:
        """Write an entry."""
        self._table.set(self._key(), item, value)

    def __delitem__(self, item: object) -> None:
        """Remove an entry; KeyError if there is none."""
        if self._table.get(self._key(), item) is MISSING:
            raise KeyError(item)
        self._table.delete(self.key, item)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the keys, in order."""
        return (item for item, _ in self._table.items(self._key()))

    def __len__(self) -> int:
        """Count the entries: reads them all."""
        return sum(1 for _ in self._table.items(self._key()))

    def clear(self) -> None:
        """Remove every entry."""
        self._table.clear(self._key())

    def scan(
        self, start: object = None, stop: object = None, *, reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[Any, Any]]:
        """Give the entries with start <= key < stop, in order."""
        for n, entry in enumerate(self._table.items(self._key(), start=start, stop=stop, reverse=reverse)):
            if limit is not None and n >= limit:
                return
            yield entry
