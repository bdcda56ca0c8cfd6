"""Jobs that leave state behind, and go on from it."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from actorstream import Context, EventLog, KeyedProcess, ListState, MapState, Pipeline, Timer, ValueState
from actorstream.checkpoints.manifest import Manifest, seal, unseal
from actorstream.evolve import open_snapshot
from actorstream.evolve.snapshot_diff import differences

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from actorstream.evolve import SnapshotWriter

START = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Seen:
    """A record among the state's values."""

    page: str
    number: int = 1


class Color(Enum):
    RED = "r"
    BLUE = "b"


Record = tuple[str, str, int]
"""User, page, minute."""


class Visits(KeyedProcess[str, Record, "tuple[str, int]"]):
    """All kinds of state; a user who does nothing for an hour is reported."""

    count: ValueState[int] = ValueState(0)
    last: ValueState[Seen | None] = ValueState(None)
    pages: MapState[str, int] = MapState()
    history: ListState[str] = ListState()

    def on_element(self, value: Record, ctx: Context[str]) -> list[tuple[str, int]]:
        self.count += 1
        self.last = Seen(value[1], self.count)
        self.pages[value[1]] = self.pages.get(value[1], 0) + 1
        self.history.append(value[1])
        ctx.set_timer(ctx.timestamp + timedelta(hours=1), "idle")
        return [(value[0], self.count)]

    def on_timer(self, timer: Timer, ctx: Context[str]) -> list[tuple[str, int]]:
        return [(f"{ctx.key} went", self.count)]


class TextVisits(KeyedProcess[str, str, str]):
    """Another type under the same names."""

    count: ValueState[str] = ValueState("")


class Outputs(list[Any]):
    """A sink in memory that says when it has got so many."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[int, asyncio.Event]] = []

    def take(self, value: object) -> None:
        self.append(value)
        for number, event in self._waiting:
            if len(self) >= number:
                event.set()

    async def reach(self, number: int) -> None:
        event = asyncio.Event()
        self._waiting.append((number, event))
        if len(self) < number:
            await event.wait()


def records(first: int, end: int) -> list[Record]:
    return [(f"user-{at % 7}", f"page-{at % 3}", at) for at in range(first, end)]


def visits(log: Path, into: Outputs, *, name: str = "visits", wide: int = 128, key: Any = itemgetter(0)) -> Pipeline:
    """Give a pipeline that counts what is in a log, and goes on for ever."""
    pipeline = Pipeline("t", max_parallelism=wide)
    read = pipeline.source(EventLog(tuple[str, str, int], log), name="in")
    timed = read.assign_timestamps(lambda record: START + timedelta(minutes=record[2]), name="times")
    timed.key_by(key).process(Visits, name=name).sink(into.take, name="out")
    return pipeline


def two_operators(folder: Path) -> Pipeline:
    """Give `visits`, and an operator of the same kind beside it."""
    pipeline = visits(folder / "log", Outputs())
    others = pipeline.source([("a", "b", 1)], name="in2").key_by(lambda record: record[0])
    others.process(Visits, name="others").sink(print, name="out2")
    return pipeline


async def append(log: Path, values: list[Record]) -> None:
    async with EventLog(tuple[str, str, int], log) as opened:
        await opened.extend(values)


async def run_until(pipeline: Pipeline, into: Outputs, outputs: int, store: Path, **options: Any) -> None:
    """Run until so many outputs are there, then stop: the final checkpoint holds timers, too."""
    async with pipeline.run(store=store, checkpoint_interval=None, **options) as job:
        await into.reach(outputs)
        await job.stop()


async def job_with_state(folder: Path, **options: Any) -> Path:
    """Run a job over 40 records, stop it, and give its folder in the store."""
    await append(folder / "log", records(0, 40))
    outputs = Outputs()
    await run_until(visits(folder / "log", outputs), outputs, 40, folder / "store", **options)
    return folder / "store" / "t"


def manifest_of(savepoint: Path) -> Manifest:
    path = savepoint / "manifest.json"
    return unseal(str(path), path.read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file, to see that none was changed."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def move_on(job: Path, savepoint: Path) -> None:
    """Do what a job does: complete a checkpoint, then delete the one before with its layers."""
    old = list((job / "layers").glob("*.lmdb"))
    for layer in (savepoint / "layers").glob("*.lmdb"):
        layer.rename(job / "layers" / layer.name)
    (job / "checkpoints" / "2").mkdir()
    manifest = replace(manifest_of(savepoint), checkpoint=2, digest="")
    (job / "checkpoints" / "2" / "manifest.json").write_bytes(seal(manifest))
    shutil.rmtree(job / "checkpoints" / "1")
    for layer in old:
        layer.unlink()


def numbered(item: Any, value: object) -> tuple[object, object]:
    """Make a key's text an int, wherever the key stands."""
    return ((int(item[0][5:]), *item[1:]), value) if isinstance(item, tuple) else (int(item[5:]), value)


def number_all(writer: SnapshotWriter, states: Sequence[str]) -> None:
    """Make every key of these states an int."""
    for state in states:
        writer.transform("visits", state, numbered)


def same(a: Path, b: Path) -> bool:
    """Tell whether two snapshots hold the same."""
    with open_snapshot(a) as left, open_snapshot(b) as right:
        found = list(differences(left, right))
        assert found
        return all(found)
