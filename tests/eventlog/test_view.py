from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import pytest

from actorstream.errors import PlanError, StoreError
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.positions import LogPosition
from tests.eventlog.setting import SMALL, Click

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.eventlog.view import LogStart, LogStop, LogView

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


async def pages(view: LogView[Click], split: str = "0", after: int | None = None) -> list[int]:
    return [click.page async for fetched in view.read(split, after) for click in fetched.values]


async def timed(path: Path) -> EventLog[Click]:
    """Twenty clicks, one a second; every fifth comes ten seconds late."""
    log = EventLog(Click, path, timestamp=lambda c: EPOCH + timedelta(seconds=c.page - (10 if c.page % 5 == 4 else 0)))
    await log.extend([Click("a", i) for i in range(20)])
    return log


async def test_the_position_is_that_of_the_last_record_of_the_batch(tmp_path: Path) -> None:
    """T99: a restart goes on right after what was emitted, wherever the batches end."""
    log = EventLog(Click, tmp_path / "log")
    await log.extend([Click("a", i) for i in range(1_500)])
    view = log.view(stop="now")
    seen = 0
    async for fetched in view.read("0", None):
        seen += len(fetched.values)
        assert fetched.values[-1].page == fetched.position == seen - 1
        assert fetched.timestamps is not None
        assert len(fetched.timestamps) == len(fetched.values) <= 512
    assert seen == 1_500
    for after in (-1, 0, 511, 512, 1_498):
        assert await pages(view, after=after) == list(range(after + 1, 1_500))
    assert await pages(view, after=1_499) == []


async def test_now_is_resolved_once_for_a_view(tmp_path: Path) -> None:
    """All splits, and every restart within the process, end at the same place."""
    log = EventLog(Click, tmp_path / "log")
    await log.extend([Click("a", i) for i in range(5)])
    view = log.view(stop="now")
    assert await view.splits() == ["0"]
    await log.append(Click("a", 5))
    assert await pages(view) == [0, 1, 2, 3, 4]
    assert await pages(log.view(stop="now")) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        ("earliest", "now", range(20)),
        ("latest", "now", []),
        ([LogPosition(0, 3)], [LogPosition(0, 7)], range(3, 7)),
        ([(0, 5)], [(0, 5)], []),
        (EPOCH, EPOCH + timedelta(seconds=6), [0, 1, 2, 3, 4, 5]),
        ((EPOCH + timedelta(seconds=7)).timestamp(), EPOCH + timedelta(seconds=9), [7, 8, 9]),
        (EPOCH + timedelta(days=1), "now", []),
        ("earliest", EPOCH + timedelta(days=1), range(20)),
    ],
)
async def test_bounds_are_half_open(tmp_path: Path, start: LogStart, stop: LogStop, expected: list[int]) -> None:
    """A time is where the first record at or after it lies, also where timestamps go back."""
    log = await timed(tmp_path / "log")
    assert await pages(log.view(start=start, stop=stop)) == list(expected)


async def test_a_time_is_found_in_sealed_segments_too(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "log", timestamp=lambda c: EPOCH + timedelta(seconds=c.page), settings=SMALL)
    for start in range(0, 20_000, 2_000):
        await log.extend([Click("x" * 90, i) for i in range(start, start + 2_000)])
    assert (await log.summary()).segments > 3
    for wanted in (0, 1, 1_999, 2_048, 7_777, 13_001, 19_999):
        view = log.view(start=EPOCH + timedelta(seconds=wanted), stop=EPOCH + timedelta(seconds=wanted + 3))
        assert await pages(view) == list(range(wanted, min(wanted + 3, 20_000)))


async def test_a_view_from_the_latest_says_where_it_began(tmp_path: Path) -> None:
    """Else a job that stops before its first record would start later the next time, and skip."""
    log = EventLog(Click, tmp_path / "log")
    await log.extend([Click("a", i) for i in range(3)])
    reading = log.view(start="latest").read("0", None)
    first = await anext(reading)
    assert (list(first.values), first.position) == ([], 2)
    await log.append(Click("a", 3))
    assert [c.page for c in (await anext(reading)).values] == [3]
    assert await pages(log.view(start="latest", stop="now"), after=first.position) == [3]


async def test_a_reader_at_the_end_is_woken_by_the_writer(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "log", partitions=2, key=lambda c: c.user)
    seen: list[int] = []

    async def follow() -> None:
        async for record in log.records():
            seen.append(record.value.page)
            if len(seen) == 20:
                return

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            for i in range(20):
                await log.append(Click(str(i), i))
    assert sorted(seen) == list(range(20))


async def test_a_stop_in_the_future_ends_when_its_time_has_come(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "log")
    await log.append(Click("a", 1))
    with anyio.fail_after(10):
        assert await pages(log.view(stop=datetime.now(UTC) + timedelta(seconds=0.05))) == [1]


async def test_partitions_are_read_apart(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "log", partitions=3)
    await log.extend([Click("a", i) for i in range(10)])
    view = log.view(stop="now")
    assert await view.splits() == ["0", "1", "2"]
    assert [await pages(view, split) for split in await view.splits()] == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]


async def test_positions_that_are_not_there_are_refused(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "log", partitions=2)
    await log.append(Click("a", 1))
    with pytest.raises(StoreError, match="partition 0 ends at offset 1, and 6 was asked for"):
        await pages(log.view(stop=[LogPosition(0, 9), LogPosition(1, 9)]), after=5)
    with pytest.raises(PlanError, match="one position for each partition"):
        await pages(log.view(start=[LogPosition(0, 0)]))
    with pytest.raises(PlanError, match="no split '2'"):
        await pages(log.view(stop="now"), "2")


def test_bounds_are_checked_when_the_view_is_made(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "log")
    with pytest.raises(PlanError, match="start='now'"):
        log.view(start="now")  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="no time zone"):
        log.view(start=datetime(2024, 1, 1))  # noqa: DTZ001
    with pytest.raises(PlanError, match="named twice"):
        log.view(stop=[LogPosition(0, 1), LogPosition(0, 2)])


async def test_large_records_come_in_small_batches(tmp_path: Path) -> None:
    """Memory is bounded by bytes, not by a count of records."""
    log = EventLog(bytes, tmp_path / "log")
    await log.extend([bytes([i]) * 100_000 for i in range(40)])
    sizes = [len(fetched.values) async for fetched in log.view(stop="now").read("0", None)]
    assert sum(sizes) == 40
    assert max(sizes) <= 16
