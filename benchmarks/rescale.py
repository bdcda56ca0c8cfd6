"""Rescale, restore, fork and savepoint by the number of keys: layers are opened again and linked, not copied.

    rescale     a live job, 1 to 2, 2 to 4 and 4 to 1 subtasks, under a steady load, after it has written all its
                state, and 1 to 2 after a savepoint: how long nothing comes out, and how long `job.rescale` takes
    savepoint   of unchanged state, and after 1 % of the keys have changed
    restart     from the store's own newest checkpoint: files proved in this boot; after a savepoint has linked them
    restore     from a savepoint into an empty store; and as a fork, beside the running origin

Each measurement is a process of its own (rescale_child.py) on a store on the disk of
the working directory. Every record that comes out is compared: one that is lost or
doubled ends the measurement with an error.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.children import run_child
from benchmarks.figures import Aim, Figure, Findings, publish, tell
from benchmarks.rescale_job import PIPELINE

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
AIM_KEYS = 1_000_000
PAUSE_MS = Aim("<", 500.0)
_MIB = 1 << 20
_CHILD = "benchmarks.rescale_child"

_MILLISECONDS = {
    "rescale 1 to 2, pause": "1 to 2, pause",
    "rescale 1 to 2, in all": "1 to 2, in all",
    "rescale 2 to 4, pause": "2 to 4, pause",
    "rescale 2 to 4, in all": "2 to 4, in all",
    "rescale 4 to 1, pause": "4 to 1, pause",
    "rescale 4 to 1, in all": "4 to 1, in all",
    "rescale 1 to 2 after a savepoint, pause": "1 to 2 after a savepoint, pause",
    "rescale 1 to 2 after a savepoint, in all": "1 to 2 after a savepoint, in all",
    "longest pause before": "before",
    "savepoint, unchanged": "unchanged",
    "savepoint, 1 % changed": "changed",
    "restart": "restart",
    "restart, files linked since": "restart_linked",
    "restore into an empty store": "restore",
    "fork": "fork",
    "fork, longest pause of origin": "origin",
}
_CURVES = (
    "1 to 2, pause",
    "2 to 4, pause",
    "4 to 1, pause",
    "1 to 2 after a savepoint, pause",
    "restore",
    "fork",
    "restart",
    "unchanged",
)
_NOTES = (
    "",
    "rescale, pause: the longest time in which no record came out, from the call until 0.5 s after its return",
    "rescale, in all: until `await job.rescale(...)` has returned, the checkpoint before the pause included",
    "longest pause before: the same in the 0.5 s before each rescale: what the machine does without us",
    "restart, restore, fork: from the call of `run` until the job is open, all files in the system's cache;",
    "  restart: nothing is read, the files were proved in this boot; the others read every layer to its end once",
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is measured, and how large.

    Attributes:
        keys: Numbers of keys, one store each.
        rate: Records a second while the job is rescaled.
        budget: state_memory, in bytes.
        runs: How often each is measured.
    """

    keys: tuple[int, ...]
    rate: float
    budget: int
    runs: int


def rescale(  # noqa: PLR0913  (options of a command)
    *,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file too.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the times by number of keys into this SVG.")] = None,
    keys: Annotated[list[int] | None, typer.Option(min=100, help="Keys of a store; may be repeated.")] = None,
    largest: Annotated[
        int, typer.Option(min=1_000, help="Without --keys: powers of ten up to this; 10000000 takes minutes.")
    ] = AIM_KEYS,
    rate: Annotated[float, typer.Option(min=1, help="Records a second while the job is rescaled.")] = 10_000,
    state_memory: Annotated[int, typer.Option(min=1, help="The budget of memory for state, in MiB.")] = 256,
    runs: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
) -> None:
    """Measure rescale, restore, fork and savepoint by the number of keys."""
    chosen = tuple(sorted(set(keys))) if keys else tuple(number for number in KEYS if number <= largest)
    sizes = Sizes(chosen, rate, state_memory * _MIB, runs)
    started = datetime.now(UTC)
    findings = measure(sizes, disk=Path.cwd(), tell=tell)
    tell("")
    publish(findings, started, json_file)
    if plot is not None:
        from benchmarks.plot import draw_rescale  # noqa: PLC0415  (matplotlib is slow to import, and optional)

        draw_rescale(plot, findings)


def measure(sizes: Sizes, *, disk: Path, tell: Callable[[str], None]) -> Findings:
    """Measure with stores in `disk`.

    Raises:
        ChildFailedError: A measurement failed, or gave wrong output.
    """
    figures: list[Figure] = []
    curves: dict[str, list[tuple[float, float]]] = {}
    for keys in sizes.keys:
        with TemporaryDirectory(prefix="benchmark-store-", dir=disk) as folder:
            taken = _measure_keys(Path(folder), keys, sizes, tell)
        for words, name in _MILLISECONDS.items():
            aim = PAUSE_MS if words.startswith("rescale") and words.endswith("pause") and keys == AIM_KEYS else None
            figures.append(Figure(f"{keys:,} keys: {words}", "ms", tuple(1e3 * each for each in taken[name]), aim))
            if name in _CURVES:
                curves.setdefault(words, []).append((keys, figures[-1].median))
        figures.append(Figure(f"{keys:,} keys: layers of the store", "MiB", tuple(taken["mebibytes"])))
    return Findings(
        {"keys": list(sizes.keys), "rate": sizes.rate, "state_memory": sizes.budget, "runs": sizes.runs},
        figures,
        _NOTES,
        curves,
    )


def _measure_keys(stores: Path, keys: int, sizes: Sizes, tell: Callable[[str], None]) -> dict[str, list[float]]:
    """Give every value of one number of keys, in seconds, by name."""
    taken: dict[str, list[float]] = defaultdict(list)
    store = stores / "store"
    read = 0
    # To write the largest state takes minutes: there one process does all rounds.
    processes, rounds = (sizes.runs, 1) if keys <= AIM_KEYS else (1, sizes.runs)
    for process in range(processes):
        tell(f"{keys:,} keys: rescales, {process + 1} of {processes}")
        shutil.rmtree(store, ignore_errors=True)
        found, _ = run_child(_CHILD, "rescale", store, keys, rounds, sizes.rate, sizes.budget)
        read = int(found.pop("read"))
        for step_name, seconds in found.items():
            name = step_name.partition(": ")[2]
            taken["before" if name.endswith("before") else name].append(seconds)
    taken["mebibytes"].append(_size_of(store / PIPELINE / "layers") / _MIB)
    for run in range(sizes.runs):
        tell(f"{keys:,} keys: savepoints, restore and fork, {run + 1} of {sizes.runs}")
        _measure_savepoints(stores, (keys, read), run, sizes.rate, taken)
    return taken


def _measure_savepoints(
    stores: Path, store_of: tuple[int, int], run: int, rate: float, taken: dict[str, list[float]]
) -> None:
    store, other = stores / "store", stores / "restored"

    def seconds_of(task: str, folder: Path, *more: object) -> dict[str, float]:
        return run_child(_CHILD, task, folder, *store_of, *more)[0]

    seconds_of("restart", store)  # reads what the one before has linked
    taken["restart"].append(seconds_of("restart", store)["seconds"])
    for name, seconds in seconds_of("savepoint", store, run).items():
        taken[name].append(seconds)
    taken["restart_linked"].append(seconds_of("restart", store)["seconds"])
    place = store / PIPELINE / "savepoints" / f"unchanged-{run}"
    taken["restore"].append(seconds_of("restore", other, place)["seconds"])
    shutil.rmtree(other)
    found = seconds_of("fork", store, place, run, rate)
    taken["fork"].append(found["seconds"])
    taken["origin"].append(found["origin"])
    shutil.rmtree(store / f"{PIPELINE}@fork-{run}")


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
