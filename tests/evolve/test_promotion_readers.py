"""`promote` under readers: at the first record that differs they go on with the new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from actorstream.errors import PromotedError, StoreError
from actorstream.eventlog.inside import RecordStream, look_inside
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.positions import LogPosition
from actorstream.evolve import promote
from tests.eventlog.setting import values_of
from tests.evolve.naive import Reading, log_of
from tests.evolve.test_promotion import closing, fetched, readings, take

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("read", [0, 20, 40, 60])
async def test_a_reader_at_work_goes_on_at_the_first_record_that_differs(tmp_path: Path, read: int) -> None:
    log = await log_of(tmp_path / "log", readings(60, 40))
    other = await log_of(tmp_path / "new", readings(80))
    async with closing(EventLog(Reading, log.path).view().read("0", None)) as reading:
        seen, _ = await fetched(reading, 60)
        assert seen == readings(60, 40)
        await promote(log, other.path)
        assert (await fetched(reading, 40))[0] == readings(40, start=40)
        await log.append(Reading("late", 1))
        assert (await fetched(reading, 1))[0] == [Reading("late", 1)]
    async with closing(log.view().read("0", read - 1)) as reading:
        expected = [*readings(80), Reading("late", 1)][min(read, 40) :]
        assert (await fetched(reading, len(expected)))[0] == expected


async def test_a_reader_of_records_goes_on_in_each_partition_by_itself(tmp_path: Path) -> None:
    wrong = [Reading("s", i, "wrong" if i == 41 else "") for i in range(60)]
    log = await log_of(tmp_path / "log", wrong, 2)
    other = await log_of(tmp_path / "new", readings(60), 2)
    async with closing(log.records()) as reading:
        assert set(await take(reading, 60)) == set(wrong)
        await promote(EventLog(Reading, log.path), other.path)
        again = await take(reading, 10)
    assert again == [Reading("s", i) for i in range(41, 60, 2)]


async def test_a_position_in_a_checkpoint_says_of_which_records_it_speaks(tmp_path: Path) -> None:
    """A job that was down during a promotion, or several, goes on at the first record that differs."""
    log = await log_of(tmp_path / "log", readings(60, 50))
    positions = []
    for number, (count, wrong_from) in enumerate([(60, 40), (60, 55), (70, 65)]):
        async with closing(log.view().read("0", None)) as reading:
            positions.append((await fetched(reading, 60))[1])
        await promote(log, (await log_of(tmp_path / f"new{number}", readings(count, wrong_from))).path)
    assert len(set(positions)) == 3
    assert positions == sorted(positions), "positions only grow"
    for position, goes_on_at in zip(positions, (40, 40, 55), strict=True):
        async with closing(log.view().read("0", position)) as reading:
            assert (await fetched(reading, 1))[0][0].value == goes_on_at


async def test_a_position_of_a_promotion_that_is_gone_is_refused(tmp_path: Path) -> None:
    """The log was put back from an older copy: nobody knows what the position means there."""
    log = await log_of(tmp_path / "log", readings(10))
    other = await log_of(tmp_path / "new", readings(10))
    await promote(log, other.path)
    async with closing(log.view().read("0", None)) as reading:
        _, position = await fetched(reading, 10)
    async with closing(other.view().read("0", position)) as reading:
        with pytest.raises(StoreError, match="restored from an older copy"):
            await anext(reading)


async def test_a_reader_with_a_fixed_end_is_refused(tmp_path: Path) -> None:
    """The end was meant for other records; and so is a comparison."""
    log = await log_of(tmp_path / "log", readings(2_000))
    other = await log_of(tmp_path / "new", readings(30))
    inside = await look_inside(EventLog(Reading, log.path))
    with RecordStream(inside.log, [0], [2_000]) as stream:
        async with closing(log.records(stop="now")) as reading:
            await take(reading, 1)
            await stream.next_piece()
            await promote(log, other.path)
            with pytest.raises(StoreError, match="was promoted"):
                await take(reading, 1_999)
            with pytest.raises(StoreError, match="was promoted"):
                await stream.next_piece()
    assert await values_of(log) == readings(30)


@pytest.mark.parametrize("stop", ["now", [LogPosition(0, 5)]])
async def test_a_view_with_a_fixed_end_is_refused_when_it_is_read_again(
    tmp_path: Path, stop: Literal["now"] | list[LogPosition]
) -> None:
    """A job that restarts reads on behind its checkpoint, and would mix what was with what is."""
    log = await log_of(tmp_path / "log", readings(9))
    view, open_ended = log.view(stop=stop), log.view()
    for each in (view, open_ended):
        async with closing(each.read("0", None)) as reading:
            await fetched(reading, 5)
    await promote(log, (await log_of(tmp_path / "new", readings(30, 0))).path)
    for after in (None, 2):
        with pytest.raises(PromotedError, match="records have taken the place of those among which this view ends"):
            await anext(view.read("0", after))
    with pytest.raises(PromotedError):
        await anext(view.records())
    async with closing(log.view(stop=stop).read("0", None)) as reading:
        assert (await fetched(reading, 5))[0][:5] == readings(5, 0)
    async with closing(open_ended.read("0", 2)) as reading:
        assert (await fetched(reading, 30))[0] == readings(30, 0)


async def test_a_shorter_replacement_sets_readers_back_to_its_end(tmp_path: Path) -> None:
    log = await log_of(tmp_path / "log", readings(60))
    other = await log_of(tmp_path / "new", readings(20))
    async with closing(log.view().read("0", None)) as reading:
        await fetched(reading, 60)
        await promote(log, other.path)
        await log.append(Reading("late", 1))
        assert (await fetched(reading, 1))[0] == [Reading("late", 1)]


async def test_times_of_append_do_not_count(tmp_path: Path) -> None:
    """A replay appends at another time: the records are the same."""
    log = await log_of(tmp_path / "log", readings(10))
    other = await log_of(tmp_path / "new", readings(12))
    async with closing(log.view().read("0", None)) as reading:
        await fetched(reading, 10)
        await promote(log, other.path)
        assert (await fetched(reading, 2))[0] == readings(2, start=10)
