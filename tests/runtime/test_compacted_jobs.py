"""Whole jobs whose layers are merged: stacks stay low, nothing is left behind, the result is exact."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.run import Run
from actorstream.api.settings import Settings
from actorstream.checkpoints.view import StoreView
from actorstream.model.ids import CheckpointId, LayerName
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import MapState, ValueState
from actorstream.protocol.restart import Restart
from actorstream.runtime import compactor as compactor_module
from actorstream.runtime.compactor import LAYERS_AIM, LAYERS_MAX
from actorstream.state import lmdb_env
from actorstream.system.files import RealFiles
from tests.runtime.doubles import Splits, Target, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from actorstream.api.job import Job
    from actorstream.api.options import RunOptions
    from actorstream.operators.contexts import Context
    from actorstream.runtime.built import Built


class Basket(KeyedProcess[str, int, tuple[str, int, int, int]]):
    """Values, maps, removals, cleared maps; the keys are long."""

    count: ValueState[int] = ValueState(0)
    total: ValueState[int] = ValueState(0)
    items: MapState[str, int] = MapState()

    def on_element(self, value: int, ctx: Context[str], /) -> list[tuple[str, int, int, int]]:
        """Keep the last few; start again after 50."""
        self.count += 1
        self.total += value
        self.items["i" * 230 + str(value % 11)] = value
        if value % 3 == 0:
            self.items.pop("i" * 230 + str(value % 7), None)
        if self.count % 50 == 0:
            self.items.clear()
        return [(ctx.key, self.count, self.total, sum(self.items.values()))]


def key_of(value: int) -> str:
    """Few keys are hot, many are seen once or twice."""
    number = value % 5 if value % 3 else value % 97
    return "k" * 220 + str(number)


def expected(values: Sequence[int]) -> Counter[tuple[str, int, int, int]]:
    """Do the same in plain Python."""
    counts: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    items: dict[str, dict[int, int]] = {}
    results = []
    for value in values:
        key = key_of(value)
        counts[key] += 1
        totals[key] += value
        mine = items.setdefault(key, {})
        mine[value % 11] = value
        if value % 3 == 0:
            mine.pop(value % 7, None)
        if counts[key] % 50 == 0:
            mine.clear()
        results.append((key, counts[key], totals[key], sum(mine.values())))
    return Counter(results)


def baskets(source: Any, sink: Any) -> Pipeline:
    pipeline = Pipeline("t")
    pipeline.source(source, name="in", parallelism=1).key_by(key_of).process(Basket, name="basket").sink(
        sink, name="out"
    )
    return pipeline


def built_of(job: Job) -> Built:
    attempt = job._supervisor.attempt
    assert attempt is not None
    return attempt.built


class Once(dict[tuple[str, int], Exception]):
    """Failures that come once each."""

    def get(self, key: tuple[str, int], default: Any = None) -> Any:
        """Take a failure away."""
        return self.pop(key, default)


class KilledError(Exception):
    """Leaves a job at once, with no checkpoint."""


class Watch:
    """The highest stack and the most open layers that were seen."""

    def __init__(self) -> None:
        self.depth = 0
        self.open = 0

    def look(self, job: Job) -> None:
        attempt = job._supervisor.attempt
        for subtask in attempt.built.subtasks.values() if attempt is not None else ():
            if subtask.state is not None:
                self.depth = max(self.depth, *(len(layers) for _, layers in subtask.state.stack.runs()))
        self.open = max(self.open, len(lmdb_env._open_envs))


@pytest.mark.slow
@pytest.mark.parametrize("wire", [False, True])
async def test_stacks_stay_low_over_hundreds_of_checkpoints(tmp_path: Path, wire: bool) -> None:
    """Through failures, a kill without a checkpoint, and restarts at another parallelism; the result is exact."""
    values = list(range(2_200))
    target, watch, checkpoints = Target(), Watch(), 0
    opened = len(lmdb_env._open_envs)
    for parallelism, allowed in ((2, 800), (3, 1_600), (1, 2_200)):
        source = Splits({"a": values}, batch=10, allowed=0, ended=False)
        source.fail_at = Once({("a", allowed - 490): ConnectionError("once")})
        options: RunOptions = {"store": tmp_path, "parallelism": parallelism, "checkpoint_interval": 0.002}
        options["restart"] = Restart.fixed_delay(5, delay=0)
        try:
            async with Run(baskets(source, target).draft.graph(), options, wire=wire) as job:
                while (allow := (source._allowed or len(target.committed)) + 10) <= allowed:
                    source.allow(allow)
                    done = job.summary().checkpoints
                    await until(lambda job=job, done=done: job.summary().checkpoints > done)  # type: ignore[misc]
                    watch.look(job)
                checkpoints += job.summary().checkpoints
                assert job.summary().restarts == 1
                if allowed < len(values):
                    raise KilledError
                await until(lambda: len(target.committed) == len(values))
        except KilledError:
            pass

    assert Counter(target.committed) == expected(values)
    assert checkpoints > 200
    assert LAYERS_AIM < watch.depth <= LAYERS_MAX
    assert watch.open - opened < 3 * LAYERS_MAX
    view = StoreView(RealFiles(), str(tmp_path / "t"))
    listed = {entry.name for checkpoint in view.checkpoint_ids() for entry in view.read(checkpoint).layers}
    present = {path.name for path in (tmp_path / "t" / "layers").iterdir()}
    # A merge that ended after the last barrier is listed nowhere: the next attempt deletes it, as it may only then.
    assert listed <= present
    assert len(present - listed) <= 1, "no layer is left behind"


class HeldTarget(Target):
    """A sink that holds up the snapshots of one subtask."""

    def __init__(self) -> None:
        super().__init__()
        self.hold: anyio.Event | None = None

    @asynccontextmanager
    async def writer(self, ctx: Any, /) -> AsyncIterator[Any]:
        async with super().writer(ctx) as writer:
            pre_commit = writer.pre_commit

            async def held(checkpoint: int, /) -> bytes | None:
                if ctx.subtask == 1 and self.hold is not None:
                    await self.hold.wait()
                return await pre_commit(checkpoint)

            writer.pre_commit = held  # type: ignore[method-assign]
            yield writer


async def test_replaced_layer_that_a_report_in_progress_lists_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One checkpoint is kept. One subtask acknowledges, a merge replaces what it lists, then the manifest comes."""
    values, target = list(range(1_000)), HeldTarget()
    source = Splits({"a": values}, batch=10, allowed=0, ended=False)
    view = StoreView(RealFiles(), str(tmp_path / "t"))
    folder = tmp_path / "t" / "layers"
    options: RunOptions = {"store": tmp_path, "parallelism": 2, "checkpoint_interval": None}
    options["settings"] = Settings(retained=1)

    def listed(checkpoint: CheckpointId) -> set[str]:
        return {entry.name for entry in view.read(checkpoint).layers}

    def present() -> set[str]:
        return {path.name for path in folder.iterdir()}

    monkeypatch.setattr(compactor_module, "LAYERS_AIM", 100)
    async with baskets(source, target).run(**options) as job:

        async def step(allow: int) -> CheckpointId:
            source.allow(allow)
            await until(lambda: job.summary().records_out >= allow)
            return CheckpointId(await job.checkpoint())

        newest = [await step(allow) for allow in range(20, 140, 20)][-1]
        built = built_of(job)
        target.hold = anyio.Event()
        async with anyio.create_task_group() as group:
            answers: list[CheckpointId] = []

            async def ask() -> None:
                answers.append(await step(160))

            group.start_soon(ask)
            progress = built.coordinator._protocol
            await until(lambda: progress._current is not None and len(progress._current.reports) == 2)
            old = listed(newest)
            monkeypatch.setattr(compactor_module, "LAYERS_AIM", 3)
            built.compactor.on_complete(frozenset(map(LayerName, old)))
            await until(lambda: not built.layers_in_use() & old)
            monkeypatch.setattr(compactor_module, "LAYERS_AIM", 100)
            assert old <= present()
            target.hold.set()
        assert listed(answers[0]) & old, "the one that had acknowledged refers to them"
        assert listed(answers[0]) <= present()
        last = await step(180)
        await until(lambda: not present() & old)
        await until(lambda: present() == listed(last))
    source = Splits({"a": values}, batch=10, ended=True)
    await baskets(source, target).run(store=tmp_path, parallelism=3)
    assert Counter(target.committed) == expected(values)
