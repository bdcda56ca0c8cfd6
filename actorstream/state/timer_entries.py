"""How timers lie in layers: under the head of key group and state, three kinds of entry (‖: what may be shortened).

    00 | domain                        -> mark 8           before this time there is none
    01 | domain | time 8 | key ‖ name  -> length of key 4  by time, so that the next ones are one scan
    02 | key ‖ domain | name           -> time 8           by name, so that one can be moved

No key begins with 00, 01 or 02 (codec/ordered_keys.py). Times are signed microseconds, so
encoded that they sort; a `suffix` is domain and encoded name.

A mark spares a restart the tombstones of all that has fired, which come first by time. It
is written with the tombstones of its key group and domain, and when a timer is set before
a mark that may be there. Compaction knows nothing of it: the newest counts, as of all keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorstream.codec.ordered_keys import encode_key
from actorstream.model.key_groups import key_group_of
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.state.entries import (
    PART_BYTES_MAX,
    TOMBSTONE,
    TOMBSTONE_TAG,
    VALUE,
    VALUE_TAG,
    find,
    kind_of,
    map_entries,
    newer_format,
    prefix_in,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from actorstream.model.ids import StateNumber
    from actorstream.state.entries import Entry, Slots
    from actorstream.state.key_space import KeySpace

MARK, BY_TIME, BY_NAME = b"\x00", b"\x01", b"\x02"
DOMAINS: Final = (b"\x00", b"\x01")


def time_bytes(at: int) -> bytes:
    """Encode a time so that it sorts."""
    return (at - TIME_MIN).to_bytes(8)


def time_in(data: bytes, start: int = 0) -> int:
    """Decode what `time_bytes` gave."""
    return int.from_bytes(data[start : start + 8]) + TIME_MIN


class TimerEntries:
    """The layout for one operator's timers, and what the layers say.

    Attributes:
        heads: For each key group of this subtask what its entries begin with.
    """

    def __init__(self, number: StateNumber, space: KeySpace) -> None:
        """Read and write under `number`."""
        self.heads = space.heads(number)
        self._space = space

    def encoded(self, key: object) -> bytes:
        """Encode a key of this subtask.

        Raises:
            CodecError: It cannot be encoded.
            InvariantError: It belongs to another subtask.
        """
        part = encode_key(key)
        if self.group_of(part) not in self.heads:
            raise self._space.stranger(key)
        return part

    def group_of(self, part: bytes) -> int:
        """Give the key group of an encoded key."""
        return key_group_of(part, self._space.max_parallelism)

    def time_of(self, part: bytes, suffix: bytes) -> int | None:
        """Give when a timer fires, as the layers say; None if they have none."""
        tagged = self._find(self.group_of(part), BY_NAME + part, suffix)
        return None if tagged is None else time_in(tagged, 1)

    def suffixes_of(self, part: bytes) -> Iterator[bytes]:
        """Give domain and name of every timer that some layer knows of a key; it may be gone, and come twice."""
        group = self.group_of(part)
        for layer in self._space.stack.layers_for(group):
            prefix = prefix_in(layer, self.heads[group], BY_NAME + part)
            if prefix is not None:
                for suffix, _ in map_entries(layer, prefix, None, None, reverse=False):
                    yield suffix

    def marks(self, domain: int) -> dict[int, int]:
        """Give the mark of each key group; TIME_MIN where there is none."""
        found = ((group, self._find(group, MARK + DOMAINS[domain], b"")) for group in self.heads)
        return {group: TIME_MIN if tagged is None else time_in(tagged, 1) for group, tagged in found}

    def _find(self, group: int, first: bytes, second: bytes) -> bytes | None:
        stack, head = self._space.stack, self.heads[group]
        tagged: bytes | None = None
        if len(first) <= PART_BYTES_MAX and len(second) <= PART_BYTES_MAX:
            tagged = stack.get(group, head + first + second)
        else:
            found = (find(layer, head, first, second) for layer in stack.layers_for(group))
            tagged = next((each for each in found if each is not None), None)
        if tagged is None or (kind := kind_of(tagged)) == TOMBSTONE:
            return None
        if kind != VALUE:
            raise newer_format(f"timers of {self._space.name}", kind)
        return tagged


class TimerWriting:
    """Makes the entries of one generation; with `bottom` there is nothing that a tombstone could hide."""

    def __init__(self, layout: TimerEntries, slots: Slots, *, bottom: bool) -> None:
        """Begin with none."""
        self._layout = layout
        self._slots = slots
        self._bottom = bottom
        self._lowest: dict[tuple[int, int], int] = {}
        self._spared: set[tuple[int, int]] = set()

    def change(self, part: bytes, suffix: bytes, at: int | None, stale: Iterable[int]) -> list[Entry | None]:
        """Give the entries of a timer that fires at `at`, or does not, and did at `stale` before; None for none."""
        group, entry = self._layout.group_of(part), self._slots.entry
        head, domain = self._layout.heads[group], suffix[0]
        entries = self._gone(group, part, suffix, at, stale) if stale else []
        if at is not None:
            time, place = time_bytes(at), (group, domain)
            if at < self._lowest.get(place, TIME_MAX + 1):
                self._lowest[place] = at
            length = VALUE_TAG + len(part).to_bytes(4)
            entries.append(entry(head, BY_NAME + part, suffix, VALUE_TAG + time))
            entries.append(entry(head, BY_TIME + DOMAINS[domain] + time + part, suffix[1:], length))
        elif not self._bottom:
            entries.append(entry(head, BY_NAME + part, suffix, TOMBSTONE_TAG))
        return entries or [None]

    def gone(self, part: bytes, suffix: bytes, at: int | None, stale: Iterable[int]) -> list[Entry | None]:
        """Give the tombstones of the times at which a timer does not fire any more; None for none."""
        return self._gone(self._layout.group_of(part), part, suffix, at, stale) or [None]

    def _gone(self, group: int, part: bytes, suffix: bytes, at: int | None, stale: Iterable[int]) -> list[Entry | None]:
        if self._bottom:
            return []
        head, before, name = self._layout.heads[group], BY_TIME + suffix[:1], suffix[1:]
        entries: list[Entry | None] = [
            self._slots.entry(head, before + time_bytes(time) + part, name, TOMBSTONE_TAG)
            for time in stale
            if time != at
        ]
        if entries:
            self._spared.add((group, suffix[0]))
        return entries

    def marks(self, floors: Sequence[int], highest: list[int]) -> list[Entry]:
        """Give the marks that are called for; `highest` is that of each domain which may be in a layer."""
        if self._bottom:
            return []
        marked: list[Entry] = []
        most = tuple(highest)
        for group, domain in {**self._lowest, **dict.fromkeys(self._spared)}:
            floor = floors[domain]
            spares = floor > TIME_MIN and (group, domain) in self._spared
            if spares or self._lowest.get((group, domain), TIME_MAX) < most[domain]:
                highest[domain] = max(highest[domain], floor)
                marked.append((self._layout.heads[group] + MARK + DOMAINS[domain], VALUE_TAG + time_bytes(floor)))
        return marked
