"""CSV: rows of values, whose fields are named by the first row, or by the record's type.

    user,page,note            {"user": "ann", "page": 3, "note": None}
    ann,3,
    bob,4,"two
    lines, one row"

Python's own `csv` takes rows apart (RFC 4180: quotes around a value, doubled inside of one), and says how many lines a
row took: so a position is a byte behind a row, also where a quoted value has newlines in it.
"""

from __future__ import annotations

import csv
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar, get_origin

from actorstream.codec.fields import UNREADABLE, RecordFields
from actorstream.connectors.files.csv_rows import CsvRows, FoundRows, LineFeed
from actorstream.connectors.files.format import Slice
from actorstream.connectors.files.lines import line_at, runs_of
from actorstream.errors import InputError, PlanError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from actorstream.connectors.files.bad_records import BadRecords
    from actorstream.connectors.files.file_bytes import FileBytes

T = TypeVar("T")

_NESTED: Final = (list, dict, set, frozenset, tuple)


class Csv(Generic[T]):
    """The format of `.csv` and `.csv.gz` files. A position counts bytes, uncompressed.

    An empty value is None where the field may be None. Numbers, booleans (true, false, 1, 0), dates in ISO 8601, UUIDs
    and enums are read by the field's type; for a dict all values are texts.
    """

    suffix = ".csv"
    follows = False

    def __init__(
        self,
        type_: type[T],
        *,
        header: bool = True,
        delimiter: str = ",",
        encoding: str = "utf-8",
        columns: Sequence[str] | None = None,
    ) -> None:
        """Say what a row is.

        Args:
            type_: A dataclass, NamedTuple, TypedDict or dict whose fields are single values.
            header: Whether the first row of each file names the columns, in any order; others are passed over.
            delimiter: What stands between two values.
            encoding: One in which a newline is the byte 10.
            columns: The names of the columns where no header says them, and the order in which they are written. None:
                the fields of the type.

        Raises:
            PlanError: A field is no single value, the columns of a dict are not known, or the encoding is another one.
        """
        self.record = RecordFields(type_)
        self.header = header
        self.delimiter = delimiter
        self.encoding = encoding
        known = self.record.fields
        nested = [field for field in known or () if _is_nested(field.type)]
        if nested:
            raise PlanError(f"CSV has single values, and field {nested[0].name!r} is none: use JsonLines")
        try:
            newline = "\n".encode(encoding)
        except LookupError as error:
            raise PlanError(f"Csv: encoding {encoding!r} is not known: such as 'utf-8' or 'latin-1'") from error
        if newline != b"\n":
            raise PlanError(
                f"Csv: in {encoding} a newline is {newline!r}, expected one byte: convert the files to UTF-8"
            )
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise PlanError(f"Csv: delimiter is {delimiter!r}, expected one character such as ',' or ';'")
        self._columns = columns if columns is not None else None if known is None else [field.name for field in known]
        if self._columns is None and not header:
            raise PlanError("Csv: without a header the columns of a dict have no names: say columns=[...]")
        self._nullable = frozenset(field.name for field in known or () if field.nullable)
        self._needed = frozenset(field.name for field in known or () if field.required)

    # ---- reading

    def slices(self, file: FileBytes, after: int, bad: BadRecords, /) -> Iterator[Slice[T]]:
        """Read the rows that follow a byte."""
        columns: Sequence[str] | None = self._columns
        start = after
        if self.header:
            columns, first = self._header_of(file)
            start = max(after, first)
        if columns is None:
            return  # an empty file
        rows = CsvRows(self, file, start, bad)
        decode = self.record.row_decoder(lax=True)
        for found in rows.slices(len(columns)):
            dicts = [self._named(columns, row) for row in found.rows]
            try:
                values = decode(dicts)
            except UNREADABLE:
                yield from self._one_by_one(file, dicts, found, bad)
            else:
                yield Slice(values, found.behind[-1])

    def _one_by_one(
        self, file: FileBytes, dicts: Sequence[dict[str, str | None]], found: FoundRows, bad: BadRecords
    ) -> Iterator[Slice[T]]:
        decode = self.record.row_decoder(lax=True)
        values: list[T] = []
        position = found.starts[0]
        for number, named in enumerate(dicts):
            try:
                values += decode([named])
            except UNREADABLE as error:
                if values:
                    yield Slice(values, position)
                    values = []
                what = str(error).replace("$[0].", "$.")
                bad.found(what, partial(line_at, file, found.starts[number]), self.delimiter.join(found.rows[number]))
            position = found.behind[number]
        if values:
            yield Slice(values, position)

    def _named(self, columns: Sequence[str], row: Sequence[str]) -> dict[str, str | None]:
        named: dict[str, str | None] = dict(zip(columns, row, strict=True))
        for name in self._nullable:
            if named.get(name) == "":
                named[name] = None
        return named

    def _header_of(self, file: FileBytes) -> tuple[Sequence[str] | None, int]:
        """Give the names in the first row, and the byte behind it; None where there is none."""
        feed = LineFeed(self.encoding, runs_of(file, 0), at_start=True)
        try:
            names = next(self.parser(feed), None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(
                f"{file.name}, line 1: {error}: expected the names of the columns; mend the file, or say header=False"
            ) from error
        if not names:
            return None, 0
        missing = sorted(self._needed.difference(names))
        if missing or len({*names}) < len(names):
            what = f"has no {missing[0]!r}" if missing else "names a column twice"
            raise InputError(
                f"{file.name}, line 1 {what}: {self.delimiter.join(names)[:200]!r}; expected a row with the names of "
                "the columns: mend the file, or say header=False if its first row is a record"
            )
        return names, feed.taken_bytes

    def parser(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Give what takes rows apart."""
        return csv.reader(lines, delimiter=self.delimiter, strict=True)

    # ---- writing

    def encoder(self) -> CsvEncoder[T]:
        """Begin a part."""
        return CsvEncoder(self, self._columns)


def _is_nested(type_: object) -> bool:
    origin = get_origin(type_) or type_
    return isinstance(origin, type) and (issubclass(origin, _NESTED) or hasattr(origin, "__dataclass_fields__"))


_AS_THEY_ARE: Final = frozenset({str, int, float})


class CsvEncoder(Generic[T]):
    """Makes rows, the names of the columns before the first."""

    def __init__(self, format_: Csv[T], columns: Sequence[str] | None) -> None:
        """Begin a part; without columns, those of the first record."""
        self._rows_of = format_.record.rows_encoder(plain=True)
        self._encoding = format_.encoding
        self._columns = columns
        self._names_due = format_.header
        self._rows: list[str] = []
        self._lines: list[bytes] = []
        # Only with this end of line does `csv` put quotes around a lone carriage return.
        self._writer = csv.writer(_Rows(self._rows), delimiter=format_.delimiter, lineterminator="\r\n")
        self.size_bytes = 0

    def add(self, values: Sequence[T], /) -> None:
        """Make the rows of these records.

        Raises:
            TypeError: A value is no single one.
            ValueError: A record has other fields than there are columns, or has no place in the encoding.
        """
        rows = self._rows_of(values)
        if self._columns is None and rows:
            self._columns = list(rows[0])
        columns = self._columns or ()
        try:
            if self._names_due and rows:
                self._writer.writerow(columns)
            for row in rows:
                if len(row) != len(columns):
                    raise ValueError(f"it has the fields {list(row)}, and the columns are {list(columns)}")
                self._writer.writerow(
                    [row[name] if row.get(name).__class__ in _AS_THEY_ARE else _text(row, name) for name in columns]
                )
            data = "".join(self._rows).encode(self._encoding)
        finally:
            self._rows.clear()
        self._names_due = self._names_due and not rows
        self._lines.append(data)
        self.size_bytes += len(data)

    def take(self, *, end: bool) -> bytes:
        """Give the rows made since the last time."""
        data = b"".join(self._lines)
        self._lines, self.size_bytes = [], 0
        return data


class _Rows:
    """Takes what `csv` writes, a row at a time."""

    def __init__(self, rows: list[str]) -> None:
        self._rows = rows

    def write(self, row: str, /) -> None:
        self._rows.append(f"{row[:-2]}\n")


def _text(row: Mapping[str, object], name: str) -> object:
    try:
        value = row[name]
    except KeyError:
        raise ValueError(f"it has no {name!r}, which is a column") from None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise TypeError(f"{name!r} is a {type(value).__name__}, and CSV has single values: use JsonLines")
    return value
