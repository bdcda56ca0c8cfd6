"""`promote`: the new records at the old path, and what that means to readers, writers, jobs and consumers."""

from __future__ import annotations

import errno
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, cast

import pytest

from actorstream.errors import DataLossError, PlanError, PromotedError, StoreError
from actorstream.eventlog.inside import RecordStream, look_inside
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.positions import LogPosition
from actorstream.eventlog.untyped import open_untyped
from actorstream.evolve import compare, promote
from actorstream.evolve.promotion import promote_seen
from actorstream.model.world import World
from actorstream.system.current import current_world, use_world
from actorstream.testing.faults import InterceptedFiles
from tests.eventlog.setting import SMALL, Identity, values_of
from tests.evolve.naive import Reading, log_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from actorstream.eventlog.positions import LogRecord
    from actorstream.model.connect import Fetched
    from actorstream.testing.faults import CallKind

T = TypeVar("T")


def readings(count: int, wrong_from: int = 1_000_000, *, start: int = 0) -> list[Reading]:
    return [Reading("s", i, "wrong" if i >= wrong_from else "") for i in range(start, start + count)]


def closing(reading: AsyncIterator[T]) -> aclosing[AsyncGenerator[T, None]]:
    return aclosing(cast("AsyncGenerator[T, None]", reading))


async def take(reading: AsyncIterator[LogRecord[Reading]], count: int) -> list[Reading]:
    return [(await anext(reading)).value for _ in range(count)]


async def fetched(reading: AsyncIterator[Fetched[int, Reading]], count: int) -> tuple[list[Reading], int]:
    """Take batches until so many values have come; give the last position too."""
    values: list[Reading] = []
    position = -1
    while len(values) < count:
        batch = await anext(reading)
        values += batch.values
        position = batch.position
    return values, position


def kept_logs(tmp_path: Path) -> list[Path]:
    return sorted(tmp_path.glob("log.before-*"))


async def test_the_path_holds_the_replacement_and_the_log_as_it_was_lies_beside_it(tmp_path: Path) -> None:
    """Both are whole logs of their own, and so is the replacement."""
    log = await log_of(tmp_path / "log", readings(100, 60))
    other = await log_of(tmp_path / "new", readings(120))
    before = await promote_seen(log, other.path)
    assert await values_of(log) == readings(120)
    assert [str(path) for path in kept_logs(tmp_path)] == [before]
    was = EventLog(Reading, str(before))
    assert await values_of(was) == readings(100, 60)
    assert await values_of(other) == readings(120)
    await log.append(Reading("log", 1))
    await other.append(Reading("new", 2))
    await was.append(Reading("was", 3))
    for owner, count, added in (
        (log, 120, Reading("log", 1)),
        (other, 120, Reading("new", 2)),
        (was, 100, Reading("was", 3)),
    ):
        await owner.aclose()
        fresh = EventLog(Reading, owner.path)
        assert (await values_of(fresh))[count:] == [added]


async def test_the_log_as_it_was_can_be_brought_back(tmp_path: Path) -> None:
    log = await log_of(tmp_path / "log", readings(50, 30))
    other = await log_of(tmp_path / "new", readings(50))
    for _ in range(3):
        await promote(log, other.path)
        assert await values_of(log) == readings(50)
        await promote(log, kept_logs(tmp_path)[-1])
        assert await values_of(log) == readings(50, 30)
    assert len(kept_logs(tmp_path)) == 6


class NoRoomBeside(InterceptedFiles):
    """A disk that lets nobody make a folder beside the log."""

    def _before(self, kind: CallKind, path: str, half: Callable[[], None] | None = None) -> None:
        if kind == "make_dirs" and ".before-" in path:
            raise PermissionError(errno.EACCES, "no room", path)


async def test_what_a_promotion_has_left_to_do_is_done_by_whoever_opens_the_log_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """But it mixes with no other log: the old records stay where they are until they can be moved."""
    log = await log_of(tmp_path / "log", readings(50, 30))
    other = await log_of(tmp_path / "new", readings(50))
    world = current_world()
    with use_world(World(world.clock, NoRoomBeside(world.files), world.offload, world.random)):
        before = await promote_seen(EventLog(Reading, log.path), other.path)
    assert before is not None
    assert "could not be moved beside" in caplog.text
    assert kept_logs(tmp_path) == []
    old = tmp_path / "log" / "segments" / "000001.lmdb"
    await log_of(Path(before), readings(3))
    assert await values_of(EventLog(Reading, log.path)) == readings(50)
    assert "is another log than" in caplog.text
    assert old.exists()
    beside = tmp_path / before.rpartition("/")[2]
    beside.rename(tmp_path / "moved away")
    assert await values_of(EventLog(Reading, log.path)) == readings(50)
    assert not old.exists()
    assert await values_of(EventLog(Reading, before)) == readings(50, 30)


async def test_the_disk_is_free_once_the_log_as_it_was_is_removed(tmp_path: Path) -> None:
    log = await log_of(tmp_path / "log", [Reading("x" * 400, i) for i in range(6_000)])
    assert (await log.summary()).segments > 1
    await promote(log, (await log_of(tmp_path / "new", readings(5))).path)
    (before,) = kept_logs(tmp_path)
    shared = [path for path in before.rglob("*.lmdb") if path.stat().st_nlink > 1]
    assert shared == []


async def test_a_log_of_several_segments_takes_the_place_without_a_copy(tmp_path: Path) -> None:
    log = await log_of(tmp_path / "log", readings(3), 3)
    values = [Reading("x" * 400, i) for i in range(6_000)]
    other = await log_of(tmp_path / "new", values, 3)
    await promote(log, other.path)
    assert await compare(log, other)
    segments = (tmp_path / "log" / "generation-2" / "segments").glob("*.lmdb")
    assert sum(path.stat().st_nlink > 1 for path in segments) == (await other.summary()).segments - 1 > 1
    await log.extend(values)
    assert (await log.summary()).records == 12_000


# ---- readers ---------------------------------------------------------------------------------------------------------


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


# ---- writers ---------------------------------------------------------------------------------------------------------


async def test_an_append_by_whoever_had_the_log_open_goes_into_the_promoted_log(tmp_path: Path) -> None:
    await log_of(tmp_path / "log", readings(5))
    held = EventLog(Reading, tmp_path / "log")
    await held.append(Reading("held", 1))
    await promote(EventLog(Reading, tmp_path / "log"), (await log_of(tmp_path / "new", readings(3))).path)
    await held.append(Reading("held", 2))
    assert await values_of(held) == [*readings(3), Reading("held", 2)]
    assert await values_of(EventLog(Reading, kept_logs(tmp_path)[0])) == [*readings(5), Reading("held", 1)]


async def test_a_sinks_writer_open_across_a_promotion_is_refused_and_its_successor_writes_once(tmp_path: Path) -> None:
    """What was committed before is not committed again; what was only staged is, from the same file."""
    log = await log_of(tmp_path / "log", [])
    held = EventLog(Reading, log.path)
    async with held.writer(Identity(restored=0)) as writer:
        tokens: list[bytes] = []
        for checkpoint in (1, 2):
            await writer.write(readings(2, start=10 * checkpoint))
            token = await writer.pre_commit(checkpoint)
            assert token is not None
            tokens.append(token)
        await writer.commit(tokens[0])
        await promote(log, (await log_of(tmp_path / "new", readings(2, start=10))).path)
        with pytest.raises(StoreError, match="was promoted: other records have taken the place"):
            await writer.commit(tokens[1])
    assert await values_of(log) == readings(2, start=10)
    async with held.writer(Identity(attempt=2, restored=2)) as writer:
        for token in tokens:
            await writer.commit(token)
    assert await values_of(log) == [*readings(2, start=10), *readings(2, start=20)]
    with pytest.raises(StoreError, match="attempt 2"):
        async with log.writer(Identity(attempt=1, restored=2)):
            pass


async def test_a_job_that_wrote_the_replacement_may_go_on_in_the_log(tmp_path: Path) -> None:
    """Its committed checkpoints came along with its records."""
    log = await log_of(tmp_path / "log", readings(3))
    other = EventLog(Reading, tmp_path / "new")
    async with other.writer(Identity(job="replay", restored=0)) as writer:
        await writer.write(readings(4))
        token = await writer.pre_commit(1)
        assert token is not None
        await writer.commit(token)
    await promote(log, other.path)
    async with log.writer(Identity(job="replay", attempt=2, restored=1)) as writer:
        await writer.commit(token)
    assert await values_of(log) == readings(4)


# ---- consumers and retention -----------------------------------------------------------------------------------------


async def test_consumers_stay_registered_set_back_like_their_readers(tmp_path: Path) -> None:
    log = await log_of(tmp_path / "log", readings(60, 40))
    for name, position in (("behind", 9), ("beyond", 55), ("new", None)):
        await log.register_consumer(name, "store", {0: position})
    other = await log_of(tmp_path / "new", readings(60))
    await other.register_consumer("of the replacement", "store", {0: 1})
    await promote(log, other.path)
    found = {consumer.name: consumer.positions for consumer in await log.consumers()}
    assert found == {"behind": [9], "beyond": [39], "new": [-1]}
    async with closing(log.view().read("0", None)) as reading:
        _, position = await fetched(reading, 60)
    await log.keep_for("beyond", "store", {"0": position})
    assert {c.name: c.positions for c in await log.consumers()}["beyond"] == [59]


# ---- what is refused -------------------------------------------------------------------------------------------------


async def test_what_readers_could_not_go_on_with_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    log = await log_of(tmp_path / "log", readings(5))
    await log_of(tmp_path / "wide", readings(5), 2)
    await EventLog(int, tmp_path / "ints").append(1)
    (tmp_path / "file").write_text("x")
    for replacement, error, words in (
        ("wide", PlanError, "2 partitions"),
        ("ints", StoreError, "cannot read"),
        ("nowhere", StoreError, "holds no event log"),
        ("log", PlanError, "its own place"),
    ):
        with pytest.raises(error, match=words):
            await promote(log, tmp_path / replacement)
        if replacement == "ints":
            with pytest.raises(error, match=words):
                await promote(open_untyped(log.path), tmp_path / replacement)
    with pytest.raises(StoreError, match="holds no event log"):
        await promote(EventLog(Reading, tmp_path / "not made"), log.path)
    assert not (tmp_path / "not made").exists()
    assert kept_logs(tmp_path) == []
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["LOCK", "LOG", "segments", "staged"]


async def test_a_replacement_that_is_damaged_anywhere_is_refused(tmp_path: Path) -> None:
    """Behind the first difference too, where nothing is compared: its readers would stop there."""
    log = await log_of(tmp_path / "log", readings(5, 0))
    other = await log_of(tmp_path / "new", [Reading(f"sensor {i}", i) for i in range(3_000)])
    await other.aclose()
    path = max((tmp_path / "new" / "segments").glob("*.lmdb"))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"sensor 2999") + 9] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataLossError, match="offset 2999 is damaged"):
        await promote(log, other.path)
    assert await values_of(log) == readings(5, 0)
    assert kept_logs(tmp_path) == []


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has one file system only")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


async def test_a_replacement_on_another_file_system_is_refused_with_what_to_do(tmp_path: Path, elsewhere: Path) -> None:
    log = await log_of(tmp_path / "log", readings(5))
    async with await log_of(elsewhere / "new", readings(7)) as other:
        with pytest.raises(StoreError, match="on the same file system, and promote the copy"):
            await promote(log, other.path)
    assert await values_of(log) == readings(5)


async def test_a_promoted_log_can_be_moved_with_the_one_beside_it(tmp_path: Path) -> None:
    """Nothing in it names the folder it was in."""
    home = tmp_path / "here"
    log = await log_of(home / "log", readings(5))
    await promote(log, (await log_of(home / "new", readings(7))).path)
    await log.aclose()
    home.rename(tmp_path / "there")
    moved = EventLog(Reading, tmp_path / "there" / "log")
    await moved.append(Reading("x", 1))
    assert (await values_of(moved))[:7] == readings(7)


async def test_a_damaged_promotion_is_an_error_that_names_it(tmp_path: Path) -> None:
    log = await log_of(tmp_path / "log", readings(5), 1)
    await promote(log, (await log_of(tmp_path / "new", readings(7))).path)
    path = tmp_path / "log" / "LOG.2"
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole.replace(b'"partitions": 1', b'"partitions": 2'), b""):
        assert damaged != whole
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"LOG\.2 is damaged"):
            await values_of(EventLog(Reading, log.path))
    path.write_bytes(whole.replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(StoreError, match="newer actorstream"):
        await values_of(EventLog(Reading, log.path))


async def test_where_retention_removed_the_beginning_offsets_mean_the_same_if_the_first_record_left_does(
    tmp_path: Path,
) -> None:
    values = [Reading("x" * 400, i) for i in range(6_000)]
    longer = [*values, *values[:1] * 20]
    for name, replacement, goes_on_at in (("same", longer, 6_020), ("other", readings(6_020), 0)):
        log = EventLog(Reading, tmp_path / name, retention=0, settings=SMALL)
        for start in range(0, 6_000, 1_000):
            await log.extend(values[start : start + 1_000])
        for _ in range(20):  # what was sealed is digested beside appends, and removed by later ones
            await log.append(values[0])
        assert (await log.summary()).first[0] > 0
        position = (await log.summary()).next[0] - 1
        assert position == 6_019
        other = await log_of(tmp_path / f"{name} new", replacement)
        await log.aclose()
        log = EventLog(Reading, log.path)  # without retention: nobody registers here
        await promote(log, other.path)
        await log.append(Reading("end", 0))
        async with closing(log.view().read("0", position)) as reading:
            first = (await fetched(reading, 1))[0][0]
        assert first == ([*replacement, Reading("end", 0)][goes_on_at])
        with pytest.raises(StoreError, match="readers would find a hole"):
            await promote(log, kept_of(tmp_path, name))


def kept_of(tmp_path: Path, name: str) -> Path:
    (found,) = tmp_path.glob(f"{name}.before-*")
    return found
