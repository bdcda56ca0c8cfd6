r"""Which bytes of a file are a row: as many lines as Python's `csv` asks for to make one.

    ann,3\n                 a row, 6 bytes
    bob,"two\n             ┐
    lines"\n               ┴ a row, 16 bytes
    "never closed, 5\n       asks for all that follows: bad is the first line, the next row begins behind it

Invariant: a position is behind a row, so that reading goes on there as if the rows before had not been.
"""

from __future__ import annotations

import csv
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol

from actorstream.connectors.files.format import SLICE_RECORDS
from actorstream.connectors.files.lines import BYTE_ORDER_MARK, line_at, runs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorstream.connectors.files.bad_records import BadRecords
    from actorstream.connectors.files.file_bytes import FileBytes
    from actorstream.connectors.files.lines import Run


class CsvDialect(Protocol):
    """How text becomes rows."""

    @property
    def encoding(self) -> str:
        """What the bytes of a text are."""
        ...

    def parser(self, lines: Iterable[str], /) -> Iterator[list[str]]:
        """Give what takes rows apart; csv.Error where one is none."""
        ...


class FoundRows:
    """Rows, with the byte where each begins, and the one behind it."""

    def __init__(self) -> None:
        """Begin with none."""
        self.rows: list[list[str]] = []
        self.starts: list[int] = []
        self.behind: list[int] = []


class LineFeed:
    """Gives a parser line after line, and keeps those of the row that it is at."""

    def __init__(self, encoding: str, runs: Iterator[Run], *, at_start: bool) -> None:
        """Take the runs of lines; at the start of a file there may be a byte order mark."""
        self._encoding = encoding
        self._at_start = at_start
        self._runs = runs
        self._ready: deque[bytes] = deque()
        self.taken: list[bytes] = []

    def __iter__(self) -> Iterator[str]:
        """Be its own iterator."""
        return self

    def __next__(self) -> str:
        """Give the next line, with its end; UnicodeDecodeError where it is in another encoding."""
        while not self._ready:
            lines, ended = next(self._runs)
            self._ready.extend(line + b"\n" for line in lines)
            if not ended:
                self._ready[-1] = lines[-1]
        line = self._ready.popleft()
        self.taken.append(line)
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(BYTE_ORDER_MARK)
        return line.decode(self._encoding)

    @property
    def taken_bytes(self) -> int:
        """How many bytes the row took, with its end."""
        return sum(map(len, self.taken))

    def put_back_all_but_first(self) -> bytes:
        """Let a row that is none be its first line only: the next row begins behind that."""
        self._ready.extendleft(reversed(self.taken[1:]))
        return self.taken[0]


class CsvRows:
    """The rows of a file from a byte on."""

    def __init__(self, format_: CsvDialect, file: FileBytes, start: int, bad: BadRecords) -> None:
        """Begin at a byte."""
        self._format = format_
        self._file = file
        self._bad = bad
        self._position = start
        self._feed = LineFeed(format_.encoding, runs_of(file, start), at_start=start == 0)

    def slices(self, columns: int) -> Iterator[FoundRows]:
        """Give them in slices; none is of another number of values than there are columns."""
        feed, parser = self._feed, self._format.parser(self._feed)
        found = FoundRows()
        while True:
            feed.taken.clear()
            try:
                row = next(parser, None)
            except (csv.Error, UnicodeDecodeError) as error:
                if found.rows:
                    yield found
                    found = FoundRows()
                self._refuse(error, feed.taken[0])
                self._position += len(feed.put_back_all_but_first())
                parser = self._format.parser(feed)
                continue
            if row is None:
                break
            start, self._position = self._position, self._position + feed.taken_bytes
            if not row:
                continue  # a line with nothing in it
            if len(row) != columns:
                if found.rows:
                    yield found
                    found = FoundRows()
                self._bad.found(
                    f"it has {len(row)} values, expected {columns}", partial(line_at, self._file, start), feed.taken[0]
                )
                continue
            found.rows.append(row)
            found.starts.append(start)
            found.behind.append(self._position)
            if len(found.rows) == SLICE_RECORDS:
                yield found
                found = FoundRows()
        if found.rows:
            yield found

    def _refuse(self, error: csv.Error | UnicodeDecodeError, line: bytes) -> None:
        why = str(error)
        if isinstance(error, UnicodeDecodeError):
            why = f"it is not {self._format.encoding} ({error.reason}); say encoding='latin-1' or whatever it is"
        self._bad.found(why, partial(line_at, self._file, self._position), line)
