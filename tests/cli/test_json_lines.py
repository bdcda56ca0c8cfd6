"""Records as JSON lines."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import NamedTuple
from uuid import UUID

import pytest

from actorstream.cli.json_lines import LineReader, to_json
from actorstream.errors import CodecError


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True)
class Order:
    id: str
    total: int = 0


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"a": [1, None, True, 1.5]}, '{"a":[1,null,true,1.5]}'),
        ("grün", '"grün"'),
        (b"\xff", '"/w=="'),
        (datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00+00:00"'),
        (date(2026, 1, 2), '"2026-01-02"'),
        (timedelta(seconds=1.5), "1.5"),
        (Colour.RED, '"red"'),
        ({3, 1}, "[1,3]"),
        (Point(1, 2), "[1,2]"),
        (Order("x"), '{"id":"x","total":0}'),
        (Decimal("1.50"), '"1.50"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        ({("a", 1): [Colour.RED]}, '{"[\\"a\\",1]":["red"]}'),
        ([{("a", 1): b""}], '[{"[\\"a\\",1]":""}]'),
    ],
)
def test_every_record_can_be_written(value: object, line: str) -> None:
    """A log holds more kinds of values than JSON has; none may stop `cat` halfway."""
    assert to_json(value) == line
    json.loads(line)


async def read(chunks: list[bytes], type_: type[object] = object) -> list[list[object]]:
    reading, writing = os.pipe()
    try:
        batches: list[list[object]] = []
        os.write(writing, b"".join(chunks))
        os.close(writing)
        async for batch in LineReader(reading, type_).batches():
            batches.append(batch)  # noqa: PERF401  (what came before an error must be kept)
        return batches
    finally:
        os.close(reading)


async def test_lines_are_read_as_they_come() -> None:
    """The last line may lack its end, and empty ones mean nothing."""
    assert await read([b'{"a":1}\n\n[2]\n', b'"x"']) == [[{"a": 1}, [2]], ["x"]]


async def test_a_line_may_be_longer_than_a_read() -> None:
    text = "x" * 60_000
    assert [value for batch in await read([json.dumps([text]).encode()]) for value in batch] == [[text]]


async def test_lines_are_read_as_the_type_asked_for() -> None:
    assert await read([b'{"id":"a","total":3}\n{"id":"b"}\n'], Order) == [[Order("a", 3), Order("b")], []]


async def test_a_bad_line_is_named_by_its_number() -> None:
    with pytest.raises(CodecError, match=r"line 3 is no JSON: .*; those before it were taken"):
        await read([b"1\n\n{bad\n"])


async def test_a_line_of_another_type_is_refused() -> None:
    with pytest.raises(CodecError, match=r"line 1 is no JSON of a Order: .*`int`"):
        await read([b'{"id":"a","total":"much"}\n'], Order)
