"""JSON lines: one JSON object a line, whose names are the fields of the record.

    {"user": "ann", "page": 3}
    {"user": "bob", "page": 4}

Lines of white space are passed over, also a byte order mark before the first. The encoding is UTF-8.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from actorstream.codec.fields import UNREADABLE, RecordFields
from actorstream.connectors.files.format import SLICE_RECORDS, Slice
from actorstream.connectors.files.lines import BYTE_ORDER_MARK, Run, line_at, runs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorstream.connectors.files.bad_records import BadRecords
    from actorstream.connectors.files.file_bytes import FileBytes

T = TypeVar("T")


class JsonLines(Generic[T]):
    """The format of `.jsonl`, `.ndjson`, `.jsonl.gz` files. A position counts bytes, uncompressed.

    Attributes:
        follow: Whether reading goes on where a file ends, for ever; a line is then read when it has its newline.
    """

    suffix = ".jsonl"

    def __init__(self, type_: type[T], *, follow: bool = False) -> None:
        """Take the records' type: a dataclass, NamedTuple, TypedDict or dict; fields of any type that JSON has.

        Raises:
            PlanError: The type is none of these.
        """
        self.record = RecordFields(type_)
        self.follow = follow

    @property
    def follows(self) -> bool:
        """Tell whether a file that grows is read on."""
        return self.follow

    def slices(self, file: FileBytes, after: int, bad: BadRecords, /) -> Iterator[Slice[T]]:
        """Read what follows a byte."""
        decode = self.record.json_decoder()
        position = after
        for lines, ended in runs_of(file, after, follow=self.follow):
            if not lines:
                yield Slice((), position, caught_up=True)
            for start in range(0, len(lines), SLICE_RECORDS):
                part = lines[start : start + SLICE_RECORDS]
                try:
                    values = list(map(decode, part))
                except UNREADABLE:
                    yield from self._one_by_one(file, Run(part, ended), position, bad)
                    position += sum(map(len, part)) + len(part)
                else:
                    position += sum(map(len, part)) + len(part)
                    yield Slice(values, position if ended else position - 1)

    def _one_by_one(self, file: FileBytes, run: Run, position: int, bad: BadRecords) -> Iterator[Slice[T]]:
        decode = self.record.json_decoder()
        values: list[T] = []
        behind = position
        for line in run.lines:
            try:
                value = decode(line.removeprefix(BYTE_ORDER_MARK) if position == 0 else line)
            except UNREADABLE as error:
                if line.removeprefix(BYTE_ORDER_MARK if position == 0 else b"").strip():
                    if values:
                        yield Slice(values, behind)
                        values = []
                    bad.found(_what(error), partial(line_at, file, position), line)
            else:
                values.append(value)
            position += len(line) + 1
            behind = position
        if values:
            yield Slice(values, behind if run.ended else behind - 1)

    def encoder(self) -> JsonLinesEncoder[T]:
        """Begin a part."""
        return JsonLinesEncoder(self.record.json_encoder())


class JsonLinesEncoder(Generic[T]):
    """Makes lines."""

    def __init__(self, encode: Callable[[T], bytes]) -> None:
        """Take what makes one."""
        self._encode = encode
        self._lines: list[bytes] = []
        self.size_bytes = 0

    def add(self, values: Sequence[T], /) -> None:
        """Make the lines of these records."""
        lines = [*map(self._encode, values), b""]
        data = b"\n".join(lines)
        self._lines.append(data)
        self.size_bytes += len(data)

    def take(self, *, end: bool) -> bytes:
        """Give the lines made since the last time."""
        data = b"".join(self._lines)
        self._lines, self.size_bytes = [], 0
        return data


def _what(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 ({error.reason} {error.object[error.start : error.start + 1]!r})"
    return str(error) or type(error).__name__
