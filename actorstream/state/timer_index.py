"""The timers that layers hold, by time: for each key group its nearest ones, and how far they are known.

    layers      head | 01 | domain | time 8 | key ‖ name  ->  length of the key 4         (‖ as in state/entries.py)

    key group   timers in memory, sorted        known          only in layers
       7        09:01 a · 09:02 b · 09:02 c   │ 09:02 c ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─>
       8        (none)                        │ complete: there are no more
       9        (none)                        │ 08:00 ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─>    begins at its mark

A key group's timers lie together in the layers, so its nearest ones are one short scan
of each layer. `first` is the least of all key groups; one whose next timer is not known
stands at the time up to which it is known, and is read on when that is the least.

Invariants:
- `timers` of a key group are all that its layers hold up to `known`, except those that
  were taken out because a newer epoch knows better (state/timers.py). A timer beyond
  `known` is not there.
- Memory holds at most `MOST` timers a key group, whatever there is.
- A look reads a bounded number of rows: a row of timers that are gone, as they lie in
  layers before compaction, is passed in several looks.
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heappop, heappush, heapreplace, merge
from typing import TYPE_CHECKING, TypeAlias

from actorstream.errors import StoreError
from actorstream.model.times import TIME_MIN
from actorstream.state.entries import (
    HEAD_BYTES,
    PART_BYTES_MAX,
    TOMBSTONE,
    VALUE,
    cut_short,
    kind_of,
    newer_format,
    take_apart,
    whole_parts,
)
from actorstream.state.timer_entries import BY_TIME, time_bytes, time_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorstream.state.layer import Layer
    from actorstream.state.stack import LayerStack

At: TypeAlias = "tuple[int, bytes, bytes]"
"""Time, encoded key, domain byte and encoded name: in this order timers fire."""
Position: TypeAlias = "tuple[int, bytes]"
"""Time, and the rest of a row: encoded key and encoded name."""
_Row: TypeAlias = "tuple[int, bytes, int, int]"  # time, rest, age of the layer, length of the key: 0 if it is gone

FEW, MANY = 8, 64
"""How many timers of a key group the first reading fetches, and the later ones."""
MOST = 2 * MANY

_TIME_AT = HEAD_BYTES + 2
_REST_AT = _TIME_AT + 8
_UNSHORTENED = HEAD_BYTES + PART_BYTES_MAX  # so many bytes of an entry key are in order, whatever was shortened


class _Nearest:
    """One key group."""

    __slots__ = ("complete", "fetch", "known", "listed", "timers")

    def __init__(self, known: Position, *, complete: bool) -> None:
        self.timers: list[At] = []
        self.known = known
        self.complete = complete
        self.listed: At | None = None
        self.fetch = FEW

    def first(self) -> At | None:
        """Give the first timer, or a place before it that says only its time; None where there are no more."""
        if self.timers:
            return self.timers[0]
        return None if self.complete else (self.known[0], b"", b"")


class TimerIndex:
    """The timers of one domain in the layers of one subtask."""

    def __init__(self, domain: bytes, heads: Mapping[int, bytes], stack: LayerStack, marks: Mapping[int, int]) -> None:
        """Know nothing of the layers yet but `marks`: before that time a key group has no timer there."""
        self._domain = domain
        self._heads = heads
        self._stack = stack
        self._near: dict[int, _Nearest] = {}
        self._tops: list[tuple[At, int]] = []
        if stack.layers:
            for group in heads:
                self._list(group, self._begin(group, marks.get(group, TIME_MIN), complete=False))

    def look(self, rows: int) -> tuple[At | None, bool]:
        """Give the first timer, reading about `rows` rows at most; None if there is none.

        False stands beside a place that no timer lies before: more must be read to know the first.
        """
        tops = self._tops
        while tops:
            listed, group = tops[0]
            near = self._near[group]
            first = near.first()
            if near.listed != listed:
                heappop(tops)  # another one stands for this key group
            elif first is None:
                heappop(tops)
                near.listed = None
            elif first != listed:
                heapreplace(tops, (first, group))
                near.listed = first
            elif near.timers:
                return first, True
            elif rows <= 0:
                return first, False
            else:
                rows -= self._read_on(group, near)
        return None, True

    def drop(self, at: At) -> None:
        """Take out a timer if it is the first, as `look` has just given it."""
        if self._tops and self._tops[0][0] == at:
            del self._near[self._tops[0][1]].timers[0]

    def insert(self, group: int, at: At) -> None:
        """A timer has come into the newest layer."""
        near = self._near.get(group)
        if near is None:
            near = self._begin(group, TIME_MIN, complete=True)
        if not near.complete and (at[0], at[1] + at[2][1:]) > near.known:
            return
        timers = near.timers
        place = bisect_left(timers, at)
        if place < len(timers) and timers[place] == at:
            return
        timers.insert(place, at)
        if len(timers) > MOST:
            del timers[MANY:]
            time, key, suffix = timers[-1]
            near.known, near.complete = (time, key + suffix[1:]), False
        if not place:
            self._list(group, near)

    def remove(self, group: int, at: At) -> None:
        """A timer is in the layers no more; one that is not known here is passed over."""
        near = self._near.get(group)
        if near is not None:
            place = bisect_left(near.timers, at)
            if place < len(near.timers) and near.timers[place] == at:
                del near.timers[place]

    def behind(self, group: int, position: Position, up_to: int) -> tuple[list[At], Position | None]:
        """Read the timers of a key group behind a position, up to a time; give them, and from where there may be more.

        What epochs in memory know better is among them.
        """
        found: list[At] = []
        for rows, (time, rest, _, cut) in enumerate(self._newest(group, position), 1):
            if time > up_to:
                break
            if cut:
                found.append((time, rest[:cut], self._domain + rest[cut:]))
            if rows == MOST:
                return found, (time, rest)
        return found, None

    def _begin(self, group: int, mark: int, *, complete: bool) -> _Nearest:
        near = self._near[group] = _Nearest((mark, b""), complete=complete)
        return near

    def _list(self, group: int, near: _Nearest) -> None:
        first = near.first()
        if first is not None and (near.listed is None or first < near.listed):
            near.listed = first
            heappush(self._tops, (first, group))
            if len(self._tops) > 4 * len(self._near) + MANY:
                self._tops = sorted((each.listed, group) for group, each in self._near.items() if each.listed)

    # ---- reading -----------------------------------------------------------------------------------------------------

    def _read_on(self, group: int, near: _Nearest) -> int:
        """Fetch the next timers of a key group that has none in memory; give how many rows that took."""
        fetch, near.fetch = near.fetch, min(4 * near.fetch, MANY)
        rows = 0
        for time, rest, _, cut in self._newest(group, near.known):
            near.known = time, rest
            rows += 1
            if cut:
                near.timers.append((time, rest[:cut], self._domain + rest[cut:]))
            if len(near.timers) == fetch or rows == MOST:
                return rows + len(self._stack.layers_for(group))
        near.complete = True
        return rows + len(self._stack.layers_for(group))

    def _newest(self, group: int, after: Position) -> Iterator[_Row]:
        """Give the rows behind a position, of each what the newest layer says."""
        layers = self._stack.layers_for(group)
        prefix = self._heads[group] + BY_TIME + self._domain
        last: Position | None = None
        for row in merge(*[_rows(layer, age, prefix, after) for age, layer in enumerate(layers)]):
            position = row[:2]
            if position != last:
                last = position
                yield row


def _rows(layer: Layer, age: int, prefix: bytes, after: Position) -> Iterator[_Row]:
    """Give the rows of one layer behind a position, in order.

    Those that share all bytes that are never shortened are put in order here.
    """
    start = (time_bytes(after[0]) + after[1])[: _UNSHORTENED - len(prefix)]
    together: list[_Row] = []
    stem = b""
    for entry_key, value in layer.scan(prefix, start):
        if together and not entry_key.startswith(stem):
            yield from sorted(together)
            together.clear()
        row = _row(layer, age, entry_key, value)
        if row[:2] <= after:
            continue
        if len(entry_key) <= _UNSHORTENED:
            yield row
        else:
            stem = entry_key[:_UNSHORTENED]
            together.append(row)
    yield from sorted(together)


def _row(layer: Layer, age: int, entry_key: bytes, value: bytes) -> _Row:
    if len(entry_key) < _REST_AT:
        raise cut_short(entry_key)  # the search would not come past it
    short = kind_of(value) in {VALUE, TOMBSTONE}
    tagged = value if short else take_apart(value).tagged
    rest = entry_key[_REST_AT:] if short else whole_parts(entry_key, value)[_REST_AT - HEAD_BYTES :]
    if tagged[0] == TOMBSTONE:
        return time_in(entry_key, _TIME_AT), rest, age, 0
    if tagged[0] != VALUE:
        raise newer_format(f"layer {layer.file.name}", tagged[0])
    cut = int.from_bytes(tagged[1:5])
    if not 0 < cut < len(rest):
        raise StoreError(f"layer {layer.file.name}: a timer without key or name was found: restore an older checkpoint")
    return time_in(entry_key, _TIME_AT), rest, age, cut
