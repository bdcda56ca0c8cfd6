"""Manifests: what the subtasks report is what the next attempt starts with."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.checkpoints.view import StoreView
from actorstream.errors import StoreError
from actorstream.model.ids import CheckpointId
from actorstream.runtime.restoring import restore
from actorstream.system.files import RealFiles
from actorstream.testing.disk import SimulatedDisk
from tests.runtime.doubles import Splits, Target
from tests.state.rig import Reader, open_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.checkpoints.manifest import Manifest


async def manifest_after(store: Path, parallelism: int, records: int = 60) -> Manifest:
    """Run some records through a keyed count; give the final manifest."""
    pipeline = Pipeline("t")
    source = Splits({"a": list(range(records)), "b": [7]})
    counted = pipeline.source(source, name="in").key_by(lambda v: v % 30).count(name="count")
    counted.sink(Target(), name="out")
    summary = await pipeline.run(store=store, parallelism=parallelism, checkpoint_interval=None)
    assert summary.records_in in {records + 1, 0}
    view = StoreView(RealFiles(), str(store / "t"))
    return view.read(max(view.checkpoint_ids(), default=CheckpointId(0)))


async def test_manifest_names_operators_states_positions_and_tokens(tmp_path: Path) -> None:
    manifest = await manifest_after(tmp_path, 2)

    assert (manifest.pipeline, manifest.final, manifest.attempt, manifest.max_parallelism) == ("t", True, 1, 128)
    assert list(manifest.operators) == ["count"]
    assert manifest.operators["count"].parallelism == 2
    assert list(manifest.operators["count"].states) == ["value"]
    assert {split: entry.finished for split, entry in manifest.sources["in"].items()} == {"a": True, "b": True}
    assert [(token.operator, token.subtask) for token in manifest.sinks] == [("out", 0), ("out", 1)]
    assert manifest.duration_us > 0


async def test_stacks_cover_all_key_groups_once_and_a_shared_layer_is_listed_once(tmp_path: Path) -> None:
    manifest = await manifest_after(tmp_path, 4)
    runs = manifest.operators["count"].stacks

    assert [run.start for run in runs] == [0, *[run.end for run in runs][:-1]]
    assert runs[-1].end == 128
    names = Counter(layer.name for layer in manifest.layers)
    assert set(names.values()) == {1}
    assert {index for run in runs for index in run.layers} == set(range(len(names)))


async def test_unchanged_layers_are_listed_again_after_a_restart(tmp_path: Path) -> None:
    """A checkpoint is incremental by nature, across runs and a rescale."""
    first = await manifest_after(tmp_path, 2)
    pipeline = Pipeline("t")
    source = Splits({"a": list(range(60)), "b": [7], "c": [1]})
    target = Target()
    for token in first.sinks:
        target._staged[token.token] = []
    counted = pipeline.source(source, name="in").key_by(lambda v: v % 30).count(name="count")
    counted.sink(target, name="out")
    await pipeline.run(store=tmp_path, parallelism=3)
    view = StoreView(RealFiles(), str(tmp_path / "t"))
    second = view.read(view.checkpoint_ids()[-1])

    assert {layer.name for layer in first.layers} <= {layer.name for layer in second.layers}
    assert len(second.layers) == len(first.layers) + 1
    assert target.committed == [(1, 3)]


async def test_restore_reads_each_layer_once_a_boot_and_tells_how_far_it_is(tmp_path: Path) -> None:
    """A restart after a process crash must not grow with the state; after a power cut one sees it read."""
    manifest = await manifest_after(tmp_path, 2)
    disk = SimulatedDisk(tmp_path)
    expected = sorted(layer.name for layer in manifest.layers)

    def read_by_restore(tell: Callable[[int, int], None] = lambda done, total: None) -> list[str]:
        files = Reader(disk)
        directory = CheckpointDirectory(files, str(tmp_path / "t"))
        restored = restore(files, directory, manifest, tell)
        assert sorted(layer.file.name for layer in restored.layers) == expected
        restored.close()
        return sorted(files.read_files)

    told: list[tuple[int, int]] = []
    assert read_by_restore(lambda *reading: told.append(reading)) == expected
    assert told[-1] == (sum(layer.size for layer in manifest.layers),) * 2
    assert read_by_restore() == []
    disk.power_cut(random.Random(1))
    assert read_by_restore() == expected


async def test_restore_that_finds_damage_leaves_no_layer_open(tmp_path: Path) -> None:
    """Whatever the record says of the file as it was."""
    manifest = await manifest_after(tmp_path, 2)
    disk = SimulatedDisk(tmp_path)
    root = str(tmp_path / "t")
    restore(disk, CheckpointDirectory(disk, root), manifest).close()
    newest = Path(root) / "layers" / manifest.layers[-1].name
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")

    with pytest.raises(StoreError, match=f"{newest.name}: digest"):
        restore(disk, CheckpointDirectory(disk, root), manifest)
    assert open_files(tmp_path) == []
