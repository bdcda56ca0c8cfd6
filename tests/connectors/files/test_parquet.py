"""Parquet: rows by the types of their fields, from whatever row reading goes on; as a sink, whole files only."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import pytest

from actorstream.connectors.files import FileSink, FileSource, Parquet
from actorstream.connectors.files import parquet as parquet_module
from actorstream.errors import CodecError, InputError, PlanError, RestoreError
from actorstream.testing.conformance import check_sink, check_source
from tests.connectors.files.setting import Click, Hit, Identity, fetched, records

if TYPE_CHECKING:
    from pathlib import Path

arrow: Any = pytest.importorskip("pyarrow", reason="the extra arrow is not installed")
pq: Any = pytest.importorskip("pyarrow.parquet")


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


@dataclass(frozen=True)
class Place:
    name: str
    at: tuple[float, ...] = ()


@dataclass(frozen=True)
class Trade:
    at: datetime
    day: date
    price: Decimal
    id: UUID
    side: Side
    kind: Literal["limit", "market"] = "limit"
    took: timedelta | None = None
    note: bytes | None = None
    tags: list[str] = field(default_factory=list)
    fees: dict[str, float] = field(default_factory=dict)
    place: Place | None = None


def seen(folder: str) -> list[str]:
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(name for name in names if not name.startswith("."))


def trades(count: int) -> list[Trade]:
    at = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    return [
        Trade(
            at + timedelta(seconds=number),
            at.date(),
            Decimal(number) / 100,
            UUID(int=number),
            Side.SELL if number % 2 else Side.BUY,
            took=timedelta(microseconds=number) if number % 3 else None,
            note=b"\xff" if number % 5 == 0 else None,
            tags=["a", "b"][: number % 3],
            fees={"x": 0.5} if number % 2 else {},
            place=Place("here", (1.0, 2.0)) if number % 4 == 0 else None,
        )
        for number in range(count)
    ]


async def read_back(folder: str, type_: Any) -> list[Any]:
    return [record for name in seen(folder) for record in await records(f"{folder}/{name}", Parquet(type_))]


def put(path: Path, rows: list[dict[str, Any]], group: int = 1_000) -> Path:
    pq.write_table(arrow.Table.from_pylist(rows), path, row_group_size=group)
    return path


async def test_what_is_written_is_read_and_others_can_read_it(tmp_path: Path) -> None:
    async with FileSink(tmp_path, Parquet(Trade)).writer(Identity()) as writer:
        await writer.write(trades(3_000))
        token = await writer.pre_commit(1)
        assert token is not None
        await writer.commit(token)
    assert await read_back(str(tmp_path), Trade) == trades(3_000)
    (name,) = (name for name in os.listdir(tmp_path) if name.startswith("part"))
    table = pq.read_table(tmp_path / name)
    assert table.num_rows == 3_000
    assert [str(column.type) for column in table.schema][:3] == ["timestamp[us, tz=UTC]", "date32[day]", "string"]


async def test_row_groups_are_written_as_they_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of many of them never stands in memory as a whole."""
    monkeypatch.setattr(parquet_module, "_GROUP_BYTES", 50_000)
    async with FileSink(tmp_path, Parquet(Hit)).writer(Identity()) as writer:
        for start in range(0, 100_000, 10_000):
            await writer.write([Hit(f"user {number}", number) for number in range(start, start + 10_000)])
        token = await writer.pre_commit(1)
        assert token is not None
        await writer.commit(token)
    (name,) = (name for name in os.listdir(tmp_path) if name.startswith("part"))
    assert pq.ParquetFile(tmp_path / name).num_row_groups > 1
    assert [hit.page for hit in await read_back(str(tmp_path), Hit)] == list(range(100_000))


async def test_from_every_position_the_rest_follows(tmp_path: Path) -> None:
    """Rows are counted over row groups, whatever their size."""
    path = put(tmp_path / "a.parquet", [{"user": "u", "page": page, "more": 1} for page in range(2_500)], group=700)
    source = FileSource(path, Parquet(Hit))
    slices = await fetched(source, str(path))
    assert [hit.page for values, _ in slices for hit in values] == list(range(2_500))
    assert slices[-1][1] == 2_500
    for after in (0, 1, 511, 512, 699, 700, 701, 1_399, 2_499, 2_500):
        assert [hit.page for hit in await records(path, Parquet(Hit), after)] == list(range(after, 2_500))
    with pytest.raises(RestoreError, match=r"taken at 2501 of .*, which now ends at 2500"):
        await records(path, Parquet(Hit), 2_501)
    await check_source(lambda: FileSource(path, Parquet(Hit)), [Hit("u", page) for page in range(2_500)])


async def test_a_bad_row_is_named_with_its_place(tmp_path: Path) -> None:
    rows = [{"user": "u" if page != 17 else None, "page": page} for page in range(30)]
    path = put(tmp_path / "a.parquet", rows, group=10)
    with pytest.raises(InputError, match=r"a.parquet, row 17: Expected `str`, got `null` - at `\$.user`: .*'page': 17"):
        await records(path, Parquet(Click))
    source = FileSource(path, Parquet(Click), on_bad_line="skip")
    got = [click.page for values, _ in await fetched(source, str(path)) for click in values]
    assert got == [page for page in range(30) if page != 17]
    assert source.skipped == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "inside"])
async def test_a_file_that_is_none_is_told(tmp_path: Path, damage: str) -> None:
    path = put(tmp_path / "a.parquet", [{"user": f"u{page}", "page": page} for page in range(3_000)])
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[: len(data) // 2],
            "empty": b"",
            "text": b"user,page\nann,1\n" * 20,
            "inside": data[:4] + bytes(b ^ 0xFF for b in data[4:2_000]) + data[2_000:],
        }[damage]
    )
    with pytest.raises(InputError, match=r"a.parquet is no Parquet file, or damaged, or not whole"):
        await records(path, Parquet(Hit), on_bad_line="skip")


async def test_a_file_without_a_column_that_is_needed_is_told(tmp_path: Path) -> None:
    path = put(tmp_path / "a.parquet", [{"user": "u", "side": 1}])
    with pytest.raises(InputError, match="has no column 'page', it has user, side"):
        await records(path, Parquet(Hit))
    assert await records(path, Parquet(dict)) == [{"user": "u", "side": 1}]


async def test_it_stands_what_every_sink_must_stand() -> None:
    hits = [Hit(f"user {number}", number) for number in range(12)]
    await check_sink(
        lambda place: FileSink(place, Parquet(Hit), roll_records=3), lambda place: read_back(place, Hit), hits
    )


async def test_a_record_that_does_not_fit_the_schema_is_told(tmp_path: Path) -> None:
    schema = arrow.schema([("a", arrow.int64())])
    async with FileSink(tmp_path, Parquet(dict, schema=schema)).writer(Identity()) as writer:
        with pytest.raises(CodecError, match="it has 'b', which is no column of the schema"):
            await writer.write([{"b": 1}])
    async with FileSink(tmp_path, Parquet(dict, schema=schema)).writer(Identity(attempt=2)) as writer:
        await writer.write([{"a": "x"}])
        with pytest.raises(CodecError, match="a record cannot be written to"):
            await writer.pre_commit(1)


def test_what_no_column_stands_for_is_refused_before_it_runs() -> None:
    @dataclass
    class Odd:
        value: int | str

    with pytest.raises(PlanError, match=r"no Parquet column stands for field 'value' of type int \| str: say schema="):
        Parquet(Odd)
    with pytest.raises(PlanError, match="by a schema only"):
        Parquet(dict).encoder()


def test_nothing_imports_pyarrow_before_it_is_used() -> None:
    code = "import sys, actorstream.connectors.files; sys.exit('pyarrow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
