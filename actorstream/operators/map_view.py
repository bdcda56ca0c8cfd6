"""What a map state is inside a handler: a sorted mapping of the current key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorstream.operators.state_declarations import Declaration, SortedMap
from actorstream.state.memtable import MISSING, PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.operators.ttl import Lifetime
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

    def __bool__(self) -> bool:
        """Tell whether there is an entry: looks for the first."""
        return self._table.first(self._key()) is not MISSING

    def popitem(self) -> tuple[Any, Any]:
        """Remove the first entry, in order, and give it; KeyError if there is none."""
        item = self._table.first(self._key())
        if item is MISSING:
            raise KeyError("popitem(): the map is empty")
        return item, self.pop(item)

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


class ExpiringMapView(MapView):
    """A map state with a time-to-live. Its entries are stored as (value, expiry), and expire one by one.

    An expired entry is not there: neither shown nor counted. It stays where it is until it is written again or
    dropped by a merge of layers, so that reading while iterating changes nothing.
    """

    __slots__ = ("_lifetime", "_time")

    def __init__(self, declaration: Declaration, table: MapTable, lifetime: Lifetime) -> None:
        """Look at one map column."""
        super().__init__(declaration, table)
        self._lifetime = lifetime
        self._time = lifetime.time

    def __getitem__(self, item: object) -> Any:  # noqa: ANN401  (of the annotated type)
        """Give an entry's value; KeyError if there is none."""
        pair: Any = self._table.get(self._key(), item)
        if pair is MISSING or pair[1] <= self._time.now:
            raise KeyError(item)
        return self._given(item, pair)

    def __setitem__(self, item: object, value: object) -> None:
        """Write an entry, which begins to age anew."""
        key, table = self._key(), self._table
        if table.iterating and item not in self:
            table.delete(key, item)  # there may be an expired one: this adds an entry all the same
        table.set(key, item, (value, self._time.written + self._lifetime.duration))

    def __delitem__(self, item: object) -> None:
        """Remove an entry; KeyError if there is none."""
        if item not in self:
            raise KeyError(item)
        self._table.delete(self.key, item)

    def __contains__(self, item: object) -> bool:
        """Tell whether there is an entry; it is not read."""
        pair: Any = self._table.get(self._key(), item)
        return pair is not MISSING and self._time.now < pair[1]

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the keys, in order; values are not read."""
        return (item for item, _ in self._there())

    def __bool__(self) -> bool:
        """Tell whether there is an entry that has not expired: looks for the first."""
        first = self._table.first(self._key())
        return first is not MISSING and (first in self or any(True for _ in self._there()))

    def popitem(self) -> tuple[Any, Any]:
        """Remove the first entry that has not expired, and give it; those before it are removed too."""
        while (item := self._table.first(self._key())) is not MISSING:
            if item in self:
                return item, self.pop(item)
            self._table.delete(self.key, item)
        raise KeyError("popitem(): the map is empty")

    def __len__(self) -> int:
        """Count the entries: looks at them all."""
        return sum(1 for _ in self._there())

    def scan(
        self, start: object = None, stop: object = None, *, reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[Any, Any]]:
        """Give the entries with start <= key < stop, in order; `limit` counts those that are given."""
        for n, (item, pair) in enumerate(self._there(start, stop, reverse=reverse)):
            if limit is not None and n >= limit:
                return
            yield item, self._given(item, pair)

    def _there(
        self, start: object = None, stop: object = None, *, reverse: bool = False
    ) -> Iterator[tuple[object, tuple[object, int]]]:
        entries: Any = self._table.items(self._key(), start=start, stop=stop, reverse=reverse)
        return (entry for entry in entries if self._time.now < entry[1][1])

    def _given(self, item: object, pair: tuple[object, int]) -> object:
        """Hand out a value that is there, and let its expiry move if that is called for."""
        if self._lifetime.by_read or pair[0].__class__ not in PLAIN:
            left = self._lifetime.on_read(pair)
            if left is not pair:
                self._table.set(self._key(), item, left)
        return pair[0]
