"""Positions of a source in memory: where a job goes on, and that nothing is lost or doubled."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.errors import JobFailed, RestoreError
from actorstream.model.ids import CheckpointId
from actorstream.protocol.restart import Restart
from actorstream.runtime.messages import AbortCheckpoint, Acked, TriggerCheckpoint
from actorstream.runtime.piece_sizes import SLICE_RECORDS_SPARSE
from tests.runtime.deploying import Deploying, subtask_of
from tests.runtime.doubles import Target, settle, until
from tests.runtime.test_in_memory import Shelves, any_kind, everything, shelves
from tests.runtime.test_source import positions, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


# ---- positions


class Staging(Target):
    """Notes what each checkpoint brought."""

    def __init__(self) -> None:
        super().__init__()
        self.staged: list[list[Any]] = []

    def stage(self, token: bytes, records: list[Any]) -> None:
        """Note it."""
        self.staged.append(list(records))
        super().stage(token, records)


class Holding:
    """An async sink that waits at one record until it is released."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.seen: list[int] = []
        self.reached = asyncio.Event()
        self.released = asyncio.Event()

    async def __call__(self, value: int) -> None:
        """Take a record."""
        self.seen.append(value)
        if value == self.at:
            self.reached.set()
            await self.released.wait()


@any_kind
@pytest.mark.parametrize("held", [0, 20, 500])
async def test_position_in_a_checkpoint_is_that_of_the_last_record_done(
    tmp_path: Path, kind: Callable[[range], Sequence[int]], held: int
) -> None:
    """T99: the checkpoint is asked for while a piece is at work; its position is the piece's last, and not before."""
    target, holding = Staging(), Holding(held)
    answers: list[int] = []

    async def ask() -> None:
        answers.append(await job.checkpoint())

    pipeline = Pipeline("t")
    stream = pipeline.source(kind(range(2_000)), name="in")
    stream.sink(holding, name="hold")
    stream.sink(target, name="out")
    async with pipeline.run(store=tmp_path, checkpoint_interval=None) as job:
        await holding.reached.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await settle()
            assert target.staged == []
            holding.released.set()
        at, finished = positions(tmp_path, answers[0])["0"]
    assert isinstance(at, int)
    assert held <= at < held + SLICE_RECORDS_SPARSE
    assert not finished
    assert target.staged[0] == list(range(at + 1))


@any_kind
@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("held", [3, 200, 899])
async def test_job_goes_on_right_after_the_positions_of_its_checkpoint(
    tmp_path: Path, kind: Callable[[range], Sequence[int]], parallelism: int, held: int
) -> None:
    """Stopped in the middle of a piece, and restored; the result is that of one quiet run."""
    target, holding = Target(), Holding(held)

    def pipeline(hold: Holding | None) -> Pipeline:
        made = Pipeline("t")
        stream = made.source(kind(range(900)), name="in", parallelism=1)
        stream.sink(hold or str, name="hold", parallelism=1)
        keyed = stream.key_by(lambda v: v % 4).count(name="n", parallelism=parallelism)
        keyed.sink(target, name="out", parallelism=1)
        return made

    async with pipeline(holding).run(store=tmp_path, checkpoint_interval=None) as job:
        await holding.reached.wait()
        job.stop_soon()
        await settle()
        holding.released.set()
    assert max(holding.seen) < 899 or held > 800
    await pipeline(None).run(store=tmp_path)

    assert Counter(target.committed) == Counter((v % 4, v // 4 + 1) for v in range(900))


@pytest.mark.parametrize("parallelism", [1, 2])
async def test_several_splits_go_on_each_from_its_own_position(tmp_path: Path, parallelism: int) -> None:
    """T97: what has ended is not asked for again."""
    target, holding = Target(), Holding(1_200)

    def pipeline(source: Shelves, sink: Any) -> Pipeline:
        made = Pipeline("t")
        stream = made.source(source, name="in", parallelism=parallelism)
        stream.sink(sink, name="hold")
        stream.key_by(lambda v: v // 1_000).count(name="n", parallelism=1).sink(target, name="out")
        return made

    first = shelves()
    async with pipeline(first, holding).run(store=tmp_path, checkpoint_interval=None) as job:
        await holding.reached.wait()
        job.stop_soon()
        await settle()
        holding.released.set()
    at = positions(tmp_path, 1)
    second = shelves()
    await pipeline(second, str).run(store=tmp_path)

    began: dict[str, object] = {}
    for split, after in second.taken:
        began.setdefault(split, after)
    assert began == {split: place for split, (place, finished) in at.items() if not finished}
    if parallelism == 1:
        assert (at["c"], at["e"]) == ((None, True), (0, False)), "their first turns came before the second one of b"
    counts = Counter(v // 1_000 for v in everything(first))
    assert Counter(target.committed) == Counter((k, n + 1) for k, count in counts.items() for n in range(count))


async def test_failures_at_any_place_lose_and_double_nothing(tmp_path: Path) -> None:
    """A split that cannot be taken from, a commit that fails; checkpoints come all the time."""
    source, target = shelves(), Target()
    for split, at in (("a", 16), ("d", 100), ("b", 300)):
        source.fail_at[split, at] = ConnectionError(f"{split} {at}")
    target.crash_before_commit = OSError("target down")
    pipeline = Pipeline("t")
    pipeline.source(source, name="in").key_by(lambda v: v % 5).count(name="n").sink(target, name="out")
    summary = await pipeline.run(store=tmp_path, checkpoint_interval=0.001, restart=Restart.fixed_delay(20, delay=0))

    assert summary.restarts == 4
    counts = Counter(v % 5 for v in everything(source))
    assert Counter(target.committed) == Counter((k, n + 1) for k, count in counts.items() for n in range(count))


async def test_parked_source_takes_nothing_more_but_takes_checkpoints(tmp_path: Path) -> None:
    """A stop that has to be tried again must not let new records in."""
    seen: list[int] = []
    pipeline = Pipeline("t")
    pipeline.source(range(10**9), name="in").sink(seen.append, name="out")
    built = await Deploying(pipeline, tmp_path).build()
    source = subtask_of(built, "in")

    async def start() -> None:
        """Begin at once."""

    async with anyio.create_task_group() as group:
        group.start_soon(source.run, lambda: None, start)
        group.start_soon(source.snapshots.run)
        await source.begin()  # type: ignore[attr-defined]
        await until(lambda: len(seen) > 1_000)
        source.mailbox.tell(TriggerCheckpoint(CheckpointId(1), stop=True))
        await until(lambda: built.coordinator._messages)
        taken = len(seen)
        source.mailbox.tell(AbortCheckpoint(CheckpointId(1), None))
        source.mailbox.tell(TriggerCheckpoint(CheckpointId(2), stop=True))
        await until(lambda: len(built.coordinator._messages) == 2)
        first, second = built.coordinator._messages
        assert isinstance(first, Acked)
        assert isinstance(second, Acked)
        assert first.report.positions == second.report.positions
        assert first.report.positions["0"].position == seen[-1] == taken - 1
        assert len(seen) == taken
        group.cancel_scope.cancel()
    await built.close()


async def test_sequence_that_has_become_shorter_is_refused_at_restore(tmp_path: Path) -> None:
    holding = Holding(50)
    async with reading(list(range(100)), sink=holding).run(store=tmp_path, checkpoint_interval=None) as job:
        await holding.reached.wait()
        job.stop_soon()
        await settle()
        holding.released.set()

    with pytest.raises(
        (JobFailed, RestoreError), match=r"after element \d+ of a sequence that now has 10: restore with"
    ):
        await reading(list(range(10)), sink=Holding(50)).run(store=tmp_path)
