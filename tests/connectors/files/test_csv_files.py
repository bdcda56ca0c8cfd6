"""CSV: rows of one line and of several, from wherever reading goes on, and what is no row is named."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.connectors.files import Csv, FileSource, csv_rows, file_bytes
from actorstream.errors import InputError, PlanError
from tests.connectors.files.setting import Click, Hit, fetched, records

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Trade:
    at: datetime
    day: date
    price: Decimal
    size: float
    open: bool
    side: str = "buy"
    venue: int | None = None


def put(folder: Path, data: bytes) -> Path:
    path = folder / "rows.csv"
    path.write_bytes(data)
    return path


async def test_values_are_read_by_the_type_of_their_field(tmp_path: Path) -> None:
    text = (
        b"open,at,day,price,size,venue,more\ntrue,2026-01-02T03:04:05Z,2026-01-02,1.10,2.5,,x\n"
        b"0,2026-01-02T03:04:05+00:00,2026-01-02,1,1e3,7,\n"
    )
    at, day = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), date(2026, 1, 2)
    assert await records(put(tmp_path, text), Csv(Trade)) == [
        Trade(at, day, Decimal("1.10"), 2.5, open=True),
        Trade(at, day, Decimal(1), 1000.0, open=False, venue=7),
    ]


async def test_a_dict_has_texts_and_columns_may_be_said(tmp_path: Path) -> None:
    path = put(tmp_path, b"a,b\n1,\n")
    assert await records(path, Csv(dict[str, str])) == [{"a": "1", "b": ""}]
    named = Csv(dict[str, str], header=False, columns=["x", "y"])
    assert await records(path, named) == [{"x": "a", "y": "b"}, {"x": "1", "y": ""}]
    path = put(tmp_path, b"ann;1;\nbob;2;x\n")
    assert await records(path, Csv(Hit, header=False, delimiter=";")) == [Hit("ann", 1), Hit("bob", 2, "x")]


@pytest.mark.parametrize(
    "data",
    [
        b"page,user,note\n1,ann,\n2,bob,x",
        b"\xef\xbb\xbfpage,user,note\r\n1,ann,\r\n\r\n2,bob,x\r\n",
        b'"page","user","note"\n"1","ann",""\n"2","bob","x"\n\n',
    ],
    ids=["no end of the last line", "byte order mark, CRLF, an empty line", "quotes"],
)
async def test_what_programs_make_of_a_table_changes_nothing(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path, data)
    assert await records(path, Csv(Click)) == [Click("ann", 1), Click("bob", 2, "x")]


@pytest.mark.parametrize("data", [b"", b"user,page\n"])
async def test_an_empty_file_has_no_records(tmp_path: Path, data: bytes) -> None:
    assert await records(put(tmp_path, data), Csv(Hit)) == []


@given(
    rows=st.lists(st.tuples(st.text('ab,;"\n\r ö', max_size=8), st.integers(0, 99)), max_size=12),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    piece=st.integers(1, 40),
)
async def test_from_every_position_the_rest_follows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]], end: str, bom: bool, piece: int
) -> None:
    """Also where a row has newlines, quotes or delimiters in it, and a piece of the file ends in the middle of one."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_NONNUMERIC).writerows([("user", "page"), *rows])
    path = put(tmp_path_factory.mktemp("files"), (b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode())
    expected = [Hit(user, page) for user, page in rows]
    with patch.multiple(file_bytes, PIECE_BYTES=piece), patch.multiple(csv_rows, SLICE_RECORDS=2):
        got: list[Hit] = []
        for values, position in await fetched(FileSource(path, Csv(Hit)), str(path)):
            got += values
            assert got + await records(path, Csv(Hit), position) == expected
    assert got == expected


BAD: list[Any] = [
    pytest.param(b"bob,two,\n", "Expected `int`, got `str` - at `\\$.page`: 'bob,two,'", id="type"),
    pytest.param(b"bob,2\n", "it has 2 values, expected 3: 'bob,2'", id="too few"),
    pytest.param(b"bob,2,x,y\n", "it has 4 values, expected 3", id="too many"),
    pytest.param(b'bob,2,"x"y\n', "',' expected after '\"'", id="quote"),
    pytest.param(b'bob,2,"x\n', "', expected after|unexpected end of data", id="never closed"),
    pytest.param(b"bob,2,\xe9\n", "it is not utf-8 .*encoding='latin-1'", id="encoding"),
]


@pytest.mark.parametrize(("bad", "what"), BAD)
async def test_a_bad_row_is_named_with_its_place(tmp_path: Path, bad: bytes, what: str) -> None:
    """A quote that is never closed takes the rest of the file with it only where it may not be passed over."""
    path = put(tmp_path, b'user,page,note\nann,1,"a\nb"\n' + bad + b"cid,3,\n")
    with pytest.raises(InputError, match=rf"rows.csv, line 4 \(byte 27\): {what}"):
        await records(path, Csv(Click))
    source = FileSource(path, Csv(Click), on_bad_line="skip")
    assert [value for values, _ in await fetched(source, str(path)) for value in values] == [
        Click("ann", 1, "a\nb"),
        Click("cid", 3),
    ]
    assert source.skipped == 1


async def read_while(path: Path, change: Callable[[], object]) -> tuple[list[Click], int]:
    """Read a table, and let something become of it once its reading has begun."""
    got: list[Click] = []
    position = 0
    async for each in FileSource(path, Csv(Click)).read(str(path), None):
        if not got:
            change()
        got += each.values
        position = each.position
    return got, position


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


async def test_a_table_that_grows_is_read_as_it_was_and_its_last_line_to_the_end(tmp_path: Path) -> None:
    path = put(tmp_path, b"user,page,note\n" + b"ann,1,\n" * 20_000 + b'bob,2,"a')
    got, position = await read_while(path, lambda: append(path, b'b"\ncid,3,\n'))
    assert len(got) == 20_001
    assert got[-1] == Click("bob", 2, "ab")
    assert await records(path, Csv(Click), position) == [Click("cid", 3)]


async def test_a_row_of_several_lines_that_stood_there_half_is_told(tmp_path: Path) -> None:
    """Where its line ends it is not whole, and nobody knows how much of it there will be."""
    path = put(tmp_path, b"user,page,note\n" + b"ann,1,\n" * 20_000 + b'bob,2,"a')
    with pytest.raises(InputError, match=r"line 20002 \(byte 140015\): unexpected end of data"):
        await read_while(path, lambda: append(path, b'\nb"\n'))
    assert (await records(path, Csv(Click)))[-1] == Click("bob", 2, "a\nb")


async def test_a_table_that_is_cut_short_while_it_is_read_is_no_end(tmp_path: Path) -> None:
    path = put(tmp_path, b"user,page,note\n" + b"ann,1,\n" * 100_000)
    with pytest.raises(InputError, match="had 700015 bytes when its reading began: it was cut short"):
        await read_while(path, lambda: path.write_bytes(b"user,page,note\nann,1,\n"))


async def test_another_encoding_is_read_when_it_is_said(tmp_path: Path) -> None:
    path = put(tmp_path, "user,page\nzoé,1\n".encode("latin-1"))
    assert await records(path, Csv(Hit, encoding="latin-1")) == [Hit("zoé", 1)]


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (b"name,page\n", "line 1 has no 'user'"),
        (b"user,user,page\n", "names a column twice"),
        (b'"user\n', "line 1: unexpected end of data"),
    ],
)
async def test_a_header_that_names_other_columns_is_refused(tmp_path: Path, first: bytes, what: str) -> None:
    """Also where bad lines are passed over: else all of the file would be."""
    with pytest.raises(InputError, match=rf"{what}.*header=False"):
        await records(put(tmp_path, first + b"1,2,3\n"), Csv(Hit), on_bad_line="skip")


def test_what_csv_cannot_hold_is_refused_before_it_runs() -> None:
    @dataclass
    class Nested:
        pages: list[int]

    with pytest.raises(PlanError, match="field 'pages' is none: use JsonLines"):
        Csv(Nested)
    with pytest.raises(PlanError, match="columns of a dict have no names"):
        Csv(dict, header=False)
    with pytest.raises(PlanError, match="in utf-16 a newline is"):
        Csv(Hit, encoding="utf-16")
    with pytest.raises(PlanError, match="'latin-99' is not known"):
        Csv(Hit, encoding="latin-99")
    with pytest.raises(PlanError, match="delimiter is 'ab'"):
        Csv(Hit, delimiter="ab")
