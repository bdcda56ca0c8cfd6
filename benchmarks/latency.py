"""How long a record takes: a paced input through source, key_by, a stateful map and a sink, while checkpoints run.

    load generator ──pipe──> source ──> key_by ──> map_with_state ──> sink
    event n is due at t(n)                                            latency = now - t(n)

An open loop: events come at their moments whatever the job does (load_generator.py),
and latency counts from the moment an event was due. It is a process of its own, as
real input is, so that the job's own stalls are seen and the pacing of asyncio's
timers (whole milliseconds) is not. The store is on the disk of the working
directory. The first second, in which the job warms up, is left out. Each result is
compared with the one that its event must give.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from array import array
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias

import typer

from actorstream import Fetched, Pipeline, Restart
from benchmarks.errors import WrongOutputError
from benchmarks.figures import Aim, Figure, Findings, publish, quantile, tell
from benchmarks.load_generator import EVENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from benchmarks.figures import Curve

Event: TypeAlias = tuple[int, int, int]
"""Number, due and written: see load_generator.EVENT."""

KEYS = 10_000
_STRIDE = 7_919  # prime to KEYS: every KEYS events in a row touch every key once, neighbours far apart
_MILLISECOND = 1e6
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
_AIMS = {"p99": Aim("<", 5.0)}
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Load:
    """What one run is given."""

    rate: float
    seconds: float
    warmup: float
    checkpoint_seconds: float

    @property
    def events(self) -> int:
        """How many there are, those of the warm-up too."""
        return round(self.rate * (self.warmup + self.seconds))

    @property
    def first(self) -> int:
        """The first event that counts."""
        return round(self.rate * self.warmup)


class Latencies(NamedTuple):
    """What one run gave: nanoseconds, in rising order."""

    job: list[float]
    generator: list[float]
    checkpoints: int


def latency(  # noqa: PLR0913  (options of a command)
    *,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file too.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw latency by percentile into this SVG.")] = None,
    rate: Annotated[float, typer.Option(min=1, help="Events a second.")] = 5_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="Measured length of each run.")] = 10,
    warmup: Annotated[float, typer.Option(min=0, help="Seconds before that, left out.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="How many runs.")] = 5,
    checkpoint_interval: Annotated[float, typer.Option(min=0.01, help="Seconds between checkpoints.")] = 1,
) -> None:
    """Measure latency at a fixed rate while checkpoints run."""
    load = Load(rate, seconds, warmup, checkpoint_interval)
    started = datetime.now(UTC)
    findings = measure(load, runs=runs, disk=Path.cwd(), tell=tell)
    tell("")
    publish(findings, started, json_file)
    if plot is not None:
        from benchmarks.plot import draw_latency  # noqa: PLC0415  (matplotlib is slow to import, and optional)

        draw_latency(plot, findings)


def measure(load: Load, *, runs: int, disk: Path, tell: Callable[[str], None]) -> Findings:
    """Run the job `runs` times on stores in `disk`.

    Raises:
        WrongOutputError: A result was wrong or missing, or no checkpoint was taken meanwhile.
    """
    taken: list[Latencies] = []
    for number in range(runs):
        tell(f"run {number + 1} of {runs}")
        with TemporaryDirectory(prefix="benchmark-store-", dir=disk) as store:
            taken.append(asyncio.run(run_once(load, store)))
    checkpoints = [each.checkpoints for each in taken]
    return Findings(
        {"rate": load.rate, "seconds": load.seconds, "warmup": load.warmup, "runs": runs, "keys": KEYS}
        | {"checkpoint_interval": load.checkpoint_seconds, "checkpoints": checkpoints},
        [
            *(_figure("latency", name, [each.job for each in taken], _AIMS.get(name)) for name in _SHARES),
            *(_figure("generator late", name, [each.generator for each in taken]) for name in ("p50", "p99", "max")),
        ],
        [
            "",
            "latency: from the moment an event was due to its result in the sink, the generator's lateness included",
            f"{load.rate:,g} events/s, {load.seconds:g} s a run, {KEYS:,} keys, {min(checkpoints)}..{max(checkpoints)} "
            f"durable checkpoints a run",
        ],
        {f"run {number}": _curve(each.job) for number, each in enumerate(taken, 1)},
    )


async def run_once(load: Load, store: str) -> Latencies:
    """Run the job over one load; give what was measured after the warm-up."""
    sink = Watch(load)
    with generator(load) as process:
        pipeline = Pipeline("latency")
        events = pipeline.source(PipeSource(process), name="events")
        counted = events.key_by(key_of).map_with_state(0, number_visit, name="visits")
        counted.sink(sink.take, name="watch")
        gc.collect()
        run = pipeline.run(store=store, checkpoint_interval=load.checkpoint_seconds, restart=Restart.never())
        summary = await run
    return sink.latencies(summary.checkpoints)


def key_of(event: Event) -> int:
    """Spread events over the keys."""
    return event[0] * _STRIDE % KEYS


def number_visit(visits: int, event: Event) -> tuple[int, tuple[Event, int]]:
    """Count the key's events."""
    return visits + 1, (event, visits + 1)


class Watch:
    """The sink: notes when each result came, and whether it is right."""

    def __init__(self, load: Load) -> None:
        """Make room for the latencies."""
        self._load = load
        self._next = 0
        self._problem: str | None = None
        self._job = array("q")
        self._generator = array("q")

    def take(self, result: tuple[Event, int]) -> None:
        """Hear of one result."""
        now = time.monotonic_ns()
        (number, due, written), visits = result
        if (number != self._next or visits != number // KEYS + 1) and self._problem is None:
            self._problem = (
                f"event {number} came as visit {visits} of its key; event {self._next} was expected, as visit "
                f"{self._next // KEYS + 1}; measure nothing before this is mended"
            )
        self._next += 1
        self._job.append(now - due)
        self._generator.append(written - due)

    def latencies(self, checkpoints: int) -> Latencies:
        """Give what counts.

        Raises:
            WrongOutputError: A result was wrong or is missing, or the run held no checkpoint but the final one.
        """
        if self._problem is not None:
            raise WrongOutputError(self._problem)
        if self._next != self._load.events:
            raise WrongOutputError(f"{self._next} results came, {self._load.events} were expected")
        if checkpoints < 2:
            raise WrongOutputError("no checkpoint was taken during the run: make it longer, or the interval shorter")
        first = self._load.first
        return Latencies(sorted(self._job[first:]), sorted(self._generator[first:]), checkpoints)


@contextmanager
def generator(load: Load) -> Iterator[subprocess.Popen[bytes]]:
    """Start the load generator, which waits for a line; it is gone when the block is left."""
    command = [sys.executable, "-m", "benchmarks.load_generator", str(load.rate), str(load.events)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_root()) as process:
        try:
            yield process
        finally:
            process.kill()


class PipeSource:
    """One split: events as they come out of the load generator's pipe. It cannot be read again."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Read from `process` once the job is up."""
        self._process = process

    async def splits(self) -> Sequence[str]:
        """Name the one split."""
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, Event]]:
        """Say go, and yield whatever has come."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout
        )
        try:
            self._say_go()
            rest = b""
            while data := await reader.read(_READ_BYTES):
                data = rest + data
                whole = len(data) // EVENT.size * EVENT.size
                rest = data[whole:]
                events: list[Event] = list(EVENT.iter_unpack(data[:whole]))
                if events:
                    yield Fetched(events, events[-1][0])
        finally:
            transport.close()

    def _say_go(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()


def _figure(what: str, name: str, runs: Sequence[list[float]], aim: Aim | None = None) -> Figure:
    values = tuple(quantile(ordered, _SHARES[name]) / _MILLISECOND for ordered in runs)
    return Figure(f"{what}, {name}", "ms", values, aim)


def _curve(ordered: list[float]) -> Curve:
    """Give (share of events that took longer, milliseconds), denser towards the slowest."""
    points: Curve = []
    slower = 1.0
    while slower * len(ordered) >= 1:
        points.append((slower, quantile(ordered, 1 - slower) / _MILLISECOND))
        slower /= 1.25
    points.append((1 / len(ordered), ordered[-1] / _MILLISECOND))
    return points


def _root() -> Path:
    return Path(__file__).parents[1]
