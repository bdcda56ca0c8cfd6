"""A replay gives one result, however it is run."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import pytest

from actorstream import Context, EventLog, KeyedCoProcess, KeyedProcess, Pipeline, Timer, Tumbling, ValueState
from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import JobFailed, UserCodeError
from actorstream.evolve import ReplayProgress, promote, replay
from actorstream.model.key_groups import key_group_of
from actorstream.runtime import replay_order
from tests.crash.process import ROOT
from tests.evolve.replays import EPOCH, MANNERS, REPLAYED, Manner, digests_in, pipeline_of, record, replay_in, values_in
from tests.runtime.doubles import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actorstream.api.savepoint import Savepoint


class Note(NamedTuple):
    """A record that says when it came."""

    key: str
    number: int
    at: float


def notes_of(root: Path, name: str, partitions: int = 1) -> EventLog[Note]:
    return EventLog(Note, root / name, partitions=partitions, key=lambda note: note.key, timestamp=lambda note: note.at)


async def write(log: EventLog[Note], *notes: Note) -> None:
    async with log:
        await log.extend(notes)


@pytest.mark.parametrize("case", REPLAYED)
async def test_a_replay_gives_the_same_bytes_however_it_is_run(case: str, tmp_path: Path) -> None:
    """T136: in other batches, other rounds of firing, with other parallelism and with many checkpoints."""
    await record(tmp_path, seed=sum(map(ord, case)))
    first = await replay_in(Manner(), tmp_path, case, tmp_path / "first")
    for number, manner in enumerate(MANNERS):
        assert await replay_in(manner, tmp_path, case, tmp_path / str(number)) == first, manner


@pytest.mark.parametrize("case", ["timers of two inputs", "windows behind windows"])
async def test_a_replay_gives_the_same_bytes_in_processes_with_other_seeds_of_hashes(case: str, tmp_path: Path) -> None:
    await record(tmp_path, seed=7)
    first = await replay_in(Manner(), tmp_path, case, tmp_path / "first")
    for seed in ("1", "2"):
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.evolve.replays", str(tmp_path), case, str(tmp_path / seed)),
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await child.communicate()
        assert said.decode().strip() == str(first)


async def _savepoint(root: Path, case: str, parallelism: int) -> Savepoint:
    """Run a case live over its logs, and give a savepoint from behind its first results; then write more records."""
    pipeline, _ = pipeline_of(root, case, parallelism)
    async with pipeline.run(store=root / "store", parallelism=parallelism, checkpoint_interval=0.02) as job:
        async with EventLog(str, root / "out" / "results") as results:
            async for _ in results.records():
                break
        savepoint = await job.savepoint("middle")
    await record(root, seed=9, count=60)
    return savepoint


@pytest.mark.parametrize("case", ["tumbling, sliced, lateness", "interval join, full", "timers of two inputs"])
async def test_a_replay_from_a_savepoint_does_not_depend_on_the_parallelism_of_either(
    case: str, tmp_path: Path
) -> None:
    """The savepoint was taken at parallelism 3; each operator has one subtask in the replay, whatever is said."""
    await record(tmp_path, seed=8)
    savepoint = await _savepoint(tmp_path, case, 3)
    committed = await digests_in(tmp_path / "out", pipeline_of(tmp_path, case)[1])
    first = await replay_in(Manner(), tmp_path, case, tmp_path / "first", savepoint)
    assert all([await values_in(tmp_path / "first" / name) for name in first if name != "late"])
    for number, manner in enumerate(MANNERS):
        again = await replay_in(manner, tmp_path, case, tmp_path / str(number), savepoint.path)
        assert again == first, manner
    # Nothing of what the savepoint holds as pending was committed.
    assert await digests_in(tmp_path / "out", pipeline_of(tmp_path, case)[1]) == committed


async def test_records_come_by_their_times_over_all_logs_and_partitions(tmp_path: Path) -> None:
    """Made monotone within a partition; equal times by source, then partition; what has no times comes first."""
    a, b = (next(key for key in "abcdefgh" if key_group_of(encode_key(key), 2) == partition) for partition in (0, 1))
    await write(
        notes_of(tmp_path, "first", 2),
        *[Note(a, 1, 10.0), Note(a, 2, 13.0), Note(a, 3, 11.0), Note(b, 4, 12.0), Note(b, 5, 13.0)],
    )
    await write(notes_of(tmp_path, "second"), Note(a, 6, 9.0), Note(a, 7, 13.0), Note(a, 8, 14.0))
    pipeline = Pipeline("merged")
    second = pipeline.source(notes_of(tmp_path, "second"))
    first = pipeline.source(notes_of(tmp_path, "first", 2))
    early = pipeline.source([Note("c", 9, 99.0)])
    both = second.union(first, early).map(lambda note: note.number)
    both.sink(EventLog(int, tmp_path / "numbers"))
    await replay(pipeline, start="earliest", until="now", into=tmp_path / "into")
    async with EventLog(int, tmp_path / "into" / "numbers") as log:
        numbers = [record.value async for record in log.records(stop="now")]
    assert numbers == [9, 6, 1, 4, 7, 2, 3, 5, 8]


async def test_a_replay_of_one_log_gives_what_the_job_gave(tmp_path: Path) -> None:
    """Without other inputs there is only one order for an ordinary job, too."""
    notes = notes_of(tmp_path, "notes")
    await write(notes, *[Note("abc"[number % 3], number, EPOCH + number * 0.7) for number in range(2_000)])
    pipeline = Pipeline("windows")
    timed = pipeline.source(notes.view(stop="now")).assign_timestamps(lambda note: note.at, out_of_orderness=5)
    counts = timed.key_by(lambda note: note.key).window(Tumbling(60)).count()
    counts.map(repr).sink(EventLog(str, tmp_path / "out" / "counts"))
    await pipeline.run()
    await replay(pipeline, start="earliest", until="now", into=tmp_path / "into")
    given = await values_in(tmp_path / "out" / "counts")
    assert len(given) > 60
    assert await values_in(tmp_path / "into" / "counts") == given


class Reminding(KeyedProcess[str, Note, str]):
    """Says what the clock shows, and again each second until it has done so three times."""

    left: ValueState[int] = ValueState(0)

    def on_element(self, note: Note, ctx: Context[str]) -> Iterator[str]:
        self.left = 3
        ctx.set_timer(ctx.now + timedelta(seconds=1), domain="processing")
        yield f"{note.number} at {ctx.now.timestamp():g}"

    def on_timer(self, timer: Timer, ctx: Context[str]) -> Iterator[str]:
        self.left -= 1
        yield f"{ctx.key} rings at {ctx.now.timestamp():g}"
        if self.left:
            ctx.set_timer(timer.at + timedelta(seconds=1), domain="processing")


async def test_processing_time_is_that_of_the_records_and_goes_from_timer_to_timer(tmp_path: Path) -> None:
    await write(notes_of(tmp_path, "notes"), Note("a", 1, 100.0), Note("b", 2, 101.5), Note("b", 3, 150.0))
    pipeline = Pipeline("reminders")
    notes = pipeline.source(notes_of(tmp_path, "notes"))
    notes.key_by(lambda note: note.key).process(Reminding).sink(EventLog(str, tmp_path / "said"))
    await replay(pipeline, start="earliest", until="now", into=tmp_path / "into")
    async with EventLog(str, tmp_path / "into" / "said") as log:
        records = [record async for record in log.records(stop="now")]
    assert [record.value for record in records][:8] == [
        *("1 at 100", "a rings at 101", "2 at 101.5", "a rings at 102"),
        *("b rings at 102.5", "a rings at 103", "b rings at 103.5", "b rings at 104.5"),
    ]
    assert records[8].value == "3 at 150"
    assert [record.timestamp.timestamp() for record in records[:4]] == pytest.approx([100, 101, 101.5, 102], abs=1e-4)


async def test_output_is_stamped_with_the_time_of_the_records_at_most_a_second_early(tmp_path: Path) -> None:
    notes = [Note("a", number, EPOCH + number * 0.3) for number in range(20)]
    await write(notes_of(tmp_path, "notes"), *notes)
    pipeline = Pipeline("copies")
    pipeline.source(notes_of(tmp_path, "notes")).sink(EventLog(Note, tmp_path / "copies"))
    await replay(pipeline, start="earliest", until="now", into=tmp_path / "into")
    async with EventLog(Note, tmp_path / "into" / "copies") as log:
        behind = [record.value.at - record.timestamp.timestamp() async for record in log.records(stop="now")]
    assert len(behind) == 20
    assert all(-1e-6 <= seconds <= 1 + 1e-6 for seconds in behind)


class Together(KeyedCoProcess[str, Note, Note, str]):
    """Says in which order two ways from one source come together."""

    def on_left(self, note: Note, ctx: Context[str]) -> Iterator[str]:
        yield from [f"left {note.number}"]

    def on_right(self, note: Note, ctx: Context[str]) -> Iterator[str]:
        yield from [f"right {note.number}"]


async def test_two_ways_from_one_source_are_gone_record_by_record(tmp_path: Path) -> None:
    await write(notes_of(tmp_path, "notes"), *[Note("a", number, EPOCH) for number in range(50)])
    pipeline = Pipeline("ways")
    notes = pipeline.source(notes_of(tmp_path, "notes"))
    long = notes.map(lambda note: note, new_chain=True).map(lambda note: note, new_chain=True)
    joined = notes.key_by(lambda note: note.key).connect(long.key_by(lambda note: note.key)).process(Together)
    joined.sink(EventLog(str, tmp_path / "said"))
    await replay(pipeline, start="earliest", until="now", into=tmp_path / "into")
    expected = [f"{side} {number}" for number in range(50) for side in ("left", "right")]
    assert await values_in(tmp_path / "into" / "said") == expected


async def test_two_ways_that_wait_for_each_other_do_not_wait_for_ever(tmp_path: Path) -> None:
    """Each of two joins takes the other's late way first; more comes by both than their lanes hold."""
    await write(notes_of(tmp_path, "notes"), Note("a", 1, EPOCH), Note("a", 2, EPOCH + 1))
    pipeline = Pipeline("crossed")
    notes = pipeline.source(notes_of(tmp_path, "notes"))

    def many(note: Note) -> list[Note]:
        return [note] * 20_000

    # Behind the one who makes them is one who sends them on, a piece at a time.
    one, other = (notes.flat_map(many, new_chain=True).map(lambda note: note, new_chain=True) for _ in range(2))
    for name, first, second in (("x", one, other), ("y", other, one)):
        counted = first.union(second).map(lambda note: note.number, new_chain=True)
        counted.sink(EventLog(int, tmp_path / name))
    summary = await replay(pipeline, start="earliest", until="now", into=tmp_path / "into")
    assert summary.records_out == 160_000


async def test_progress_is_told_to_the_end(tmp_path: Path) -> None:
    await record(tmp_path, seed=1)
    told: list[ReplayProgress] = []
    pipeline, _ = pipeline_of(tmp_path, "timers")
    await replay(pipeline, start="earliest", until="now", into=tmp_path / "into", progress=told.append)
    assert (told[-1].records, told[-1].of, told[-1].eta) == (150, 150, 0.0)
    assert [each.records for each in told] == sorted(each.records for each in told)


async def _promote(root: Path, name: str, notes: list[Note]) -> None:
    """Put these in the place of what is in the log."""
    await write(notes_of(root, name), *notes)
    async with notes_of(root, "notes") as log:
        await promote(log, root / name)


@pytest.mark.parametrize("promoted", [False, True])
async def test_a_savepoint_of_before_and_after_a_promotion_says_how_much_is_left(
    tmp_path: Path, *, promoted: bool
) -> None:
    """A position of a promoted log has its generation in front, and is no offset."""
    notes = [Note("a", number, EPOCH + number) for number in range(10)]
    await write(notes_of(tmp_path, "notes"), *notes)
    pipeline = Pipeline("copies")
    pipeline.source(notes_of(tmp_path, "notes"), name="notes").sink(notes_of(tmp_path, "copies"), name="copies")
    if promoted:
        await _promote(tmp_path, "new", notes)
    async with pipeline.run(store=tmp_path / "store") as job:
        await until(lambda: job.summary().records_in == 10)
        savepoint = await job.stop(savepoint="v1")
    if promoted:
        await _promote(tmp_path, "newer", [*notes[:8], Note("b", 8, EPOCH + 8), Note("b", 9, EPOCH + 9)])
    await write(notes_of(tmp_path, "notes"), *(Note("c", n, EPOCH + n) for n in range(10, 14)))
    told: list[ReplayProgress] = []
    with patch.object(replay_order, "_TELL_SECONDS", 0):
        await replay(pipeline, start=savepoint, until="now", into=tmp_path / "into", progress=told.append)
    left = 6 if promoted else 4  # the records that were promoted last differ from offset 8 on
    assert {each.of for each in told} == {left}
    assert told[-1].records == left


async def test_a_replay_ends_where_it_is_told_to_and_reads_nothing_that_comes_meanwhile(tmp_path: Path) -> None:
    """What is appended while it runs is in no replay that began before."""
    await write(notes_of(tmp_path, "notes"), *[Note("a", number, EPOCH + number) for number in range(10)])
    source, said = notes_of(tmp_path, "notes"), notes_of(tmp_path, "copies")
    pipeline = Pipeline("copies")
    pipeline.source(source).sink(said)

    appending: list[asyncio.Task[None]] = []

    async def numbers(name: str, start: Any, until: Any) -> list[int]:
        async def append_meanwhile(_: ReplayProgress) -> None:
            await source.append(Note("a", 99, EPOCH + 99))

        def on_progress(progress: ReplayProgress) -> None:
            appending.append(asyncio.ensure_future(append_meanwhile(progress)))

        await replay(pipeline, start=start, until=until, into=tmp_path / name, progress=on_progress)
        await asyncio.gather(*appending)
        async with EventLog(Note, tmp_path / name / "copies") as copied:
            return [each.value.number async for each in copied.records(stop="now")]

    assert await numbers("times", EPOCH + 3, EPOCH + 6) == [3, 4, 5]
    assert await numbers("positions", "earliest", [(0, 4)]) == [0, 1, 2, 3]
    assert await numbers("nothing", EPOCH + 8, EPOCH + 2) == []
    before = len(appending)  # as often as progress was told of, which on a slow machine is more often
    assert before >= 3
    assert await numbers("all", "earliest", "now") == [*range(10), *[99] * before]


async def test_an_error_in_a_function_fails_the_replay_and_leaves_it_unfinished(tmp_path: Path) -> None:
    await record(tmp_path, seed=1)
    pipeline, _ = pipeline_of(tmp_path, "timers")
    stream = pipeline.source([1]).map(lambda number: number / 0)
    stream.sink(EventLog(float, tmp_path / "never"))
    with pytest.raises(JobFailed) as failed:
        await replay(pipeline, start="earliest", until="now", into=tmp_path / "into")
    assert isinstance(failed.value.__cause__, UserCodeError)
    assert (tmp_path / "into" / "UNFINISHED").exists()
    assert not (tmp_path / "into" / "REPLAY").exists()
