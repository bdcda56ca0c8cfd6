"""Attempt after attempt: what is tried again, what is not, and what can be asked of a job meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.errors import CodecError, FencedError, JobFailed, RestoreError, StoreError, UserCodeError
from actorstream.protocol.restart import Restart
from tests.runtime.doubles import Splits, Target, settle, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = Restart.fixed_delay(1_000, delay=0)


class Failing:
    """A map function that raises as often as it is told, then works."""

    def __init__(self, times: int, on: Callable[[int], bool] = lambda value: value == 7) -> None:
        self.left = times
        self.raised = 0
        self._on = on

    def __call__(self, value: int) -> int:
        """Give the value, or fail."""
        if self.left and self._on(value):
            self.left -= 1
            self.raised += 1
            raise ValueError(f"failure {self.raised}")
        return value


def counting(fn: Callable[[int], Any], source: Any = None, target: Any = None) -> Pipeline:
    pipeline = Pipeline("t")
    counted = pipeline.source(source or list(range(20)), name="in").map(fn, name="fn").key_by(lambda v: v % 3)
    counted.count(name="count").sink(target or Target(), name="out")
    return pipeline


def expected(count: int) -> list[tuple[int, int]]:
    return [(value % 3, value // 3 + 1) for value in range(count)]


@pytest.mark.parametrize(
    "restart",
    [
        Restart.fixed_delay(2, delay=0.001),
        Restart.exponential(initial=0.001, maximum=0.01),
        Restart.failure_rate(2, per=60, delay=0.001),
    ],
    ids=["fixed delay", "exponential", "failure rate"],
)
async def test_job_restarts_by_its_strategy_and_its_result_is_exact(tmp_path: Path, restart: Restart) -> None:
    target, fn = Target(), Failing(2)
    summary = await counting(fn, target=target).run(store=tmp_path, restart=restart)

    assert (fn.raised, summary.restarts) == (2, 2)
    assert target.committed == expected(20)


@pytest.mark.parametrize(
    ("restart", "tries", "reason"),
    [
        (Restart.never(), 1, "the restart strategy is never"),
        (Restart.fixed_delay(1, delay=0), 2, "1 restarts are used up"),
        (Restart.exponential(initial=0, attempts=2), 3, "2 restarts are used up"),
        (Restart.failure_rate(1, per=60, delay=0), 2, "2 failures within 60 s"),
    ],
    ids=["never", "fixed delay", "exponential", "failure rate"],
)
async def test_job_gives_up_when_its_strategy_does(tmp_path: Path, restart: Restart, tries: int, reason: str) -> None:
    fn = Failing(100, on=lambda value: value == fn.raised)  # another record each time
    with pytest.raises(JobFailed, match=reason) as failed:
        await counting(fn).run(store=tmp_path, restart=restart)

    assert fn.raised == tries
    assert isinstance(failed.value.__cause__, UserCodeError)
    assert isinstance(failed.value.__cause__.__cause__, ValueError)


async def test_job_gives_up_when_one_record_fails_three_times(tmp_path: Path) -> None:
    """It would fail for ever, whatever the strategy."""
    fn = Failing(100)
    with pytest.raises(JobFailed, match="failed 3 times in a row at the same place") as failed:
        await counting(fn).run(store=tmp_path, restart=NOW)

    assert fn.raised == 3
    assert isinstance(failed.value.__cause__, UserCodeError)
    assert failed.value.__cause__.record == 7


async def test_record_that_fails_in_an_async_sink_is_known_again(tmp_path: Path) -> None:
    calls: list[int] = []

    async def send(value: int) -> None:
        if value == 7:
            calls.append(value)
            raise ConnectionError("down")

    pipeline = Pipeline("t")
    pipeline.source(list(range(20))).sink(send, name="send")
    with pytest.raises(JobFailed, match="failed 3 times in a row"):
        await pipeline.run(store=tmp_path, restart=NOW)
    assert calls == [7, 7, 7]


@pytest.mark.parametrize("key", [None, [1], object()], ids=["None", "list", "object"])
@pytest.mark.parametrize("parallelism", [1, 2])
async def test_key_that_cannot_be_stored_is_not_tried_for_ever(tmp_path: Path, key: object, parallelism: int) -> None:
    """The same record would give the same key again."""
    pipeline = Pipeline("t")
    pipeline.source(list(range(20))).key_by(lambda v: key if v == 15 else str(v)).count(name="count").sink(str)
    with anyio.fail_after(10), pytest.raises(JobFailed, match="3 times in a row") as failed:
        await pipeline.run(store=tmp_path, restart=NOW, parallelism=parallelism)

    assert isinstance(failed.value.__cause__, CodecError | UserCodeError)


async def test_state_that_cannot_be_stored_is_not_tried_for_ever(tmp_path: Path) -> None:
    """T86: it is found when the snapshot is encoded; the message names operator, state and key."""
    pipeline = Pipeline("t")
    pipeline.source(["a", "b"]).key_by(str).fold(None, lambda _, v: object(), name="odd")
    with anyio.fail_after(10), pytest.raises(JobFailed, match="3 times in a row") as failed:
        await pipeline.run(store=tmp_path, restart=NOW)

    cause = failed.value.__cause__
    assert isinstance(cause, CodecError)
    assert "odd" in str(cause)
    assert "object" in str(cause)


async def test_failures_without_a_place_are_tried_as_long_as_the_strategy_says(tmp_path: Path) -> None:
    """A disk or a network may come back."""
    source = Splits({"a": list(range(10))}, batch=5)
    tries = 0

    class Target2(Target):
        def commit(self, token: bytes) -> None:
            nonlocal tries
            tries += 1
            if tries < 6:
                raise StoreError("disk full")
            super().commit(token)

    target = Target2()
    await counting(abs, source, target).run(store=tmp_path, restart=NOW)

    assert tries == 6
    assert sorted(target.committed) == sorted(expected(10))


@pytest.mark.parametrize(
    "failure", [FencedError("newer"), RestoreError("gone")], ids=lambda error: type(error).__name__
)
async def test_what_cannot_be_mended_by_trying_is_not_tried_again(tmp_path: Path, failure: Exception) -> None:
    target = Target()
    target.crash_before_commit = failure
    with pytest.raises(JobFailed) as failed:
        await counting(abs, target=target).run(store=tmp_path, restart=NOW)

    assert failed.value.__cause__ is failure
    assert len({attempt for _, attempt in target.attempts}) == 1


async def test_first_attempt_that_never_came_up_is_not_tried_again(tmp_path: Path) -> None:
    """A typo in a connection string is told at once."""
    opened: list[int] = []

    class Broken(Target):
        def writer(self, ctx: Any, /) -> Any:
            opened.append(ctx.attempt)
            raise ConnectionError("no route")

    with pytest.raises(JobFailed) as failed:
        await counting(abs, target=Broken()).run(store=tmp_path, restart=NOW)

    cause = failed.value.__cause__
    assert isinstance(cause, UserCodeError)
    assert cause.operator == "out"
    assert opened == [1]


async def test_stop_while_restarting_does_not_wait_for_the_delay(tmp_path: Path) -> None:
    """One more attempt comes up, to take the final checkpoint."""
    target, fn = Target(), Failing(1)
    source = Splits({"a": list(range(20))}, ended=False)
    restart = Restart.fixed_delay(3, delay=3600)
    async with counting(fn, source, target).run(store=tmp_path, restart=restart) as job:
        await until(lambda: job.status == "restarting")
        with anyio.fail_after(10):
            await job.stop()
        assert job.status == "finished"
    assert target.committed == expected(20)[: len(target.committed)]


async def test_stop_of_a_job_that_keeps_failing_does_not_spin(tmp_path: Path) -> None:
    """Only the delay at hand is cut short: the next failures are spaced as the strategy says."""
    opened: list[int] = []

    class Broken(Target):
        def writer(self, ctx: Any, /) -> Any:
            opened.append(ctx.attempt)
            if ctx.attempt > 1:
                raise StoreError("no route")
            return super().writer(ctx)

    pipeline = counting(Failing(1), target=Broken())
    with anyio.move_on_after(10) as scope:
        async with pipeline.run(store=tmp_path, restart=Restart.fixed_delay(1_000, delay=0.2)) as job:
            await until(lambda: job.status == "restarting")
            scope.deadline = anyio.current_time() + 0.5
            await job.stop()
    assert 2 <= len(opened) <= 4


async def test_checkpoint_request_while_restarting_is_refused_and_the_job_goes_on(tmp_path: Path) -> None:
    target, fn = Target(), Failing(1)
    async with counting(fn, target=target).run(store=tmp_path, restart=Restart.fixed_delay(3, delay=0.1)) as job:
        await until(lambda: job.status == "restarting")
        with pytest.raises(StoreError, match="the job is restarting; ask again later"):
            await job.checkpoint()
        await job.wait()
    assert target.committed == expected(20)


async def test_request_that_the_attempt_took_with_it_is_answered(tmp_path: Path) -> None:
    """Nobody may be left waiting for an answer that will never come."""
    release: list[int] = []

    async def send(value: Any) -> None:
        while not release:
            await settle(1)
        raise ConnectionError("down")

    pipeline = Pipeline("t")
    pipeline.source([1]).sink(send)
    errors: list[str] = []

    async def ask() -> None:
        with pytest.raises(StoreError, match=r"the attempt failed: .*ConnectionError") as refused:
            await job.checkpoint()
        errors.append(str(refused.value))

    with pytest.raises(JobFailed):  # noqa: PT012
        async with pipeline.run(store=tmp_path, checkpoint_interval=None, restart=Restart.never()) as job:
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as group:
                    group.start_soon(ask)
                    await settle()
                    release.append(1)
            await job.wait()
    assert len(errors) == 1


async def test_attempts_are_numbered_through_restarts_and_runs(tmp_path: Path) -> None:
    """A target refuses a lower one: the fence against a zombie."""
    target, fn = Target(), Failing(2)
    for _ in range(2):
        await counting(fn, target=target).run(store=tmp_path, restart=NOW)

    assert [attempt for _, attempt in target.attempts] == [1, 2, 3, 4]
