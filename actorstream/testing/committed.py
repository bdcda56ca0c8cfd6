"""What a simulated job has let out so far, and whether that is what it was to let out.

readable    every log can be read
kept        what was visible once is there for ever, at its place
prefix      what is visible is a part of what was to come; of one lane (`in_order_by`) its beginning
complete    (at the end) nothing is missing
called      (at the end) a plain function was called with all of that, and with nothing else: at least once
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
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
                _check_complete(sink, found, expected[sink])
                self.checks["complete"] += len(expected[sink])
        if at_the_end and "" not in expected:
            for sink, found_calls in called.items():
                _check_called(sink, found_calls, expected[sink])
                self.checks["called"] += len(expected[sink])

    def _check_kept(self, sink: str, rows: Rows) -> None:
        for number, before in enumerate(self._before.get(sink, ())):
            now = list(rows[number])[: len(before)] if number < len(rows) else []
            if now != list(before):
                place = next(at for at in range(len(before)) if at >= len(now) or now[at] != before[at])
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
    """Give what two equal values have in common, also where they have no hash."""
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value


def _check_complete(sink: str, found: Sequence[object], expected: Sequence[object]) -> None:
    there = Counter(map(mark, found))
    for value in expected:
        there[mark(value)] -= 1
        if there[mark(value)] < 0:
            raise BrokenPromiseError("complete", f"{_named(sink, 'lacks')} {value!r}")


def _check_called(sink: str, found: Sequence[object], expected: Sequence[object]) -> None:
    there, right = set(map(mark, found)), set(map(mark, expected))
    for value in (*expected, *found):
        if mark(value) not in there:
            raise BrokenPromiseError("called", f"{sink!r} was never called with {value!r}")
        if mark(value) not in right:
            raise BrokenPromiseError("called", f"{sink!r} was called with {value!r}, which was not to come")


def _named(sink: str, verb: str = "holds") -> str:
    return f"{sink!r} {verb}" if sink else f"the output {verb}"
