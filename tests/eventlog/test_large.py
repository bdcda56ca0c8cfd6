"""Large records, many at once: what a call encodes is held in pieces, whatever the size of records."""

from __future__ import annotations

import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from actorstream.eventlog.log import EventLog
from tests.eventlog.setting import Click, Identity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORD = 1_000_000
MANY = 60
HELD = 30
"""A piece of four, in up to four forms, and what LMDB writes."""
SMALL_BEFORE = pytest.mark.parametrize("small", [0, 2_000])


@contextmanager
def peak_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def clicks(small: int) -> list[Click]:
    """Give some small ones, and then large ones, which share their text."""
    text = "x" * RECORD
    return [Click("s", number) for number in range(small)] + [Click(text, number) for number in range(MANY)]


async def test_a_sink_keeps_few_large_records_in_memory(tmp_path: Path) -> None:
    """A batch of 512 of 10 MB was encoded as a whole, and copied twice."""
    log = EventLog(Click, tmp_path / "log")
    async with log.writer(Identity()) as writer:
        with peak_below(HELD * RECORD):
            await writer.write(clicks(0))
        assert await writer.pre_commit(1) is not None


async def test_large_records_are_appended_in_pieces(tmp_path: Path) -> None:
    """Of 256 at least, though 4 MiB were promised."""
    log = EventLog(Click, tmp_path / "log")
    with peak_below(HELD * RECORD):
        await log.extend(clicks(0))
    assert (await log.summary()).records == MANY


@SMALL_BEFORE
async def test_pieces_change_no_order(tmp_path: Path, small: int) -> None:
    log = EventLog(Click, tmp_path / "log", partitions=3)
    given = clicks(small)[: small + 5]
    positions = await log.extend(given)
    found = {(record.partition, record.offset): record.value async for record in log.records(stop="now")}
    assert [found[position] for position in positions] == given
    assert [position.partition for position in positions] == [number % 3 for number in range(len(given))]
