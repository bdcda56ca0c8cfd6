"""What was in flight goes through the layer writer into a checkpoint, and out of it again."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.checkpoints.in_flight import InFlightChannel, InFlightWriter
from actorstream.checkpoints.manifest import FORMAT, overtaken_in
from actorstream.checkpoints.view import StoreView
from actorstream.errors import RestoreError, StoreError
from actorstream.evolve import write_savepoint
from actorstream.model.batch import Batch
from actorstream.model.ids import CheckpointId, SubtaskId
from actorstream.model.signals import Watermark
from actorstream.runtime.adapting import adapt
from actorstream.runtime.in_flight import write_in_flight
from actorstream.runtime.messages import Acked, CheckpointRequest, Declined, SnapshotReport, SplitPosition
from actorstream.runtime.restoring import check_restorable, restore
from actorstream.state import writer as writing
from actorstream.system.files import RealFiles
from tests.runtime.deploying import Deploying
from tests.runtime.doubles import until

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.runtime.messages import InFlightReport

SOURCE, SINK = SubtaskId("in", 0), SubtaskId("out", 0)
CHANNELS = [InFlightChannel("out:0", 0)]


def pipeline() -> Pipeline:
    made = Pipeline("t")
    made.source([1], name="in").rebalance().sink(print, name="out")
    return made


def recorded(count: int = 1) -> InFlightWriter:
    found = InFlightWriter("out", 0, CHANNELS)
    for number in range(count):
        found.add(0, Batch([f"record {number}"]))
    found.add(0, Watermark(5))
    return found


class Office:
    """A coordinator whose two actors are played by the test."""

    def __init__(self, store: Path, built: Any) -> None:
        self.store = store
        self.built = built

    @classmethod
    async def open(cls, store: Path) -> Office:
        return cls(store, await Deploying(pipeline(), store).build())

    async def write(self, count: int = 1) -> InFlightReport:
        report = await write_in_flight(self.built.deployment.layers, SINK, recorded(count))
        assert report is not None
        return report

    def ack(self, checkpoint: CheckpointId, in_flight: InFlightReport | None) -> None:
        tell = self.built.coordinator.tell
        tell(Acked(SINK, checkpoint, SnapshotReport(in_flight=in_flight)))
        tell(Acked(SOURCE, checkpoint, SnapshotReport(positions={"0": SplitPosition(0, finished=False)})))

    def layers(self) -> list[str]:
        return sorted(os.listdir(self.store / "layers"))

    async def complete(self, checkpoint: CheckpointId, in_flight: InFlightReport | None = None) -> None:
        self.built.coordinator.tell(CheckpointRequest(checkpoint))
        self.ack(checkpoint, in_flight)
        await until((self.store / "checkpoints" / str(checkpoint) / "manifest.json").exists)


@pytest.mark.parametrize("limit", [writing.SMALL_ENTRIES, 1], ids=["beside others", "streamed"])
async def test_what_was_written_is_in_the_manifest_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("actorstream.runtime.in_flight.SMALL_ENTRIES", limit)
    deploying = Deploying(pipeline(), tmp_path)
    office = Office(tmp_path, await deploying.build())
    async with anyio.create_task_group() as group:
        group.start_soon(office.built.coordinator.run)
        await office.complete(CheckpointId(1), await office.write(3))
        group.cancel_scope.cancel()
    await office.built.close()
    manifest = StoreView(RealFiles(), str(tmp_path)).read(CheckpointId(1))
    (entry,) = manifest.in_flight
    assert (entry.chain, entry.subtask, entry.items, entry.overtaken, entry.records) == ("out", 0, 4, 4, 3)
    assert (manifest.format, overtaken_in(manifest)) == (FORMAT, 4)
    renamed = adapt(manifest, restore_as={"out": "print"}, allow_dropped=[])
    for each in (manifest, renamed):
        restored = restore(RealFiles(), deploying.context.directory, each)
        (part,) = restored.in_flight
        name = each.in_flight[0].chain
        assert (part.chain, part.channels) == (name, [CHANNELS[0]._replace(exchange=f"{name}:0")])
        assert [item.values for _, item in part.items[:3]] == [[f"record {number}"] for number in range(3)]  # type: ignore[union-attr]
        assert part.items[3] == (0, Watermark(5))
        restored.close()


async def test_layers_of_a_checkpoint_that_was_given_up_go_after_the_next(tmp_path: Path) -> None:
    """No manifest ever listed them, so nothing that a manifest drops would take them along."""
    office = await Office.open(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(office.built.coordinator.run)
        office.built.coordinator.tell(CheckpointRequest(1))
        lost, kept = await office.write(), await office.write()
        office.built.coordinator.tell(Acked(SINK, CheckpointId(1), SnapshotReport(in_flight=lost)))
        office.built.coordinator.tell(Declined(SOURCE, CheckpointId(1), "no"))
        await office.complete(CheckpointId(2), kept)
        await office.complete(CheckpointId(3))
        await until(lambda: lost.layers[0].name not in office.layers())
        assert kept.layers[0].name in office.layers(), "checkpoint 2 is kept, and lists it"
        group.cancel_scope.cancel()
    await office.built.close()


async def test_offline_tools_refuse_a_checkpoint_with_records_in_flight(tmp_path: Path) -> None:
    """A savepoint is aligned (T17), and new code must be able to start from it."""
    office = await Office.open(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(office.built.coordinator.run)
        await office.complete(CheckpointId(1), await office.write())
        group.cancel_scope.cancel()
    directory = office.built.coordinator._directory
    manifest = directory.read(CheckpointId(1))
    with pytest.raises(StoreError, match=r"checkpoint 1 holds 2 batches in flight.*savepoint has none.*job.savepoint"):
        directory.publish_savepoint(manifest, "kept")
    written = write_savepoint(pipeline(), str(tmp_path / "written"), base=str(tmp_path / "checkpoints" / "1"))
    with pytest.raises(StoreError, match="1 records in flight, which cannot be written into a savepoint"), written:
        pass
    await office.built.close()


async def test_records_on_their_way_to_nobody_are_refused_with_what_to_do_t122(tmp_path: Path) -> None:
    """T122: a pipeline without the operator; to give them up is said with words."""
    office = await Office.open(tmp_path)
    async with anyio.create_task_group() as group:
        group.start_soon(office.built.coordinator.run)
        await office.complete(CheckpointId(1), await office.write())
        group.cancel_scope.cancel()
    await office.built.close()
    manifest = replace(office.built.coordinator._directory.read(CheckpointId(1)), sources={})
    plan = Deploying(pipeline(), tmp_path / "other").context.plan
    gone = adapt(manifest, restore_as={"out": "away"}, allow_dropped=[])
    with pytest.raises(RestoreError, match=r"1 records in flight to operator 'away'.*allow_dropped=\['away'\]"):
        check_restorable(gone, plan, {})
    check_restorable(manifest, plan, {})
    dropped = adapt(gone, restore_as={}, allow_dropped=["away"])
    assert (dropped.in_flight, dropped.format) == ([], 1)
    check_restorable(dropped, plan, {})
