"""What a state must hold: a model of plain dicts, and the keys and values that histories are made of."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actorstream.codec.ordered_keys import encode_key
from actorstream.model.key_groups import key_group_of
from actorstream.state.missing import MISSING
from tests.state.rig import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.state.map_table import MapTable
    from actorstream.state.operator_state import OperatorState

LONG = "k" * 250
"""Over 200 bytes: such a key is shortened in a layer, and those that begin with it share what is left."""
_TOGETHER = [each for n in range(60) if key_group_of(encode_key(each := f"{LONG}{n}"), ALL.end) == 4][:3]

KEYS: list[Any] = [
    *("a", "b", "", 7, -1, 1 << 70, b"a", b"", ("a", 1), ("a", b"")),
    *(LONG, LONG.encode(), (LONG, 1), (LONG, 2)),
    *_TOGETHER,  # where all digests are the same, only their slots tell them apart
]
MAP_KEYS: list[Any] = [
    *(1, 1.0, True, -2, "m", "", b"m", ("t", 2)),  # the first three are three (T137)
    *(LONG, LONG + "a", LONG + "x", LONG.encode() + b"x", (LONG, 3)),
]
LONG_KEYS: list[Any] = ["a", (LONG, 1), LONG, *_TOGETHER]
LONG_MAP_KEYS: list[Any] = [1, LONG, LONG + "a", LONG + "x", LONG.encode() + b"x", (LONG, 3)]
BOUNDS: list[Any] = [None, *MAP_KEYS, 0, "n", b"", LONG[:150], LONG[:210], LONG + "b"]

EXPIRES = 100
"""An int of 100 + t is a value that expires at t, where a machine lets values expire."""
VALUES: list[Any] = [
    *(None, 0, 1, "v", (1, "t"), EXPIRES, EXPIRES + 1, EXPIRES + 3),
    *([], [1], [1], {"n": [1]}, {2}, ([1], 2)),  # can be changed in place
]


@dataclass
class Content:
    """Rows by key, one tuple of columns each; maps by state and key, each by encoded map key. Nothing is empty."""

    rows: dict[object, tuple[object, ...]] = field(default_factory=dict)
    maps: dict[tuple[str, object], dict[bytes, object]] = field(default_factory=dict)

    def of(self, groups: KeyGroupRange) -> Content:
        """Copy what belongs to some key groups."""
        rows = {key: row for key, row in self.rows.items() if group_of(key) in range(*groups)}
        maps = {place: entries for place, entries in self.maps.items() if group_of(place[1]) in range(*groups)}
        return deepcopy(Content(rows, maps))

    def row(self, key: object, width: int) -> object:
        """Give a row as a table gives it."""
        row = self.rows.get(key, MISSING)
        return row[0] if width == 1 and isinstance(row, tuple) else row

    def set_row(self, key: object, columns: Sequence[object]) -> None:
        """Set a row; one without any value is none."""
        if all(value is MISSING for value in columns):
            self.rows.pop(key, None)
        else:
            self.rows[key] = tuple(columns)

    def map_of(self, name: str, key: object) -> dict[bytes, object]:
        """Give a map to change; one that stays empty does no harm."""
        return self.maps.setdefault((name, key), {})

    def clear_key(self, key: object) -> None:
        """Forget a key."""
        self.rows.pop(key, None)
        for (_, other), entries in self.maps.items():
            if other == key:
                entries.clear()

    def check(self, state: OperatorState, keys: Sequence[object], now: int) -> None:
        """Compare all that there is, by looks that change nothing."""
        self.lapse(state, now)
        width = state.rows.entries.width
        for key in keys:
            if group_of(key) not in range(*state.stack.key_groups):
                continue
            if width:
                assert state.rows.peek(key) == self.row(key, width)
            for name, table in state.maps.items():
                expected = sorted(self.maps.get((name, key), {}).items(), key=lambda entry: entry[0])
                assert coded(table.peek(key)) == expected
                assert len(table.peek(key)) == len(expected)
                self.check_memory(table, key, dict(expected))

    @staticmethod
    def check_memory(table: MapTable, key: object, expected: dict[bytes, object]) -> None:
        """Of what memory says of a map, the newest is true. Scans do not look at clean entries, which `get` gives."""
        said: set[bytes] = set()
        for epoch in (table.live, *table.below):
            change = epoch.get(key)
            if change is not None:
                assert all(expected.get(each, MISSING) == change.entries[each] for each in change.entries.keys() - said)
                said.update(change.entries)
                if change.cleared:
                    assert said >= expected.keys()
                    break

    def lapse(self, state: OperatorState, now: int) -> None:
        """Forget what has expired and is forgotten: a merge drops it, and memory may still have it."""
        for key, row in list(self.rows.items()):
            if any(lapsed(value, now) for value in row):
                found = columns_of(state.rows.peek(key), len(row))
                gone = [lapsed(value, now) and seen is MISSING for value, seen in zip(row, found, strict=True)]
                self.set_row(key, [MISSING if gone[at] else value for at, value in enumerate(row)])
        for (name, key), entries in self.maps.items():
            doubtful = [map_key for map_key, value in entries.items() if lapsed(value, now)]
            left = dict(coded(state.maps[name].peek(key))) if doubtful else {}
            for map_key in doubtful:
                if map_key not in left:
                    del entries[map_key]


def group_of(key: object) -> int:
    return key_group_of(encode_key(key), ALL.end)


def coded(items: Sequence[tuple[object, object]]) -> list[tuple[bytes, object]]:
    return [(encode_key(map_key), value) for map_key, value in items]


def expiry_of(value: object) -> int | None:
    return value - EXPIRES if type(value) is int and EXPIRES <= value <= EXPIRES + 9 else None


def lapsed(value: object, now: int) -> bool:
    expiry = expiry_of(value)
    return expiry is not None and expiry <= now


def columns_of(row: object, width: int) -> tuple[object, ...]:
    if row is MISSING:
        return (MISSING,) * width
    return row if width > 1 and isinstance(row, tuple) else (row,)


def change_in_place(value: object, extra: int) -> None:
    """Change a value, or what is in it; one that cannot be changed stays."""
    match value:
        case list():
            value.append(extra) if extra or not value else value.pop()
        case set():
            value.symmetric_difference_update({extra})
        case dict():
            change_in_place(value.setdefault("n", []), extra)
        case tuple():
            for each in value:
                change_in_place(each, extra)
        case _:
            pass


def between(entries: dict[bytes, object], start: object, stop: object, *, reverse: bool) -> Iterator[bytes]:
    """Give the map keys of a range, in order or against it."""
    low, high = (None if bound is None else encode_key(bound) for bound in (start, stop))
    for map_key in sorted(entries, reverse=reverse):
        if (low is None or low <= map_key) and (high is None or map_key < high):
            yield map_key
