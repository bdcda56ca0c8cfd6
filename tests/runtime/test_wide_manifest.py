"""A job of 2,000 subtasks takes a checkpoint a second: its manifest must not be what it spends its time on.

What it takes is told in plain loops: see tests/checkpoints/plain_loop.py.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.checkpoints.manifest import seal, unseal
from actorstream.checkpoints.numbers import Numbers
from actorstream.graph.chaining import plan_graph
from actorstream.model.ids import AttemptNumber, CheckpointId, JobId, SubtaskId
from actorstream.model.key_groups import KeyGroupRange, range_of
from actorstream.operators.columns import columns_of
from actorstream.operators.floors import Floor
from actorstream.operators.windows.assigners import Tumbling
from actorstream.protocol.commit import PendingCommit
from actorstream.runtime.assembling import ManifestWriter
from actorstream.runtime.event_time import AT_FIRST
from actorstream.runtime.messages import SnapshotReport, SplitPosition
from actorstream.runtime.restoring import positions_in
from tests.checkpoints.plain_loop import LAYERS, STACK, SUBTASKS, plain_loops
from tests.runtime.doubles import Splits, Target
from tests.state.rig import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actorstream.checkpoints.manifest import Manifest
    from actorstream.graph.plan import Plan
    from actorstream.state.layer import Layer

MAX_PARALLELISM = 4_096


@pytest.fixture
def layers(tmp_path: Path) -> Iterator[list[Layer]]:
    shelf = Shelf(tmp_path)
    layers = [shelf.layer([(b"entry", b"")]) for _ in range(LAYERS)]
    yield layers
    for layer in layers:
        layer.release()


def wide_plan(stages: int, width: int) -> Plan:
    """Plan a source, `stages` keyed sums of `width` subtasks each, and a sink behind them."""
    pipeline = Pipeline("wide", max_parallelism=MAX_PARALLELISM)
    stream = pipeline.source(Splits({"a": [1]}), name="in")
    for stage in range(stages):
        counted = stream.key_by(lambda v: v).count(name=f"stage-{stage}")
        stream = counted.map(lambda kn: kn[0])
    stream.sink(Target(), name="out")
    return plan_graph(pipeline.draft.graph(), parallelism=width, has_store=True)


def writer_of(plan: Plan) -> ManifestWriter:
    columns = {node.name: columns_of(node, None) for chain in plan.chains if (node := chain.stateful) is not None}
    numbers = Numbers()
    for name, states in columns.items():
        numbers, _ = numbers.number_operator(name)
        for column in states:
            numbers, _ = numbers.number_state(name, column.name)
    return ManifestWriter(JobId("0" * 32), AttemptNumber(3), plan, numbers, columns)


def reports_of(plan: Plan, layers: list[Layer], *, splits: int, tokens: int) -> dict[SubtaskId, SnapshotReport]:
    """Give a report for each subtask: stacks at worst, no two neighbours alike and 22 of 24 layers in each."""
    rng = random.Random(1)
    reports: dict[SubtaskId, SnapshotReport] = {}
    for chain in plan.chains:
        for subtask in chain.subtasks():
            if chain.stateful is None:
                positions = {f"{split}": SplitPosition(10**9 + split, finished=False) for split in range(splits)}
                reports[subtask] = SnapshotReport(positions=positions if subtask.subtask == 0 else {})
                continue
            groups = range_of(subtask.subtask, chain.parallelism, MAX_PARALLELISM)
            stack = tuple(layers[index] for index in sorted(rng.sample(range(LAYERS), STACK), reverse=True))
            pending = {}
            if len(chain.nodes) > 2 and subtask.subtask < tokens:
                pending = {"out": (PendingCommit(CheckpointId(7), bytes(64)),)}
            reports[subtask] = SnapshotReport(stacks=((groups, stack),), pending=pending)
    return reports


@pytest.mark.parametrize(("stages", "width"), [(20, 100), (2, 1_000), (1, 2_000)])
def test_2000_subtasks_stay_under_256_kib_and_a_few_plain_loops(layers: list[Layer], stages: int, width: int) -> None:
    """From the reports to the sealed bytes, and back; many operators, or few wide ones."""
    plan = wide_plan(stages, width)
    writer = writer_of(plan)
    reports = reports_of(plan, layers, splits=100, tokens=100)

    def assemble() -> bytes:
        manifest: Manifest = writer.assemble(
            CheckpointId(7),
            reports,
            final=False,
            created_us=1_700_000_000_000_000,
            duration_us=12_000,
        )
        return seal(manifest)

    data = assemble()
    manifest = unseal("manifest.json", data)
    assert sum(len(operator.stacks) for operator in manifest.operators.values()) == SUBTASKS
    assert len(data) < 256 * 1024
    assert plain_loops(assemble) < 2.2
    assert plain_loops(lambda: positions_in(unseal("manifest.json", data))) < 0.9


def test_floors_of_2000_subtasks_that_all_differ_stay_under_256_kib(layers: list[Layer]) -> None:
    """At worst, where each has come to another time, and each half of its key groups to yet another one before."""
    pipeline = Pipeline("wide", max_parallelism=MAX_PARALLELISM)
    stream = pipeline.source(Splits({"a": [1]}), name="in").assign_timestamps(lambda v: v)
    stream.key_by(lambda v: v).window(Tumbling(5)).count(name="stage-0").sink(Target(), name="out")
    plan = plan_graph(pipeline.draft.graph(), parallelism=2_000, has_store=True)
    writer, now_us = writer_of(plan), 1_700_000_000_000_000
    reports = reports_of(plan, layers, splits=1, tokens=100)
    for subtask in plan.chain_of[plan.graph.nodes[-1].id].subtasks():
        start, _ = range_of(subtask.subtask, 2_000, MAX_PARALLELISM)
        time = AT_FIRST._replace(
            assigned={"stage-0": now_us + subtask.subtask},
            floors=[Floor(KeyGroupRange(start, start + 1), now_us + 10_000 + subtask.subtask)],
        )
        reports[subtask] = replace(reports[subtask], time=time)

    def assemble() -> Manifest:
        return writer.assemble(CheckpointId(7), reports, final=False, created_us=now_us, duration_us=12_000)

    manifest = assemble()
    floors = manifest.operators["stage-0"].floors
    assert len(floors) > 3_900
    assert len(seal(replace(manifest, times=[]))) < 256 * 1024
    assert plain_loops(assemble) < 3.5
