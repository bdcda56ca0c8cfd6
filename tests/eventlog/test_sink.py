from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
import pytest

from actorstream.errors import FencedError, InvariantError, RestoreError, StoreError
from actorstream.eventlog.log import EventLog
from tests.eventlog.setting import SMALL, Click, Identity, values_of

if TYPE_CHECKING:
    from pathlib import Path


def clicks(start: int, stop: int) -> list[Click]:
    return [Click("a", i) for i in range(start, stop)]


async def staged_by(log: EventLog[Click], ctx: Identity, checkpoint: int, values: list[Click]) -> bytes:
    """Write and pre-commit as an attempt that then dies."""
    async with log.writer(ctx) as writer:
        await writer.write(values)
        token = await writer.pre_commit(checkpoint)
        assert token is not None
        return token


def staged_names(log: EventLog[Click]) -> list[str]:
    return sorted(os.listdir(os.path.join(log.path, "staged")))


async def test_records_appear_with_the_commit_and_not_before(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "log")
    async with log.writer(Identity()) as writer:
        await writer.write(clicks(0, 3))
        token = await writer.pre_commit(1)
        assert token is not None
        assert len(token) <= 4096
        await writer.write(clicks(3, 5))
        assert await values_of(log) == []
        await writer.commit(token)
        assert await values_of(log) == clicks(0, 3)
        second = await writer.pre_commit(2)
        assert second is not None
        await writer.commit(second)
        assert await values_of(log) == clicks(0, 5)
        assert await writer.pre_commit(3) is None
    assert staged_names(log) == []


async def test_t101_a_restored_attempt_commits_what_a_dead_one_staged(tmp_path: Path) -> None:
    """T101: the crash came after the checkpoint was complete and before its commit."""
    log = EventLog(Click, tmp_path / "log")
    token = await staged_by(log, Identity(attempt=1), 1, clicks(0, 4))
    again = EventLog(Click, tmp_path / "log")
    async with again.writer(Identity(attempt=2)) as writer:
        await writer.commit(token)
        await writer.abort(None)
    assert await values_of(again) == clicks(0, 4)


async def test_t102_a_commit_that_comes_again_does_nothing(tmp_path: Path) -> None:
    """T102: notices repeat, restores repeat, and the staged file may be gone or there again."""
    log = EventLog(Click, tmp_path / "log")
    token = await staged_by(log, Identity(), 1, clicks(0, 4))
    (name,) = staged_names(log)
    content = (tmp_path / "log" / "staged" / name).read_bytes()
    for attempt in (1, 1, 2, 3):
        async with log.writer(Identity(attempt=attempt)) as writer:
            await writer.commit(token)
            await writer.commit(token)
    (tmp_path / "log" / "staged" / name).write_bytes(content)
    async with log.writer(Identity(attempt=4)) as writer:
        await writer.commit(token)
    assert await values_of(log) == clicks(0, 4)
    assert staged_names(log) == []


async def test_t103_t104_tokens_of_several_checkpoints_are_committed_in_order(tmp_path: Path) -> None:
    """T103, T104: what an aborted checkpoint staged is committed with the next one, not dropped."""
    log = EventLog(Click, tmp_path / "log")
    async with log.writer(Identity()) as writer:
        tokens = []
        for checkpoint in (1, 2, 3):
            await writer.write(clicks(checkpoint * 10, checkpoint * 10 + 2))
            tokens.append(await writer.pre_commit(checkpoint))
        for token in tokens:
            assert token is not None
            await writer.commit(token)
    assert [c.page for c in await values_of(log)] == [10, 11, 20, 21, 30, 31]


async def test_t105_a_zombie_is_refused_whatever_it_tries(tmp_path: Path) -> None:
    """T105: from the moment a newer attempt has opened a writer, also for other subtasks of the operator."""
    log = EventLog(Click, tmp_path / "log")
    async with log.writer(Identity(attempt=1, subtask=1)) as zombie:
        await zombie.write(clicks(0, 3))
        token = await zombie.pre_commit(1)
        assert token is not None
        other = EventLog(Click, tmp_path / "log")
        async with other.writer(Identity(attempt=2)):
            with pytest.raises(FencedError, match="attempt 2 of job job-1 writes here"):
                await zombie.commit(token)
    with pytest.raises(FencedError):
        async with log.writer(Identity(attempt=1)):
            pass
    assert await values_of(log) == []


async def test_t105_what_a_dead_attempt_left_open_is_dropped(tmp_path: Path) -> None:
    """T105: its checkpoint never completed; other subtasks' and jobs' files stay."""
    log = EventLog(Click, tmp_path / "log")
    await staged_by(log, Identity(attempt=1), 1, clicks(0, 3))
    kept = await staged_by(log, Identity(attempt=1, subtask=1), 1, clicks(3, 5))
    await staged_by(log, Identity(job="other", attempt=1), 1, clicks(0, 1))
    async with log.writer(Identity(attempt=2)) as writer:
        await writer.write(clicks(0, 1))
        own = await writer.pre_commit(2)
        await writer.abort(None)
        assert own is not None
        assert len(staged_names(log)) == 3
        await writer.abort(own)
        await writer.commit(kept)
    assert [name.split("-")[0] for name in staged_names(log)] == ["other"]
    assert await values_of(log) == clicks(3, 5)


async def test_t105_what_subtasks_left_open_that_are_no_more_is_dropped_too(tmp_path: Path) -> None:
    """T105: after a crash with four subtasks the job goes on with one, from checkpoint 1; nobody else comes by."""
    log = EventLog(Click, tmp_path / "log")
    restored = await staged_by(log, Identity(attempt=1, subtask=3), 1, clicks(0, 2))
    await staged_by(log, Identity(attempt=1, subtask=3), 2, clicks(2, 3))
    await staged_by(log, Identity(operator="other", subtask=3), 2, clicks(2, 3))
    async with log.writer(Identity(attempt=1, subtask=2)) as writer:
        await writer.write([Click("x" * 2_000, number) for number in range(1_000)])
        kept = {name: (tmp_path / "log" / "staged" / name).read_bytes() for name in staged_names(log)}
    for name, content in kept.items():
        (tmp_path / "log" / "staged" / name).write_bytes(content)
    assert [name.rpartition("-")[2] for name in staged_names(log)] == ["open", "1", "2", "2"]

    async with log.writer(Identity(attempt=2, restored=1)) as writer:
        await writer.abort(None)  # before the restored token is committed, as another subtask may
        await writer.commit(restored)
    assert staged_names(log) == ["job%2D1-other-3-1-2"]
    assert await values_of(log) == clicks(0, 2)


async def test_t111_a_fork_is_another_writer(tmp_path: Path) -> None:
    """T111: its job id differs, so that neither fences nor marks the other."""
    log = EventLog(Click, tmp_path / "log")
    async with log.writer(Identity(attempt=5)) as origin, log.writer(Identity(job="job-1+v2", attempt=1)) as fork:
        for writer, start in ((origin, 0), (fork, 10)):
            await writer.write(clicks(start, start + 2))
            token = await writer.pre_commit(7)
            assert token is not None
            await writer.commit(token)
    assert [c.page for c in await values_of(log)] == [0, 1, 10, 11]


@pytest.mark.parametrize("damage", ["missing", "short", "flipped"])
async def test_a_staged_file_that_is_not_what_the_token_says_is_never_committed(tmp_path: Path, damage: str) -> None:
    log = EventLog(Click, tmp_path / "log")
    async with log.writer(Identity()) as writer:
        await writer.write(clicks(0, 500))
        token = await writer.pre_commit(3)
        assert token is not None
        (name,) = staged_names(log)
        path = tmp_path / "log" / "staged" / name
        data = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(data[:-3] if damage == "short" else data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
        with pytest.raises(StoreError, match=rf"{name} is (missing|damaged).*checkpoint 3"):
            await writer.commit(token)
        assert await values_of(log) == []
        path.write_bytes(data)
        await writer.commit(token)
    assert await values_of(log) == clicks(0, 500)


async def test_a_bad_commit_does_not_hurt_those_that_share_its_transaction(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "log")
    async with log.writer(Identity()) as bad, log.writer(Identity(subtask=1)) as good:
        tokens = []
        for writer in (bad, good):
            await writer.write(clicks(0, 100))
            tokens.append(await writer.pre_commit(1))
        (tmp_path / "log" / "staged" / staged_names(log)[0]).unlink()
        failures: list[BaseException] = []

        async def commit(index: int) -> None:
            try:
                await (bad, good)[index].commit(tokens[index] or b"")
            except StoreError as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log.append, Click("b", 1))
            tasks.start_soon(commit, 0)
            tasks.start_soon(commit, 1)
    assert len(failures) == 1
    assert sorted(c.user for c in await values_of(log)) == ["a"] * 100 + ["b"]


async def test_fences_and_marks_are_carried_from_segment_to_segment(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "log", settings=SMALL)
    token = await staged_by(log, Identity(attempt=3), 8, clicks(0, 4))
    async with log.writer(Identity(attempt=3)) as writer:
        await writer.commit(token)
        for start in range(0, 12_000, 3_000):
            await log.extend([Click("x" * 100, i) for i in range(start, start + 3_000)])
        assert (await log.summary()).segments > 2
        await writer.commit(token)
    assert (await log.summary()).records == 12_004
    with pytest.raises(FencedError):
        await log.writer(Identity(attempt=2)).__aenter__()


async def test_a_commit_larger_than_a_segment_is_one_transaction(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "log", settings=SMALL, partitions=2, key=lambda c: c.user)
    async with log.writer(Identity()) as writer:
        for start in range(0, 20_000, 500):
            await writer.write([Click(f"{'x' * 100}{i}", i) for i in range(start, start + 500)])
        token = await writer.pre_commit(1)
        assert token is not None
        await writer.commit(token)
    assert sorted(c.page for c in await values_of(log)) == list(range(20_000))


async def test_a_writer_left_without_pre_commit_leaves_no_file(tmp_path: Path) -> None:
    log = EventLog(Click, tmp_path / "log")
    async with log.writer(Identity()) as writer:
        await writer.write([Click("x" * 1000, i) for i in range(3_000)])
        assert staged_names(log) != []
    assert staged_names(log) == []
    assert await values_of(log) == []
    with pytest.raises(InvariantError):
        await log.writer(Identity()).write(clicks(0, 1))


@pytest.mark.parametrize("token", [b"", b"{}", b"\x93", b'{"format": 1}'])
async def test_a_strange_token_is_refused(tmp_path: Path, token: bytes) -> None:
    log = EventLog(Click, tmp_path / "log")
    async with log.writer(Identity()) as writer:
        with pytest.raises(StoreError, match="token"):
            await writer.commit(token)


async def test_job_that_goes_on_from_an_older_checkpoint_than_it_committed_is_refused(tmp_path: Path) -> None:
    """Somebody deleted the newest checkpoints: everything since the older one would be written twice (T90)."""
    log = EventLog(Click, tmp_path / "log")
    async with log.writer(Identity(restored=0)) as writer:
        await writer.write(clicks(0, 3))
        token = await writer.pre_commit(7)
        assert token is not None
        await writer.commit(token)

    with pytest.raises(RestoreError, match=r"holds the output of checkpoint 7 .* goes on from checkpoint 6"):
        async with log.writer(Identity(attempt=2, restored=6)):
            pass
    async with log.writer(Identity(attempt=2, restored=7)):
        assert await values_of(log) == clicks(0, 3)


async def test_two_jobs_restored_from_one_savepoint_do_not_both_write(tmp_path: Path) -> None:
    """They have one id, and count attempts from the same number on: the second one is told."""
    log = EventLog(Click, tmp_path / "log")
    async with log.writer(Identity(attempt=3)):
        with pytest.raises(FencedError, match=r"another instance .* run one of them as a fork"):
            async with log.writer(Identity(attempt=3, holder="other")):
                pass
        async with log.writer(Identity(attempt=3, subtask=1)):
            pass
    async with log.writer(Identity(attempt=4, holder="other")):
        with pytest.raises(FencedError, match="a newer deployment"):
            async with log.writer(Identity(attempt=3)):
                pass


async def test_t109_t111_whatever_subtask_or_name_the_output_has_come_from_it_is_not_written_again(
    tmp_path: Path,
) -> None:
    """A job moved from a savepoint may have fewer subtasks, and its sink another name: the log still knows better."""
    log = EventLog(Click, tmp_path / "log")
    async with log.writer(Identity(subtask=1, restored=0)) as writer:
        await writer.write(clicks(0, 3))
        token = await writer.pre_commit(7)
        assert token is not None
        await writer.commit(token)

    for moved in (Identity(attempt=2, restored=6), Identity(attempt=2, restored=6, operator="renamed")):
        with pytest.raises(RestoreError, match=r"holds the output of checkpoint 7 of operator 'alerts'"):
            async with log.writer(moved):
                pass
    async with log.writer(Identity(attempt=2, restored=6, job="job-1@fork")):
        assert await values_of(log) == clicks(0, 3)


async def test_t105_a_zombie_is_refused_by_a_job_whose_sink_was_renamed(tmp_path: Path) -> None:
    """The old process does not know the new name, and the new one not every old name."""
    log = EventLog(Click, tmp_path / "log")
    async with log.writer(Identity(attempt=2)) as zombie:
        await zombie.write(clicks(0, 3))
        token = await zombie.pre_commit(1)
        assert token is not None
        with pytest.raises(FencedError, match="another instance"):
            async with log.writer(Identity(attempt=2, operator="renamed", holder="other")):
                pass
        async with log.writer(Identity(attempt=3, operator="renamed", holder="other")):
            with pytest.raises(FencedError, match="a newer deployment"):
                await zombie.commit(token)
    assert await values_of(log) == []
