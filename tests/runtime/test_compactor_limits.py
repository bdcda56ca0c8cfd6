"""The compactor's limits: back-pressure at 24 layers, and who deletes what no manifest lists."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from actorstream.runtime.compactor import LAYERS_AIM, LAYERS_MAX
from actorstream.state.entries import VALUE_TAG, Slots, expiring, head_of
from actorstream.system.current import current_world
from tests.runtime.compacting import FIVE, Bench, HeldOffload, at_work
from tests.runtime.doubles import until

if TYPE_CHECKING:
    from pathlib import Path


# ---- back-pressure


async def test_records_wait_while_a_stack_is_over_24_layers(tmp_path: Path) -> None:
    """They go on when the merge is done; no manifest lists any of the layers, and no checkpoint is needed."""
    offload = HeldOffload(current_world())
    async with at_work(Bench(tmp_path, replace(current_world(), offload=offload), layers=0)) as bench:
        for value in range(LAYERS_MAX + 2):
            bench.freeze_early(value % 10)
        await until(lambda: offload.called)
        assert bench.held == [True]
        offload.may_return.set()
        await until(lambda: bench.held == [True, False])
        assert max(bench.depths) <= LAYERS_AIM
        assert bench.read() == bench.values


async def test_stack_that_grows_during_a_merge_makes_records_wait(tmp_path: Path) -> None:
    """The merge began when there was no need to: what comes meanwhile counts too."""
    offload = HeldOffload(current_world())
    async with at_work(Bench(tmp_path, replace(current_world(), offload=offload))) as bench:
        bench.complete()
        await until(lambda: offload.called)
        for value in range(LAYERS_MAX - 10):
            bench.freeze_early(value % 10)
        assert bench.held == []
        bench.freeze_early(3)
        assert bench.held == [True]
        offload.may_return.set()
        await until(lambda: bench.held == [True, False])
        assert bench.read() == bench.values


async def test_merge_that_fails_lets_records_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk must not stop the job for ever; the next push tries again."""
    async with at_work(Bench(tmp_path, layers=LAYERS_MAX)) as bench:
        path = tmp_path / sorted(bench.names())[3]
        aside = path.rename(tmp_path / "aside")
        bench.freeze_early(1)
        await until(lambda: bench.held == [True, False])
        assert "layers stay unmerged" in caplog.text
        assert bench.depths == [25, 25]
        aside.replace(path)
        bench.freeze_early(2)
        await until(lambda: bench.held == [True, False, True, False])
        assert max(bench.depths) <= LAYERS_AIM
        assert bench.read() == bench.values


async def test_end_of_the_attempt_lets_records_go_on(tmp_path: Path) -> None:
    """What ends must not leave actors that close their operators waiting."""
    offload = HeldOffload(current_world())
    bench = Bench(tmp_path, replace(current_world(), offload=offload), layers=LAYERS_MAX)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.compactor.run)
        bench.freeze_early(1)
        await until(lambda: offload.called)
        group.cancel_scope.cancel()
        offload.may_return.set()
    assert bench.held == [True, False]
    for stack in bench.stacks:
        stack.release()


# ---- who deletes


async def test_layers_that_no_manifest_ever_lists_are_removed_after_two_checkpoints(tmp_path: Path) -> None:
    """After one, a report from before the merge may still be on its way; what a manifest lists is retention's."""
    async with at_work(Bench(tmp_path, layers=2)) as bench:
        restored = bench.names()
        for value in range(LAYERS_AIM):
            bench.freeze_early(value)
        before = bench.names()
        await until(lambda: bench.depths == [1, 1])
        merged = set(bench.names()) - set(before)
        assert set(before) < set(bench.names())
        bench.complete()
        await until(lambda: not bench.compactor._due)
        assert set(before) < set(bench.names())
        bench.complete()
        await until(lambda: set(bench.names()) == {*restored, *merged})
        assert bench.read() == bench.values


@pytest.mark.parametrize("completions", [0, 1])
async def test_layers_that_a_late_report_lists_are_left_to_retention(tmp_path: Path, completions: int) -> None:
    """The subtask had reported before the merge, its manifest comes after it."""
    async with at_work(Bench(tmp_path, layers=0)) as bench:
        for value in range(LAYERS_AIM + 1):
            bench.freeze_early(value)
        late = bench.listed()
        await until(lambda: bench.depths == [1, 1])
        for _ in range(completions):
            bench.complete()
        bench.compactor.on_complete(late)
        for _ in range(3):
            bench.complete()
        await until(lambda: not bench.compactor._due)
    assert set(late) < set(bench.names())


async def test_values_that_have_expired_go_by_the_clock_of_their_own_stack(tmp_path: Path) -> None:
    """A layer that two subtasks see is read once: for each, what time it is there counts, as the merge begins."""
    async with at_work(Bench(tmp_path, layers=0)) as bench:
        slots = Slots()
        heads = [head_of(FIVE, group, 1) for group in (0, 5)]
        part = [slots.entry(head, b"%d" % at, b"", expiring(VALUE_TAG, at)) for head in heads for at in (99, 100, 101)]
        with bench.shelf.layer(part) as layer:
            for stack in bench.stacks:
                stack.push(layer)
        for value in range(LAYERS_AIM):
            bench.freeze_early(value)
        bench.clocks = [{1: 99}, {1: 100, 2: 1_000}]
        await until(lambda: bench.depths == [1, 1])
        layer = bench.stacks[0].layers_for(0)[0]
        there = [[at for at in (99, 100, 101) if layer.get(head + b"%d" % at) is not None] for head in heads]
        assert there == [[100, 101], [101]]
