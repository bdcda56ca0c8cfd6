"""How long a checkpoint takes when everything is full: with barriers that wait, and with barriers that overtake.

    range ──> key_by ─> count ══> map ─> sink        two subtasks each; the sink takes 1 ms a record
                 mailboxes: 2,048 records a lane

The source is in memory and has always more, so a second after the start every lane is full, and the sink is the only
one who is not waiting for room. Then checkpoints are asked for, one after the other. After the last one the job is
cancelled and started again from it, with a sink that takes no time; what came out in all is compared with what went in.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from actorstream import EventLog, Pipeline, Settings
from benchmarks.errors import WrongOutputError
from benchmarks.figures import Aim, Figure, Findings, publish, tell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from actorstream import SinkContext, SinkWriter

KEYS = 64
SINK_SECONDS = 0.001
_FILL_SECONDS = 1.0
_RECORDS = 100_000
_UNALIGNED_AIM = Aim("<", 1_000)
_TIMES_AIM = Aim(">=", 10)


class _Cut(Exception):  # noqa: N818  (no error: how a run is ended without a final checkpoint)
    pass


@dataclass(frozen=True, slots=True)
class Counted:
    """What the job gives for a record: how many of its key came before it."""

    key: int
    count: int
    value: int


class SlowSink:
    """A log that takes `seconds` for each record."""

    def __init__(self, log: EventLog[Counted], seconds: float) -> None:
        """Write to `log`."""
        self._log = log
        self._seconds = seconds

    @asynccontextmanager
    async def writer(self, ctx: SinkContext, /) -> AsyncIterator[SinkWriter[Counted]]:
        """Open the writer of one subtask."""
        async with self._log.writer(ctx) as writer:
            yield _SlowWriter(writer, self._seconds)


@dataclass(slots=True)
class _SlowWriter:
    inner: SinkWriter[Counted]
    seconds: float

    async def write(self, values: Sequence[Counted], /) -> None:
        if self.seconds:
            await asyncio.sleep(self.seconds * len(values))
        await self.inner.write(values)

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        return await self.inner.pre_commit(checkpoint)

    async def commit(self, token: bytes, /) -> None:
        await self.inner.commit(token)

    async def abort(self, token: bytes | None, /) -> None:
        await self.inner.abort(token)


def unaligned(
    *,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file too.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="How many runs of each.")] = 3,
    checkpoints: Annotated[int, typer.Option(min=1, help="Checkpoints a run.")] = 1,
) -> None:
    """Measure checkpoints under full back-pressure: aligned, and unaligned."""
    started = datetime.now(UTC)
    findings = asyncio.run(measure(runs=runs, checkpoints=checkpoints, disk=Path.cwd(), tell=tell))
    tell("")
    publish(findings, started, json_file)


@dataclass(slots=True)
class _Taken:
    milliseconds: list[float] = field(default_factory=list)
    records: list[float] = field(default_factory=list)
    mebibytes: list[float] = field(default_factory=list)


async def measure(
    *, runs: int, checkpoints: int, disk: Path, tell: Callable[[str], None], records: int = _RECORDS
) -> Findings:
    """Run both on logs and stores in `disk`.

    Raises:
        WrongOutputError: A record was lost or doubled, or came out of its order.
    """
    modes = {"unaligned": 0.0, "aligned": None}
    taken = {mode: _Taken() for mode in modes}
    for number in range(runs):
        for mode, patience in modes.items():
            tell(f"run {number + 1} of {runs}: {mode}")
            with TemporaryDirectory(prefix="benchmark-unaligned-", dir=disk) as folder:
                await _run(folder, patience, checkpoints, records, taken[mode])
    ours, others = taken["unaligned"], taken["aligned"]
    times = tuple(slow / quick for slow, quick in zip(others.milliseconds, ours.milliseconds, strict=True))
    return Findings(
        {"runs": runs, "checkpoints": checkpoints, "records": records, "sink_seconds": SINK_SECONDS},
        [
            Figure("checkpoint, unaligned", "ms", tuple(ours.milliseconds), _UNALIGNED_AIM),
            Figure("checkpoint, aligned", "ms", tuple(others.milliseconds)),
            Figure("aligned / unaligned", "times", times, _TIMES_AIM),
            Figure("in flight, unaligned", "records", tuple(ours.records)),
            Figure("in flight, unaligned", "MiB", tuple(ours.mebibytes)),
        ],
        [
            "",
            f"every lane full, a sink that takes {SINK_SECONDS * 1000:g} ms a record; afterwards the job was cancelled "
            "and went on from the last checkpoint: no record was lost, doubled or out of order",
        ],
    )


def _pipeline(folder: str, seconds: float, records: int) -> Pipeline:
    pipeline = Pipeline("full")
    out = EventLog(Counted, f"{folder}/out", partitions=2, key=_key_of)
    keyed = pipeline.source(range(records), name="numbers").key_by(lambda value: value % KEYS)
    counted = keyed.map_with_state(
        0, lambda count, value: (count + 1, Counted(value % KEYS, count, value)), name="count"
    )
    counted.map(lambda row: row, name="pass", new_chain=True).sink(SlowSink(out, seconds), name="out")
    return pipeline


def _key_of(row: Counted) -> int:
    return row.key


async def _run(folder: str, patience: float | None, checkpoints: int, records: int, taken: _Taken) -> None:
    """Fill everything, take checkpoints, cancel; then go on and compare."""
    store, settings = f"{folder}/store", Settings(alignment_timeout=patience)
    try:
        async with _pipeline(folder, SINK_SECONDS, records).run(
            store=store, parallelism=2, checkpoint_interval=None, settings=settings
        ) as job:
            await asyncio.sleep(_FILL_SECONDS)
            for _ in range(checkpoints):
                began = time.perf_counter()
                await job.checkpoint()
                taken.milliseconds.append((time.perf_counter() - began) * 1e3)
                metrics = job.metrics()
                taken.records.append(metrics["job.last_checkpoint_in_flight_records"])
                taken.mebibytes.append(metrics["job.last_checkpoint_in_flight_bytes"] / 2**20)
            raise _Cut
    except _Cut:
        pass
    await _pipeline(folder, 0.0, records).run(store=store, parallelism=2, settings=settings)
    async with EventLog(Counted, f"{folder}/out", partitions=2, key=_key_of) as out:
        check([each.value async for each in out.records(stop="now")], records)


def check(rows: Sequence[Counted], records: int) -> None:
    """Compare, for each key in order.

    Raises:
        WrongOutputError: A record is missing, doubled, or out of its order.
    """
    by_key: dict[int, list[tuple[int, int]]] = {}
    for row in rows:
        by_key.setdefault(row.key, []).append((row.count, row.value))
    expected = {key: list(enumerate(range(key, records, KEYS))) for key in range(min(KEYS, records))}
    if by_key != expected:
        raise WrongOutputError(f"{len(rows)} records came out, {records} went in; or one is out of its order")
