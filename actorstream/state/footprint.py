"""How much memory an entry of state takes: measured on a few, reckoned for all.

    footprint    one object, its parts two levels deep, from a few of each container
    EntrySizes   what an entry of one table takes: a running mean

CPython knows the size of an object, not what hangs on it nor who else holds it.
An object that many hold (a small int, an interned name, a field's key) is shared out
among them by its reference count, so it weighs next to nothing here.

What entries differ in most is seen in their encoding, whose lengths are all known after
a freeze. So the mean is `overhead + coded`: what an object takes more than its bytes,
from samples; and the exact mean of the bytes. One huge value among a million small ones
then moves the mean by what it is, where a sample would miss it, or take it for a million.
Between two freezes values may grow in place: samples of the live dict, each taken for at
most eight times the mean, raise it meanwhile.
"""

from __future__ import annotations

from itertools import islice
from sys import getrefcount, getsizeof
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DEPTH = 2
_PARTS = 8  # of a container
_HELD_BY_US = 3  # a name here, the argument, and the argument of getrefcount
_ASSUMED = 150.0  # bytes an entry, before there is any sample
_SEEN_AT_MOST = 8
_FIELDS = ("__dataclass_fields__", "__struct_fields__")


def footprint(value: object, held: int = 0) -> float:
    """Estimate the bytes that dropping `value` would free; `held` counts references that the caller has."""
    return _share(value, _HELD_BY_US + held, _DEPTH)


def _share(value: object, held: int, depth: int) -> float:
    holders = getrefcount(value) - held
    size: float = getsizeof(value)
    if depth:
        if isinstance(value, dict):
            size += _of_some(value, len(value), depth) + _of_some(value.values(), len(value), depth)
        elif isinstance(value, (list, tuple)):
            # All over it: the first ones of a list that grew are the oldest.
            step = len(value) // _PARTS or 1
            size += _of_some(map(value.__getitem__, range(0, len(value), step)), len(value), depth)
        elif isinstance(value, (set, frozenset)):
            size += _of_some(value, len(value), depth)
        else:
            size += _of_fields(value, depth)
    return size / holders if holders > 1 else size


def _of_some(parts: Iterable[object], count: int, depth: int) -> float:
    seen = 0
    size = 0.0
    for part in islice(parts, _PARTS):
        size += _share(part, _HELD_BY_US, depth - 1)
        seen += 1
    return size * count / seen if seen else 0.0


def _of_fields(value: object, depth: int) -> float:
    kind = type(value)
    for name in _FIELDS:
        fields = getattr(kind, name, None)
        if fields:
            # Never through __dict__: asking for it makes one, for good.
            parts: Iterator[object] = (getattr(value, field, None) for field in fields)
            own = 0 if hasattr(kind, "__slots__") or name == "__struct_fields__" else 16 + 8 * len(fields)
            return own + _of_some(parts, len(fields), depth)
    return 0.0


class _Mean:
    """A mean in which the last `window` samples count about as much as each other."""

    __slots__ = ("value", "weight", "window")

    def __init__(self, window: int) -> None:
        self.value = 0.0
        self.weight = 0
        self.window = window

    def add(self, value: float, count: int = 1) -> None:
        self.weight = min(self.weight + count, max(self.window, count))
        self.value += (value - self.value) * count / self.weight


class EntrySizes:
    """What an entry of one table takes, key, value and all, but not its place in a dict."""

    __slots__ = ("_coded", "_overhead", "_seen")

    def __init__(self) -> None:
        """Know nothing yet."""
        self._coded = _Mean(16_384)
        self._overhead = _Mean(512)
        self._seen = _Mean(16)

    def learn(self, samples: Iterable[tuple[float, int]], entries: int, coded: int) -> None:
        """Take in what was encoded: (memory, encoded bytes) of a few, number and encoded bytes of all."""
        for memory, length in samples:
            self._overhead.add(memory - length)
        if entries:
            self._coded.add(coded / entries, entries)

    def glimpse(self, memory: float) -> None:
        """Take in an entry of the live dict."""
        self._seen.add(min(memory, _SEEN_AT_MOST * self.settled) if self._coded.weight else memory)

    @property
    def settled(self) -> float:
        """Mean bytes of an entry that was frozen or came from a layer."""
        if self._coded.weight:
            return max(self._overhead.value + self._coded.value, 1.0)
        return self._seen.value or _ASSUMED

    @property
    def live(self) -> float:
        """Mean bytes of an entry of the live dict, whose values may have grown since the last freeze."""
        return max(self.settled, self._seen.value)
