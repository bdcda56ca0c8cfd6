"""A fed split gives what is released, in the pieces that a reader may get."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.model.connect import Fetched
from actorstream.runtime.messages import SplitWatermark
from actorstream.testing.harness_source import FedSource, FedSplit, Journal, Sent, SentWatermark

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actorstream.testing.harness_source import Entry, Read

ENTRIES: list[Entry] = [
    Sent("a", None),
    Sent("b", None),
    SentWatermark(7),
    Sent("c", None),
    Sent("d", 1.5),
    Sent("e", 2.5),
]


def split_with(batch: int = 512) -> FedSplit:
    split = FedSplit("0", batch)
    split.release(split.add(ENTRIES))
    split.end()
    return split


async def read_all(reading: AsyncIterator[Read]) -> list[Read]:
    return [each async for each in reading]


async def test_a_batch_holds_records_of_one_kind() -> None:
    """A watermark stands between records, and times are known of all records of a batch or of none."""
    assert await read_all(split_with().read(None)) == [
        Fetched((), None, caught_up=True),
        Fetched(["a", "b"], 1),
        SplitWatermark(7, 2),
        Fetched(["c"], 3),
        Fetched(["d", "e"], 5, [1.5, 2.5]),
    ]


@pytest.mark.parametrize("after", range(6))
async def test_a_reader_goes_on_right_after_any_position(after: int) -> None:
    """T99: also after a watermark, and whatever the batch."""
    given: list[object] = []
    for read in await read_all(split_with(batch=1).read(after)):
        given += [SentWatermark(read.time_us)] if isinstance(read, SplitWatermark) else read.values

    assert given == [entry if isinstance(entry, SentWatermark) else entry.value for entry in ENTRIES[after + 1 :]]


async def test_no_batch_is_larger_than_was_said() -> None:
    sizes = [len(read.values) for read in await read_all(split_with(batch=1).read(None)) if isinstance(read, Fetched)]

    assert sizes == [0, 1, 1, 1, 1, 1]


async def test_a_journal_is_replayed_step_by_step_from_where_each_reader_stands() -> None:
    """Steps that all readers have given need no turn of their own."""
    source = FedSource("source", [], 2, 512)
    first, second = source.fed.values()
    journal = Journal([source])
    journal.send([(first, [Sent(1, None)])])
    journal.send([(second, [Sent(2, None)])])
    journal.send([(first, [Sent(3, None)]), (second, [Sent(4, None)])])
    journal.rewind()
    assert [split.released for split in journal.splits] == [0, 0]

    first.given, second.given = 1, 0
    released = [[split.released for split in journal.splits] for _ in journal.replay()]
    assert released == [[1, 1], [2, 2]]
