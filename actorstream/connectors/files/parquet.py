"""Parquet: columns in row groups. A position counts rows.

    row groups   0..9999 | 10000..19999 | ...      position 12000: the first group is passed over, of the second one
                               ^ goes on here      what comes before; nothing else of the file is read

Needs pyarrow: `pip install actorstream[arrow]`. It is imported when a Parquet is made, not before.
"""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from actorstream.codec.fields import UNREADABLE, RecordFields
from actorstream.connectors.files.arrow_schema import import_arrow, schema_of
from actorstream.connectors.files.format import SLICE_RECORDS, Slice
from actorstream.errors import InputError, PlanError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorstream.connectors.files.bad_records import BadRecords
    from actorstream.connectors.files.file_bytes import FileBytes

T = TypeVar("T")

_GROUP_BYTES: Final = 16 * 1024 * 1024
_BATCH_ROWS: Final = 512


class Parquet(Generic[T]):
    """The format of `.parquet` files."""

    suffix = ".parquet"
    follows = False

    def __init__(self, type_: type[T], *, schema: Any = None, compression: str = "zstd") -> None:  # noqa: ANN401
        """Say what a row is.

        Args:
            type_: A dataclass, NamedTuple, TypedDict or dict. Its fields are the columns that are read.
            schema: A `pyarrow.Schema` to write by. None: what the fields' types say; a dict needs one.
            compression: Of what is written, as pyarrow names it.

        Raises:
            PlanError: pyarrow is not installed, or the type has a field that no column stands for.
        """
        self._arrow = import_arrow()
        self.record = RecordFields(type_)
        self.compression = compression
        self.schema = schema
        if schema is None and self.record.fields is not None:
            self.schema = schema_of(self.record.fields)

    # ---- reading

    def slices(self, file: FileBytes, after: int, bad: BadRecords, /) -> Iterator[Slice[T]]:
        """Read the rows that follow the first `after` ones."""
        if file.compressed:
            raise InputError(f"{file.name}: Parquet is compressed within; unpack the file, and read it as .parquet")
        decode = self.record.row_decoder(lax=False)
        with self._arrow_errors(file):
            parquet = self._arrow.parquet.ParquetFile(_Readable(file))
            rows = parquet.metadata.num_rows
            columns = self._columns_of(file, parquet.schema_arrow.names)
        if after > rows:
            raise file.too_short(after, rows)
        position = after
        for batch in self._batches(file, parquet, after, columns):
            dicts = batch.to_pylist(maps_as_pydicts="strict")
            try:
                values = decode(dicts)
            except UNREADABLE:
                yield from self._one_by_one(dicts, position, bad)
                position += len(dicts)
            else:
                position += len(dicts)
                yield Slice(values, position)

    def _batches(self, file: FileBytes, parquet: Any, after: int, columns: Sequence[str] | None) -> Iterator[Any]:  # noqa: ANN401
        """Give what follows the first rows, a slice at a time."""
        behind = 0
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            behind += rows
            skipped = max(0, after - (behind - rows))
            if skipped >= rows:
                continue
            batches = parquet.iter_batches(SLICE_RECORDS, row_groups=[group], columns=columns, use_threads=False)
            while True:
                with self._arrow_errors(file):
                    batch = next(batches, None)
                if batch is None:
                    break
                if skipped < batch.num_rows:
                    yield batch.slice(skipped)
                skipped = max(0, skipped - batch.num_rows)

    def _one_by_one(self, dicts: Sequence[Mapping[str, object]], position: int, bad: BadRecords) -> Iterator[Slice[T]]:
        decode = self.record.row_decoder(lax=False)
        values: list[T] = []
        for behind, row in enumerate(dicts, position + 1):
            try:
                values += decode([row])
            except UNREADABLE as error:
                if values:
                    yield Slice(values, behind - 1)
                    values = []
                bad.found(str(error).replace("$[0].", "$."), partial("row {}".format, behind - 1), repr(row))
        if values:
            yield Slice(values, position + len(dicts))

    def _columns_of(self, file: FileBytes, names: Sequence[str]) -> Sequence[str] | None:
        fields = self.record.fields
        if fields is None:
            return None
        missing = sorted(field.name for field in fields if field.required and field.name not in names)
        if missing:
            raise InputError(
                f"{file.name} has no column {missing[0]!r}, it has {', '.join(names)[:200]}: mend the file, or give "
                "the field a default"
            )
        return [field.name for field in fields if field.name in names]

    def _arrow_errors(self, file: FileBytes) -> _ArrowErrors:
        return _ArrowErrors(self._arrow, file)

    # ---- writing

    def encoder(self) -> ParquetEncoder[T]:
        """Begin a part.

        Raises:
            PlanError: The records are dicts, and there is no schema.
        """
        if self.schema is None:
            raise PlanError("Parquet(dict) can be written by a schema only: say schema=pyarrow.schema([...])")
        return ParquetEncoder(self, self._arrow)


class ParquetEncoder(Generic[T]):
    """Makes row groups of about 16 MiB, and the footer at the end."""

    def __init__(self, format_: Parquet[T], arrow: Any) -> None:  # noqa: ANN401
        """Begin a part."""
        self._arrow = arrow
        self._schema = format_.schema
        self._rows_of = format_.record.rows_encoder(plain=False)
        self._names = frozenset(self._schema.names)
        self._out = _Writable()
        self._writer = arrow.parquet.ParquetWriter(self._out, self._schema, compression=format_.compression)
        self._batches: list[Any] = []
        self._rows: list[Mapping[str, Any]] = []
        self._held = 0

    @property
    def size_bytes(self) -> int:
        """About how many bytes were made and not taken yet: those of rows before they are compressed."""
        return self._held + self._out.waiting_bytes

    def add(self, values: Sequence[T], /) -> None:
        """Make columns of these records.

        Raises:
            ValueError: One does not fit the schema.
        """
        for row in self._rows_of(values):
            if not row.keys() <= self._names:
                unknown = next(name for name in row if name not in self._names)
                raise ValueError(
                    f"it has {unknown!r}, which is no column of the schema ({', '.join(self._schema.names)})"
                )
            self._rows.append(row)
            if len(self._rows) == _BATCH_ROWS:
                self._columns()

    def take(self, *, end: bool) -> bytes:
        """Give what is written of row groups; at the end, the footer too."""
        if end:
            self._columns()
        if self._batches and (end or self._held >= _GROUP_BYTES):
            self._writer.write_table(self._arrow.Table.from_batches(self._batches, self._schema))
            self._batches, self._held = [], 0
        if end:
            self._writer.close()
        return self._out.take()

    def _columns(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            batch = self._arrow.RecordBatch.from_pylist(rows, self._schema)
            self._batches.append(batch)
            self._held += batch.nbytes


class _ArrowErrors:
    """What pyarrow says of a file that is none, as an InputError."""

    def __init__(self, arrow: Any, file: FileBytes) -> None:  # noqa: ANN401
        self._arrow = arrow
        self._file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self._arrow.ArrowException | OSError):
            raise InputError(
                f"{self._file.name} is no Parquet file, or damaged, or not whole: {str(error)[:300]}; put the right "
                "file in its place, and write it under a name that is not read"
            ) from error


class _Writable(io.RawIOBase):
    """What pyarrow writes to: it asks how far it has come, also of what was taken already."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._behind = 0
        self.waiting_bytes = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._behind + self.waiting_bytes

    def write(self, data: Any, /) -> int:  # noqa: ANN401
        piece = bytes(data)
        self._pieces.append(piece)
        self.waiting_bytes += len(piece)
        return len(piece)

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._behind += len(data)
        self._pieces, self.waiting_bytes = [], 0
        return data


class _Readable(io.RawIOBase):
    """A file as pyarrow reads one: any part of it, through the world's disk."""

    def __init__(self, file: FileBytes) -> None:
        self._file = file
        self._size = file.size()
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401
        data = self._file.part(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
