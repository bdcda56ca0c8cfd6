from __future__ import annotations

import gc
import os
import stat
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.errors import CodecError, PlanError, RecordTooLargeError, StoreError
from actorstream.eventlog.folder import LogSettings
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.positions import LogPosition
from actorstream.model.connect import Sink, Source
from actorstream.system.files import RealFiles
from tests.eventlog.setting import SMALL, Click, values_of
from tests.state.rig import open_files


async def test_what_was_appended_is_read_back_in_order(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "clicks")
    assert await log.append(Click("ada", 1)) == LogPosition(0, 0)
    assert await log.extend(Click("bob", i) for i in range(3)) == [LogPosition(0, i) for i in (1, 2, 3)]
    assert await log.extend([]) == []
    assert await values_of(log) == [Click("ada", 1), Click("bob", 0), Click("bob", 1), Click("bob", 2)]
    await log.aclose()
    assert await log.append(Click("eve", 9)) == LogPosition(0, 4)


async def test_a_log_is_a_source_and_a_sink(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "clicks")
    source: Source[Click, int] = log
    view: Source[Click, int] = log.view(stop="now")
    sink: Sink[Click] = log
    assert isinstance(source, Source)
    assert isinstance(view, Source)
    assert isinstance(sink, Sink)


async def test_records_survive_closing_and_opening_by_another_object(tmp_path: Path) -> None:
    async with EventLog(Click, tmp_path / "clicks", partitions=2) as log:
        await log.extend([Click("a", i) for i in range(1000)])
    again = EventLog(Click, tmp_path / "clicks")
    assert sorted(click.page for click in await values_of(again)) == list(range(1000))
    assert (await again.summary()).partitions == 2


async def test_records_of_one_key_go_to_one_partition_in_order(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "clicks", partitions=4, key=lambda c: c.user)
    clicks = [Click(f"user-{i % 7}", i) for i in range(200)]
    positions = await log.extend(clicks[:150])
    positions = [*positions, *[await log.append(click) for click in clicks[150:]]]
    by_user: dict[str, set[int]] = {}
    for click, position in zip(clicks, positions, strict=True):
        by_user.setdefault(click.user, set()).add(position.partition)
    assert all(len(partitions) == 1 for partitions in by_user.values())
    assert len({p.partition for p in positions}) > 1
    async for record in log.records(stop="now"):
        assert positions[record.value.page] == (record.partition, record.offset)


async def test_the_partition_of_a_key_never_changes(tmp_path: Path) -> None:
    """Golden values: another hash would tear a key's order apart in every existing log."""
    log = EventLog(str, tmp_path / "words", partitions=8, key=lambda w: w)
    assert [p.partition for p in await log.extend(["a", "b", "ada", "eve"])] == [7, 1, 4, 7]


async def test_without_a_key_partitions_take_turns(tmp_path: Path) -> None:
    log = EventLog(int, tmp_path / "numbers", partitions=3)
    positions = [await log.append(0), *await log.extend(range(1, 5)), await log.append(5)]
    assert [p.partition for p in positions] == [0, 1, 2, 0, 1, 2]
    assert [p.offset for p in positions] == [0, 0, 0, 1, 1, 1]


async def test_segments_roll_over_and_readers_cross_them(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "clicks", partitions=2, settings=SMALL)
    clicks = [Click("x" * 100, i) for i in range(12_000)]
    for start in range(0, len(clicks), 3_000):
        await log.extend(clicks[start : start + 3_000])
    summary = await log.summary()
    assert summary.segments > 2
    assert (summary.records, summary.next) == (12_000, [6_000, 6_000])
    assert sorted(c.page for c in await values_of(log)) == list(range(12_000))
    assert sorted(c.page for c in await values_of(EventLog(Click, log.path))) == list(range(12_000))


async def test_a_record_larger_than_a_segment_gets_a_segment_that_holds_it(tmp_path: Path) -> None:
    log = EventLog(bytes, tmp_path / "blobs", settings=SMALL)
    blobs = [b"a" * 10, b"b" * (3 << 20), b"c" * 10]
    for blob in blobs:
        await log.append(blob)
    assert await values_of(log) == blobs


async def test_concurrent_appends_are_all_there_once(tmp_path: Path) -> None:
    log = EventLog(int, tmp_path / "numbers")
    positions: dict[int, LogPosition] = {}

    async def append(value: int) -> None:
        positions[value] = await log.append(value)

    async with anyio.create_task_group() as tasks:
        for value in range(300):
            tasks.start_soon(append, value)
    async for record in log.records(stop="now"):
        assert positions[record.value] == (record.partition, record.offset)
    assert sorted(p.offset for p in positions.values()) == list(range(300))


async def test_a_cancelled_append_may_have_happened_and_hurts_nobody(tmp_path: Path) -> None:
    log = EventLog(int, tmp_path / "numbers")
    acknowledged: list[int] = []

    async def append(value: int, patience: float) -> None:
        with anyio.move_on_after(patience):
            await log.append(value)
            acknowledged.append(value)

    async with anyio.create_task_group() as tasks:
        for value in range(60):
            tasks.start_soon(append, value, 10 if value % 3 else 0.001)
    found = await values_of(log)
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    assert {v for v in range(60) if v % 3} <= set(acknowledged)


async def test_two_logs_of_one_folder_in_one_process_share_it(tmp_path: Path) -> None:
    one, two = EventLog(int, tmp_path / "numbers"), EventLog(int, tmp_path / "numbers")

    async def fill(log: EventLog[int], start: int) -> None:
        for value in range(start, start + 30):
            await log.append(value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fill, one, 0)
        tasks.start_soon(fill, two, 30)
    assert sorted(await values_of(one)) == list(range(60))


async def test_a_lock_held_elsewhere_is_an_error_that_names_the_log(tmp_path: Path) -> None:
    log = EventLog(int, tmp_path / "numbers", settings=LogSettings(lock_timeout_s=0.05))
    await log.append(1)
    lock = RealFiles().lock(str(tmp_path / "numbers" / "LOCK"))
    assert lock is not None
    with pytest.raises(StoreError, match=r"numbers: another process has held its writer lock"):
        await log.append(2)
    lock.release()
    assert await log.append(3) == LogPosition(0, 1)


async def test_another_type_is_refused_with_the_difference(tmp_path: Path) -> None:
    await EventLog(Click, tmp_path / "log").append(Click("a", 1))
    with pytest.raises(StoreError, match="holds records of another type"):
        await EventLog(int, tmp_path / "log").append(1)
    with pytest.raises(StoreError, match="holds records of another type"):
        await values_of(EventLog(int, tmp_path / "log"))


async def test_a_union_of_classes_keeps_the_class(tmp_path: Path) -> None:
    log: EventLog[Click | int] = EventLog((Click, int), tmp_path / "log")
    await log.extend([Click("a", 1), 5])
    assert await values_of(log) == [Click("a", 1), 5]


async def test_what_cannot_be_a_record_is_refused_and_nothing_written(tmp_path: Path) -> None:
    log = EventLog(bytes, tmp_path / "log", partitions=2, key=lambda b: None if b == b"?" else b)
    with pytest.raises(CodecError):
        await log.append(b"?")
    with pytest.raises(RecordTooLargeError, match=r"a record for EventLog"):
        await log.append(b"x" * (17 << 20))
    with pytest.raises(CodecError):
        await log.append("text")  # type: ignore[arg-type]
    assert (await log.summary()).records == 0


def test_arguments_are_checked_at_once(tmp_path: Path) -> None:
    for partitions in (0, -1, 5000):
        with pytest.raises(PlanError, match="partitions="):
            EventLog(int, tmp_path, partitions=partitions)
    with pytest.raises(PlanError, match="retention"):
        EventLog(int, tmp_path, retention=-5)


async def test_another_number_of_partitions_is_refused(tmp_path: Path) -> None:
    await EventLog(int, tmp_path / "log", partitions=3).append(1)
    with pytest.raises(PlanError, match="has 3 partitions, and partitions=4"):
        await EventLog(int, tmp_path / "log", partitions=4).append(1)


def test_files_are_private(tmp_path: Path) -> None:
    """Records are users' data: nobody else on the machine reads them."""
    anyio.run(EventLog(int, tmp_path / "log").append, 1)
    for folder, _, names in os.walk(tmp_path / "log"):
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
        for name in names:
            assert stat.S_IMODE((Path(folder) / name).stat().st_mode) == 0o600, name


async def test_retention_removes_whole_old_segments_and_waits_for_consumers(tmp_path: Path) -> None:
    log = EventLog(bytes, tmp_path / "log", retention=timedelta(0), settings=SMALL)
    await log.register_consumer("job-7", "/stores/job-7", {0: 10})
    for _ in range(6):
        await log.extend([b"x" * 200] * 1_000)
    summary = await log.summary()
    assert (summary.first, summary.segments > 2) == ([0], True)

    await log.register_consumer("job-7", "/stores/job-7", {0: 5_999})
    summary = await log.summary()
    assert summary.segments == 1
    assert summary.first[0] > 0
    assert len(await values_of(log)) == 6_000 - summary.first[0]

    with pytest.raises(StoreError, match=rf"has no offset 11 any more.*Start at {summary.first[0]} or later"):
        await anext(aiter(log.read("0", 10)))


async def test_a_job_that_registers_first_finds_everything(tmp_path: Path) -> None:
    """Retention is due when a log is opened: not before the job that opens it has said what it needs."""
    async with EventLog(bytes, tmp_path / "log", settings=SMALL) as log:
        for _ in range(6):
            await log.extend([b"x" * 200] * 1_000)
    async with EventLog(bytes, tmp_path / "log", retention=0) as log:
        await log.register_consumer("job-7", "/stores/job-7", {})
        assert (await log.summary()).first == [0]
    async with EventLog(bytes, tmp_path / "log", retention=0) as log:
        await log.drop_consumer("job-7")
        assert (await log.summary()).segments == 1


async def test_consumers_are_listed_and_dropped(tmp_path: Path) -> None:
    log = EventLog(bytes, tmp_path / "log", partitions=2, retention=0, settings=SMALL)
    await log.register_consumer("job-7", "/stores/job-7", {0: 10, 1: None})
    for _ in range(6):
        await log.extend([b"x" * 200] * 1_000)
    (consumer,) = await log.consumers()
    assert (consumer.name, consumer.store, consumer.positions) == ("job-7", "/stores/job-7", [10, -1])
    assert (await log.summary()).first == [0, 0]
    await log.drop_consumer("job-7")
    assert (await log.summary()).first > [0, 0]
    assert await log.consumers() == []
    with pytest.raises(StoreError, match="no consumer 'job-7'"):
        await log.drop_consumer("job-7")


async def test_a_world_that_ended_is_left_behind(tmp_path: Path) -> None:
    """A log made at import serves one loop after the other (tests, servers that restart)."""
    log = EventLog(int, tmp_path / "log")

    def in_a_loop_of_its_own() -> LogPosition:
        return anyio.run(log.append, 1)

    first = await anyio.to_thread.run_sync(in_a_loop_of_its_own)
    second = await anyio.to_thread.run_sync(in_a_loop_of_its_own)
    assert (first.offset, second.offset, (await log.append(1)).offset) == (0, 1, 2)


async def test_a_ledger_larger_than_a_segment_goes_along(tmp_path: Path) -> None:
    """What is noted of sealed segments, jobs and savepoints only grows: a log would have been full for ever."""
    log = EventLog(Click, tmp_path / "log", settings=SMALL)
    await log.append(Click("a", 0))
    for number in range(400):
        await log.register_consumer(f"job-{number}", f"/{'x' * 4_000}", {0: 0})
    for number in range(1, 6):
        await log.append(Click("a", number))
    summary = await log.summary()
    assert summary.segments < 10, "a new one for every few commits"
    assert [click.page for click in await values_of(log)] == list(range(6))
    assert len(await log.consumers()) == 400


async def test_one_entry_of_the_ledger_larger_than_a_segment_is_written(tmp_path: Path) -> None:
    """It made segment after segment, none of which was larger than the one before."""
    log = EventLog(Click, tmp_path / "log", settings=SMALL)
    with anyio.fail_after(20):
        await log.register_consumer("job", "/" + "x" * (2 << 20), {0: 0})
    assert [len(consumer.store) for consumer in await log.consumers()] == [(2 << 20) + 1]


async def test_logs_that_nobody_has_any_more_leave_no_file_open(tmp_path: Path) -> None:
    """As with files of Python: `aclose` is for those who want it at once."""

    async def use(number: int) -> None:
        log = EventLog(int, tmp_path / "log" / str(number))
        await log.append(1)
        async for record in log.records(stop="now"):
            assert record.value == 1
        pipeline = Pipeline("copy")
        copy = EventLog(int, tmp_path / "copy" / str(number))
        pipeline.source(log.view(stop="now"), name="in").sink(copy, name="out")
        await pipeline.run(store=tmp_path / str(number))

    for number in range(3):
        await use(number)
    gc.collect()
    assert open_files(tmp_path) == []
