"""State at scale: how fast a job is back, how still its loop stays, how much memory it takes.

    restart   process start to the first new record, on a store of so many keys; also against the number of keys
    stalls    one checkpoint of so many changed keys under a saturated loop: its time, the longest stall of the loop
    memory    the peak of a process that updates random keys with state_memory=64 MiB

Each measurement is a process of its own (state_child.py) on a store on the disk of
the working directory, and each result it reads is compared. A restart is one after a
crash: the process before ended with SIGKILL, the files are in the system's cache and
were proved good in this boot.
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.children import run_child
from benchmarks.figures import Aim, Figure, Findings, publish, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PARTS = ("restart", "stalls", "memory", "curve")
CURVE_KEYS = (10_000, 100_000, 1_000_000, 10_000_000)
_MIB = 1 << 20
_ROOM_MIB = 100
_CHILD = "benchmarks.state_child"
_STALL_MS = Aim("<", 15.0)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is measured, and how large.

    Attributes:
        keys: In the store, for restart, stalls and memory.
        changed: Numbers of changed keys, one checkpoint each.
        curve: Numbers of keys at which restarts are measured for the plot.
        memory_seconds: How long random keys are updated.
        budget: state_memory, in bytes.
        runs: How often each is measured.
        calm: Whether the processes calm the garbage collector as `actorstream run` does for its own.
    """

    keys: int
    changed: tuple[int, ...]
    curve: tuple[int, ...]
    memory_seconds: float
    budget: int
    runs: int
    calm: bool = False


def state(  # noqa: PLR0913  (options of a command)
    *,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file too.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw restart time by number of keys into this SVG.")] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(PARTS)}; may be repeated.")] = None,
    keys: Annotated[int, typer.Option(min=10, help="Keys of the store.")] = 1_000_000,
    changed: Annotated[list[int] | None, typer.Option(help="Changed keys of a checkpoint; may be repeated.")] = None,
    largest: Annotated[
        int, typer.Option(help="The curve goes up to so many keys; 10000000 takes minutes.")
    ] = 1_000_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long random keys are updated for `memory`.")] = 15,
    state_memory: Annotated[int, typer.Option(min=1, help="The budget for `memory`, in MiB.")] = 64,
    runs: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    calm: Annotated[bool, typer.Option("--calm", help="The collector as `actorstream run` sets it.")] = False,
) -> None:
    """Measure restart, loop stalls and memory with much state."""
    chosen = only or list(PARTS)
    for name in chosen:
        if name not in PARTS:
            raise typer.BadParameter(f"there is no part {name!r}: take one of {', '.join(PARTS)}")
    if plot is not None and "curve" not in chosen:
        raise typer.BadParameter("the plot is drawn from the part 'curve': measure that too")
    few = tuple(changed or (100_000, 1_000_000))
    if too_many := [number for number in few if number > keys]:
        raise typer.BadParameter(f"{too_many[0]} changed keys are more than the {keys} there are")
    curve = tuple(number for number in CURVE_KEYS if number <= largest) or (largest,)
    sizes = Sizes(keys, few, curve, seconds, state_memory * _MIB, runs, calm)
    started = datetime.now(UTC)
    findings = measure(chosen, sizes, disk=Path.cwd(), tell=tell)
    tell("")
    publish(findings, started, json_file)
    if plot is not None:
        from benchmarks.plot import draw_restart  # noqa: PLC0415  (matplotlib is slow to import, and optional)

        draw_restart(plot, findings)


def measure(parts: list[str], sizes: Sizes, *, disk: Path, tell: Callable[[str], None]) -> Findings:
    """Measure the named parts on stores in `disk`.

    Raises:
        ChildFailedError: A measurement failed, or gave wrong output.
    """
    figures: list[Figure] = []
    curve: list[Figure] = []
    with TemporaryDirectory(prefix="benchmark-store-", dir=disk) as folder:
        stores = Path(folder)
        if "restart" in parts or "stalls" in parts:
            tell(f"filling a store with {sizes.keys:,} keys")
            run_child(_CHILD, "fill", stores / "filled", sizes.keys)
        if "restart" in parts:
            figures += _restart(stores / "filled", sizes, tell)
        if "stalls" in parts:
            for changed in sizes.changed:
                figures += _stalls(stores, sizes, changed, tell)
        if "memory" in parts:
            figures += _memory(stores, sizes, tell)
        if "curve" in parts:
            curve = _curve(stores, sizes, tell)
    return Findings(
        {"keys": sizes.keys, "changed": list(sizes.changed), "curve": list(sizes.curve), "runs": sizes.runs}
        | {"memory_seconds": sizes.memory_seconds, "state_memory": sizes.budget, "calm": sizes.calm},
        [*figures, *curve],
        _NOTES,
        {"restart": [(keys, each.median) for keys, each in zip(sizes.curve, curve, strict=True)]} if curve else {},
    )


_NOTES = (
    "",
    "restart: to the first new record, from before exec or from the first line of the new interpreter; then its parts",
    "stall: how late a task runs that sleeps 2 ms, the longest of a run; of it cpu: the loop's thread computed; gc:",
    "  the collector ran; no core: others had all; the rest: a thread of ours had the interpreter, or a call blocked",
    "memory: of the job's process, files that it maps included; anonymous: without those; family: with its children",
)


def _restart(store: Path, sizes: Sizes, tell: Callable[[str], None]) -> list[Figure]:
    taken: dict[str, list[float]] = defaultdict(list)
    for number in range(sizes.runs):
        tell(f"restart {number + 1} of {sizes.runs}")
        for name, seconds in _restart_once(store, sizes.keys).items():
            taken[name].append(seconds)
    aims = {"from_spawn": Aim("<", 1.0), "from_interpreter": Aim("<", 1.0)}
    order = ("from_spawn", "from_interpreter", "interpreter", "imports", "restore", "record")
    words = {
        "from_spawn": "from exec",
        "from_interpreter": "from interpreter",
        "record": "first record",
    }
    return [Figure(f"restart, {words.get(name, name)}", "s", tuple(taken[name]), aims.get(name)) for name in order]


def _restart_once(store: Path, keys: int) -> Mapping[str, float]:
    found, _ = run_child(_CHILD, "restart", store, keys, time.monotonic_ns())
    return found


def _stalls(stores: Path, sizes: Sizes, changed: int, tell: Callable[[str], None]) -> list[Figure]:
    taken: dict[str, list[float]] = defaultdict(list)
    for number in range(sizes.runs):
        tell(f"checkpoint of {changed:,} changed keys: {number + 1} of {sizes.runs}")
        store = stores / "copy"  # the checkpoint changes it
        shutil.copytree(stores / "filled", store)
        found, _ = run_child(_CHILD, "stalls", store, sizes.keys, changed, int(sizes.calm))
        shutil.rmtree(store)
        for name, value in found.items():
            taken[name].append(value)
    what = f"checkpoint of {changed:,}"
    milliseconds = {
        "longest stall": ("stall", _STALL_MS),
        "of it cpu": ("stall_cpu", None),
        "of it gc": ("stall_gc", None),
        "of it no core": ("stall_no_core", None),
        "of it the rest": ("stall_rest", None),
        "longest but for cores": ("stall_own", None),
        "longest stall before it": ("stall_before", None),
    }
    return [
        Figure(what, "s", tuple(taken["seconds"]), Aim("<", 1.0) if changed == 100_000 else None),
        *(
            Figure(f"{what}, {words}", "ms", tuple(1e3 * value for value in taken[name]), aim)
            for words, (name, aim) in milliseconds.items()
        ),
        Figure(f"{what}, stalls over 10 ms", "", tuple(taken["over_10_ms"])),
        Figure(f"{what}, records meanwhile", "1/s", tuple(taken["records_per_second"])),
        Figure(f"{what}, records before", "1/s", tuple(taken["records_per_second_before"])),
    ]


def _memory(stores: Path, sizes: Sizes, tell: Callable[[str], None]) -> list[Figure]:
    taken: dict[str, list[float]] = defaultdict(list)
    for number in range(sizes.runs):
        tell(f"memory {number + 1} of {sizes.runs}")
        store = stores / f"memory-{number}"
        found, most = run_child(_CHILD, "memory", store, sizes.keys, round(1_000 * sizes.memory_seconds), sizes.budget)
        shutil.rmtree(store)
        for name, value in (*found.items(), *most._asdict().items()):
            taken[name].append(value)
    budget = sizes.budget // _MIB
    mebibytes = {
        "memory, peak": ("peak", Aim("<", budget + _ROOM_MIB)),
        "memory, peak anonymous": ("anonymous", None),
        "memory, peak of the family": ("family", None),
        "memory, before the job": ("before", None),
    }
    rates = {"memory, new keys": "fill_records_per_second", "memory, random updates": "records_per_second"}
    return [
        *(
            Figure(words, "MiB", tuple(value / _MIB for value in taken[name]), aim)
            for words, (name, aim) in mebibytes.items()
        ),
        *(Figure(words, "1/s", tuple(taken[name])) for words, name in rates.items()),
        Figure("memory, checkpoints", "", tuple(taken["checkpoints"])),
    ]


def _curve(stores: Path, sizes: Sizes, tell: Callable[[str], None]) -> list[Figure]:
    """Measure restarts from exec for each number of keys."""
    figures: list[Figure] = []
    for keys in sizes.curve:
        tell(f"restart with {keys:,} keys")
        store = stores / f"curve-{keys}"
        run_child(_CHILD, "fill", store, keys)
        seconds = [_restart_once(store, keys)["from_spawn"] for _ in range(sizes.runs)]
        figures.append(Figure(f"restart, {keys:,} keys", "s", tuple(seconds)))
        shutil.rmtree(store)
    return figures
