"""Inputs that are nearly right: bytes flipped, cut, spliced, repeated; lengths that lie; documents with strange parts.

valid bytes ──ops──> mutated            {"a": [1]} ──ops──> {"a": [10 ** 30]}, {"a": {}}, {"a": [1], "b": ...}
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXTREMES: Final = tuple(
    value.to_bytes(size, order)
    for size in (1, 2, 4, 8)
    for value in (0, 1, (1 << 8 * size - 1) - 1, 1 << 8 * size - 1, (1 << 8 * size) - 1)
    for order in ("big", "little")
)
"""Numbers at the edges, as lengths and counts stand in bytes."""

LIES: Final = tuple(
    bytes.fromhex(text)
    for text in (
        "dd ff ff ff ff", "dc ff ff", "df ff ff ff ff", "de ff ff", "c6 ff ff ff ff", "db ff ff ff ff",
        "c9 ff ff ff ff 01", "c9 7f ff ff ff 04", "c7 ff 05", "21 ff ff ff ff", "22 ff ff ff ff", "20 00 00 00 00",
        "c1 00 01", "c1", "c1 ff ff", "ff ff ff ff ff ff ff ff", "28 b5 2f fd", "1f 8b 08 00",
    )
)  # fmt: skip
"""Heads of MessagePack, of ordered keys and of archives that promise more than follows."""

DEEP: Final = (
    b"\x91" * 5_000,
    b"\xdc\xff\xff" * 300,
    b"\x81\xa1a" * 2_000,
    b"[" * 5_000,
    b'{"a":' * 5_000,
    b"P" * 5_000,
)
"""Nested further than any stack goes."""

_MANY_DIGITS = "9" * 5_000
_TOO_MANY_DIGITS: Final = "@digits@"

STRANGE: Final[tuple[Any, ...]] = (
    None, True, False, -1, 0, 1, 2, 255, 256, 65_535, 65_536, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**64),
    10**30, 10**400, 1e308, 1.5, float("nan"), float("inf"), "", "a", "x" * 5_000, "../../x", "/x", "\0", "\ud800",
    "-", "0", "-1", "²", "٣", "9" * 5_000, "[" * 500, "-" * 5_000 + "1", "(" * 90, "AA==", "====", "1e999999999",
    "int", "any", "again", "maybe", _TOO_MANY_DIGITS,
    [], {}, [[]], [None], {"": 0}, [0] * 300, {"a": {}}, {"tagged": []}, {"tagged": {}}, {"maybe": "any"}, {"list": 5},
    {"again": "x"}, {"record": "x"}, {"record": "x", "by": "name", "fields": [["a"]]}, {"literal": [5]},
    {"literal": ["-" * 5_000 + "1"]}, {"enum": "x"}, {"enum": "x", "values": 7}, {"dict": ["any"]}, {"one of": [[]]},
)  # fmt: skip
"""Values that stand in no document of ours, or elsewhere in it."""


def mutated(valid: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Give bytes that begin as one of `valid` and are then changed in a few places; rarely not at all."""
    return st.sampled_from(list(valid)).flatmap(
        lambda base: st.lists(_changes(valid), min_size=0, max_size=4).map(lambda ops: _applied(base, ops))
    )


def hostile(valid: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Give any bytes: random ones, what is nested too deeply, heads that lie, and mutated valid ones."""
    return st.one_of(
        st.binary(max_size=64),
        mutated(valid),
        mutated(valid),
        mutated(LIES),
        st.sampled_from(DEEP),
        st.tuples(st.sampled_from(LIES), st.binary(max_size=24)).map(b"".join),
    )


def document(valid: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Give a JSON document that begins as one of `valid`, with strange parts in a few places."""
    trees = [json.loads(text) for text in valid]
    change = st.tuples(
        st.integers(0, 1 << 30), st.sampled_from(("put", "put", "put", "drop", "double")), strange_values
    )
    return st.sampled_from(trees).flatmap(
        lambda tree: st.lists(change, min_size=1, max_size=3).map(lambda changes: encoded(_grafted(tree, changes)))
    )


strange_values: st.SearchStrategy[Any] = st.sampled_from(STRANGE) | st.integers() | st.text(max_size=8)


def encoded(tree: object) -> bytes:
    """Write JSON; numbers of thousands of digits too."""
    return json.dumps(tree).replace(json.dumps(_TOO_MANY_DIGITS), _MANY_DIGITS).encode()


def _changes(others: Sequence[bytes]) -> st.SearchStrategy[Callable[[bytes], bytes]]:
    at = st.integers(0, 1 << 20)
    return st.one_of(
        st.builds(_flip, at, st.integers(0, 7)),
        st.builds(_cut, at),
        st.builds(_splice, at, at, st.sampled_from(list(others))),
        st.builds(_repeat, at, st.integers(1, 40), st.integers(1, 40)),
        st.builds(_overwrite, at, st.sampled_from(EXTREMES)),
        st.builds(_insert, at, st.sampled_from(LIES) | st.binary(min_size=1, max_size=9)),
        st.builds(_remove, at, st.integers(1, 16)),
    )


def _applied(data: bytes, ops: Sequence[Callable[[bytes], bytes]]) -> bytes:
    for op in ops:
        data = op(data)
    return data


def _place(at: int, data: bytes) -> int:
    # Small numbers count from the start, where heads are; even large ones from the end, where digests are.
    return at % (len(data) + 1) if at < 1 << 19 else len(data) - at % (len(data) + 1)


def _flip(at: int, bit: int) -> Callable[[bytes], bytes]:
    def op(data: bytes) -> bytes:
        if not data:
            return data
        place = min(_place(at, data), len(data) - 1)
        return data[:place] + bytes((data[place] ^ 1 << bit,)) + data[place + 1 :]

    return op


def _cut(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[: _place(at, data)]


def _splice(at: int, other_at: int, other: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[: _place(at, data)] + other[_place(other_at, other) :]


def _repeat(at: int, size: int, times: int) -> Callable[[bytes], bytes]:
    def op(data: bytes) -> bytes:
        place = _place(at, data)
        return data[:place] + data[place : place + size] * times + data[place + size :]

    return op


def _overwrite(at: int, number: bytes) -> Callable[[bytes], bytes]:
    def op(data: bytes) -> bytes:
        place = _place(at, data)
        return data[:place] + number + data[place + len(number) :]

    return op


def _insert(at: int, piece: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[: _place(at, data)] + piece + data[_place(at, data) :]


def _remove(at: int, size: int) -> Callable[[bytes], bytes]:
    return lambda data: data[: _place(at, data)] + data[_place(at, data) + size :]


def _grafted(tree: Any, changes: Sequence[tuple[int, str, Any]]) -> Any:
    tree = deepcopy(tree)
    for number, kind, given in changes:
        value = deepcopy(given)
        places = list(_places(tree, ()))
        if not places:
            return value
        path = places[number % len(places)]
        holder = tree
        for step in path[:-1]:
            holder = holder[step]
        if kind == "drop":
            del holder[path[-1]]
        elif kind == "double" and isinstance(holder, list):
            holder.append(deepcopy(holder[path[-1]]))
        elif kind == "double":
            holder[f"{path[-1]}_"] = deepcopy(holder[path[-1]])
        else:
            holder[path[-1]] = value
    return tree


def _places(tree: Any, path: tuple[Any, ...]) -> Any:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for step, part in items:
        yield (*path, step)
        yield from _places(part, (*path, step))
