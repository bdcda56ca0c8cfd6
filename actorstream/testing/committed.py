"""What a simulated job has let out so far, and whether that is what it was to let out.

readable    every log can be read
kept        what was visible once is there for ever, at its place
prefix      what is visible is a part of what was to come; of one lane (`in_order_by`) its beginning
complete    (at the end) nothing is missing
called      (at the end) a plain function was called with all of that, and with nothing else: at least once

Where one reference stands for all sinks together, what no sink has is to be what plain functions were called with.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from actorstream.codec.documents import decode_json
from actorstream.errors import StoreError
from actorstream.eventlog.folder import LogDocument
from actorstream.eventlog.records import Read
from actorstream.eventlog.row import SegmentRow
from actorstream.testing.session import BrokenPromiseError

if TYPE_CHECKING:
    from actorstream.model.world import FileSystem

T = TypeVar("T")

_NAN = object()
Rows: TypeAlias = Sequence[Sequence[object]]
"""What one sink holds: by partition, in order."""


def read_log(files: FileSystem, folder: str, decode: Callable[[bytes], T]) -> list[list[T]]:
    """Give what is committed in a log, by partition, without opening it; nothing where there is no log.

    Raises:
        StoreError: It cannot be read.
    """
    if not os.path.exists(f"{folder}/LOG"):
        return []
    document = decode_json(LogDocument, files.read(f"{folder}/LOG"))
    row = SegmentRow(files, folder, document.id, document.partitions)
    partitions: list[list[T]] = []
    try:
        for partition, (first, end) in enumerate(zip(row.first_offsets(), row.newest().ends(), strict=True)):
            found: list[T] = []
            partitions.append(found)
            offset = first
            while offset < end:
                segment = row.locate(partition, offset)
                read = segment.fetch(partition, offset, end - offset)
                if not isinstance(read, Read):
                    raise StoreError(f"{folder}: partition {partition} has nothing at {offset}, but ends at {end}")
                found += map(decode, read.payloads)
                offset += len(read.payloads)
                segment.close()
    finally:
        row.close()
    return partitions


@dataclass(frozen=True)
class Expected:
    """What is to come out in the end.

    Attributes:
        by_sink: The elements of each sink; under "" those of all sinks together.
        in_order_by: Gives an element's lane: those of one lane come in this order. None: in any.
    """

    by_sink: Mapping[str, Sequence[object]]
    in_order_by: Callable[[object], Hashable] | None = None


@dataclass
class Committed:
    """Follows what the sinks of one run hold.

    `exactly` and `called` give what is there now, by sink: exactly once, and at least once. `checks` counts elements.
    """

    expected: Expected
    checks: Counter[str] = field(default_factory=Counter)
    _before: dict[str, Rows] = field(default_factory=dict)

    def check(self, exactly: Mapping[str, Rows], called: Mapping[str, Sequence[object]], *, at_the_end: bool) -> None:
        """Look at all sinks; raise BrokenPromiseError."""
        for sink, rows in exactly.items():
            self._check_kept(sink, rows)
            self.checks["kept"] += sum(map(len, self._before.get(sink, ())))
        self._before = dict(exactly)
        by_sink = {sink: [row for part in rows for row in part] for sink, rows in exactly.items()}
        expected = self.expected.by_sink
        if "" in expected:
            by_sink = {"": [row for rows in by_sink.values() for row in rows]}
        for sink, found in by_sink.items():
            self._check_part(sink, found, expected[sink])
            self.checks["prefix"] += len(found)
            if at_the_end:
                heard = [value for calls in called.values() for value in calls] if "" in expected else []
                _check_complete(sink, found, expected[sink], heard)
                self.checks["complete"] += len(expected[sink])
        for sink, calls in called.items() if at_the_end else ():
            if "" in expected:
                _check_heard(sink, calls, expected[""])
            else:
                _check_called(sink, calls, expected[sink])
            self.checks["called"] += len(calls if "" in expected else expected[sink])

    def _check_kept(self, sink: str, rows: Rows) -> None:
        for number, before in enumerate(self._before.get(sink, ())):
            now = list(rows[number])[: len(before)] if number < len(rows) else []
            if now != list(before) and (there_now := [*map(mark, now)]) != (was := [*map(mark, before)]):
                place = next(at for at in range(len(was)) if at >= len(now) or there_now[at] != was[at])
                there = repr(now[place]) if place < len(now) else "nothing"
                raise BrokenPromiseError(
                    "kept", f"{sink!r} held {before[place]!r} as number {place}, now there is {there}"
                )

    def _check_part(self, sink: str, found: Sequence[object], expected: Sequence[object]) -> None:
        more = Counter(map(mark, found))
        more.subtract(Counter(map(mark, expected)))
        for value in found:
            if more[mark(value)] > 0:
                known = mark(value) in set(map(mark, expected))
                what = "once more than it should" if known else "which was not to come"
                raise BrokenPromiseError("prefix", f"{_named(sink)} {value!r}, {what}")
        lane_of = self.expected.in_order_by
        if lane_of is None:
            return
        to_come: dict[Hashable, list[object]] = {}
        for value in reversed(expected):
            to_come.setdefault(lane_of(value), []).append(value)
        for value in found:
            following = to_come[lane_of(value)].pop()
            if mark(following) != mark(value):
                raise BrokenPromiseError("prefix", f"{_named(sink)} {value!r}, {following!r} was to come first")


def mark(value: object) -> Hashable:
    """Give what two equal values have in common, also where they have no hash, are NaN, or of a class made anew."""
    common: Hashable = value
    match value:
        case float():
            common = value if value == value else _NAN  # noqa: PLR0124  (NaN is not)
        case tuple():
            common = tuple(map(mark, value))
        case list():
            common = list, *map(mark, value)
        case dict():
            common = dict, frozenset((mark(key), mark(each)) for key, each in value.items())
        case set() | frozenset():
            common = set, frozenset(map(mark, value))
        case _ if is_dataclass(value) and _is_generated(type(value).__eq__):
            parts = (mark(getattr(value, each.name)) for each in fields(value) if each.compare)
            common = type(value).__module__, type(value).__qualname__, *parts
        case _:
            try:
                hash(value)
            except TypeError:
                common = repr(value)
    return common


def _is_generated(function: object) -> bool:
    """Tell whether a dataclass has this comparison from its decorator, and not from its author."""
    return getattr(getattr(function, "__code__", None), "co_filename", "") == "<string>"


def _check_complete(
    sink: str, found: Sequence[object], expected: Sequence[object], heard: Sequence[object] = ()
) -> None:
    """Ask for all that is expected, be it by a function that has `heard` of it, which counts once or more."""
    there, called = Counter(map(mark, found)), set(map(mark, heard))
    for value in expected:
        there[mark(value)] -= 1
        if there[mark(value)] < 0 and mark(value) not in called:
            raise BrokenPromiseError("complete", f"{_named(sink, 'lacks')} {value!r}")


def _check_heard(sink: str, calls: Sequence[object], expected: Sequence[object]) -> None:
    """Refuse calls with what is in no output."""
    right = set(map(mark, expected))
    for value in calls:
        if mark(value) not in right:
            raise BrokenPromiseError("called", f"{sink!r} was called with {value!r}, which was not to come")


def _check_called(sink: str, found: Sequence[object], expected: Sequence[object]) -> None:
    there = set(map(mark, found))
    for value in expected:
        if mark(value) not in there:
            raise BrokenPromiseError("called", f"{sink!r} was never called with {value!r}")
    _check_heard(sink, found, expected)


def _named(sink: str, verb: str = "holds") -> str:
    return f"{sink!r} {verb}" if sink else f"the output {verb}"
