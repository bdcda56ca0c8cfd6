"""What the event log takes and gives: records a second, and how long one append waits for the disk.

    extend    one call with all records; ours are frozen dataclasses of four ints. The time ends when all are durable
    append    one record a call: alone, one after another; or by 64 tasks at once, which share syncs
    read      the log as a source, partition by partition, as a job's pumps read it; then a whole job that only keeps
              what it gets: start and end of the job, and the collector's work on what is kept, included

Beside it stands what a sync costs on this disk: 4 KiB appended to a plain file. The
log is on the disk of the working directory. What is read is compared with what was
written, in order.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from actorstream import EventLog, Pipeline
from benchmarks.errors import WrongOutputError
from benchmarks.events import make_events
from benchmarks.figures import Aim, Figure, Findings, publish, quantile, tell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from actorstream import Fetched

PARTITIONS = (1, 8)
TASKS = 64
_EXTEND_AIM = Aim(">=", 300_000)
_READ_AIM = Aim(">=", 500_000)
_MILLISECOND = 1e-3
_PAGE = bytes(4096)
_SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True, slots=True)
class LoggedBid:
    """A bid as a service would write it."""

    auction: int
    bidder: int
    price: int
    at_us: int


def log(
    *,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file too.")] = None,
    records: Annotated[int, typer.Option(min=1, help="Records that are written and read in each run.")] = 1_000_000,
    appends: Annotated[int, typer.Option(min=1, help="Single appends of each kind in each run.")] = 2_000,
    runs: Annotated[int, typer.Option(min=1, help="How many runs.")] = 5,
) -> None:
    """Measure the event log: extend, append, read."""
    started = datetime.now(UTC)
    findings = asyncio.run(measure(records=records, appends=appends, runs=runs, disk=Path.cwd(), tell=tell))
    tell("")
    publish(findings, started, json_file)


async def measure(*, records: int, appends: int, runs: int, disk: Path, tell: Callable[[str], None]) -> Findings:
    """Write and read logs in `disk`.

    Raises:
        WrongOutputError: What was read is not what was written.
    """
    bids = [LoggedBid(*bid) for bid in make_events(records).bids]
    taken: dict[str, list[float]] = defaultdict(list)
    for number in range(runs):
        for partitions in PARTITIONS:
            tell(f"run {number + 1} of {runs}: {partitions} partitions")
            with TemporaryDirectory(prefix="benchmark-log-", dir=disk) as folder:
                for name, value in (await _throughput(folder, bids, partitions)).items():
                    taken[f"{name}, {partitions} partition{'s' * (partitions > 1)}"].append(value)
        tell(f"run {number + 1} of {runs}: appends")
        with TemporaryDirectory(prefix="benchmark-log-", dir=disk) as folder:
            for name, value in (await _appends(folder, bids[:appends])).items():
                taken[name].append(value)
            for share, value in _milliseconds(_syncs(Path(folder) / "plain", len(bids[:appends]))).items():
                taken[f"4 KiB written and synced, {share}"].append(value)
    return Findings(
        {"records": records, "appends": appends, "runs": runs, "partitions": list(PARTITIONS), "tasks": TASKS},
        [_figure(name, tuple(values)) for name, values in taken.items()],
        [
            "",
            f"{records:,} frozen dataclasses of four ints; 8 partitions are chosen by key; every figure of extend and "
            "append is durable",
        ],
    )


async def _throughput(folder: str, bids: list[LoggedBid], partitions: int) -> dict[str, float]:
    """Write all in one call, and read them twice."""
    key = None if partitions == 1 else _auction_of
    async with EventLog(LoggedBid, f"{folder}/log", partitions=partitions, key=key) as bid_log:
        gc.collect()
        start = time.perf_counter()
        positions = await bid_log.extend(bids)
        extend = time.perf_counter() - start

        written: list[list[LoggedBid]] = [[] for _ in range(partitions)]
        for bid, position in zip(bids, positions, strict=True):
            written[position.partition].append(bid)
        gc.collect()
        view = bid_log.view(stop="now")
        read = sum([await _read(view.read(split, None), written[int(split)]) for split in await view.splits()])

        out: list[LoggedBid] = []
        pipeline = Pipeline("read")
        pipeline.source(bid_log.view(stop="now")).sink(out.append)
        gc.collect()
        start = time.perf_counter()
        await pipeline.run()
        job = time.perf_counter() - start
        check_same(out, bids, "the job")
    return {"extend": len(bids) / extend, "read": len(bids) / read, "read by a job": len(bids) / job}


async def _read(reading: AsyncIterator[Fetched[int, LoggedBid]], written: Sequence[LoggedBid]) -> float:
    """Read a partition to its end; give the seconds without those of looking at what came.

    Raises:
        WrongOutputError: A batch is not what was written there.
    """
    seconds = 0.0
    at = 0
    while True:
        start = time.perf_counter()
        fetched = await anext(reading, None)
        seconds += time.perf_counter() - start
        if fetched is None:
            break
        check_same(fetched.values, written[at : at + len(fetched.values)], "the source")
        at += len(fetched.values)
    if at != len(written):
        raise WrongOutputError(f"the source gave {at} records of a partition, {len(written)} were written there")
    return seconds


def _auction_of(bid: LoggedBid) -> int:
    return bid.auction


def check_same(found: Iterable[LoggedBid], written: Iterable[LoggedBid], who: str) -> None:
    """Compare, for each auction in order: partitions may come in any order.

    Raises:
        WrongOutputError: A record is missing, doubled, changed or out of its order.
    """
    if _by_auction(found) != _by_auction(written):
        raise WrongOutputError(f"{who} gave other records than were written; measure nothing before this is mended")


def _by_auction(bids: Iterable[LoggedBid]) -> dict[int, list[LoggedBid]]:
    auctions: dict[int, list[LoggedBid]] = defaultdict(list)
    for bid in bids:
        auctions[bid.auction].append(bid)
    return auctions


async def _appends(folder: str, bids: Sequence[LoggedBid]) -> dict[str, float]:
    """Append one after another, then by many tasks at once."""
    waits: dict[str, list[float]] = {"alone": [], f"{TASKS} at once": []}
    async with EventLog(LoggedBid, f"{folder}/log") as bid_log:

        async def append_all(values: Iterable[LoggedBid], waited: list[float]) -> None:
            for value in values:
                start = time.perf_counter()
                await bid_log.append(value)
                waited.append(time.perf_counter() - start)

        await append_all(bids, waits["alone"])
        start = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for task in range(TASKS):
                tasks.start_soon(append_all, bids[task::TASKS], waits[f"{TASKS} at once"])
        together = time.perf_counter() - start
        appended = Counter([each.value async for each in bid_log.records(stop="now")])  # tasks race: in any order
        if appended != Counter([*bids, *bids]):
            raise WrongOutputError(f"the log holds {appended.total()} records, other than the {2 * len(bids)} appended")
    figures = {
        f"append, {how}, {share}": value
        for how, waited in waits.items()
        for share, value in _milliseconds(waited).items()
    }
    return figures | {f"append, {TASKS} at once": len(bids) / together}


def _syncs(path: Path, count: int) -> list[float]:
    """Measure what the disk takes for a small durable write without us."""
    waits: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(count):
            start = time.perf_counter()
            file.write(_PAGE)
            os.fdatasync(file.fileno())
            waits.append(time.perf_counter() - start)
    return waits


def _milliseconds(waits: Iterable[float]) -> dict[str, float]:
    ordered = sorted(waits)
    return {name: quantile(ordered, share) / _MILLISECOND for name, share in _SHARES.items()}


def _figure(name: str, values: tuple[float, ...]) -> Figure:
    if name.rpartition(" ")[2] in _SHARES:
        return Figure(name, "ms", values)
    aims = {"extend": _EXTEND_AIM, "read": _READ_AIM}
    return Figure(name, "records/s", values, aims.get(name.partition(",")[0]))
