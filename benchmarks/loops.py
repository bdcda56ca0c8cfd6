"""What a loop does: turns a second, beside a plain loop that counts down.

countdown   every number goes round until it is 0: a map and two filters a turn, in one actor
by key      each turn through a key_by to two subtasks and back
doubling    each record becomes two, seven times
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from actorstream import Pipeline
from benchmarks.errors import WrongOutputError
from benchmarks.figures import Figure, Findings, publish, tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream import Stream

TURNS = 100
_DOUBLINGS = 7


def loops(
    *,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file too.")] = None,
    records: Annotated[int, typer.Option(min=1, help="Records that go round in each run.")] = 5_000,
    runs: Annotated[int, typer.Option(min=1, help="How many runs.")] = 3,
) -> None:
    """Measure loops: turns a second."""
    started = datetime.now(UTC)
    findings = asyncio.run(measure(records=records, runs=runs, disk=Path.cwd(), tell=tell))
    tell("")
    publish(findings, started, json_file)


async def measure(*, records: int, runs: int, disk: Path, tell: Callable[[str], None]) -> Findings:
    """Let records go round, with checkpoints each second, in stores in `disk`.

    Raises:
        WrongOutputError: Not every record has left as it should.
    """
    taken: dict[str, list[float]] = defaultdict(list)
    for number in range(runs):
        tell(f"run {number + 1} of {runs}")
        begun = time.perf_counter()
        for _ in range(records):
            left = TURNS
            while left:
                left = _less(left)
        plain = records * TURNS / (time.perf_counter() - begun)
        taken["plain loop"].append(plain)
        for name, body, turns, parallelism in (
            ("countdown", _countdown, records * TURNS, 1),
            ("by key", _by_key, records * TURNS, 2),
            ("doubling", _doubling, records * (2**_DOUBLINGS - 1), 1),
        ):
            with TemporaryDirectory(prefix="benchmark-loops-", dir=disk) as store:
                expected = records * 2**_DOUBLINGS if name == "doubling" else records
                taken[name].append(turns / await _seconds(body, records, expected, store, parallelism))
    return Findings(
        {"records": records, "runs": runs, "turns": TURNS, "doublings": _DOUBLINGS},
        [Figure(name, "turns/s", tuple(values)) for name, values in taken.items()],
        ["", f"{TURNS} turns a record; doubling: {_DOUBLINGS} turns, each record twice as often after each"],
    )


async def _seconds(
    body: Callable[[Stream[int]], tuple[Stream[int], Stream[int]]],
    records: int,
    expected: int,
    store: str,
    parallelism: int,
) -> float:
    left: list[int] = []
    pipeline = Pipeline("loops")
    pipeline.source([TURNS] * records).feedback(body, name="loop").sink(left.append)
    begun = time.perf_counter()
    await pipeline.run(store=store, parallelism=parallelism)
    seconds = time.perf_counter() - begun
    if len(left) != expected:
        raise WrongOutputError(f"{len(left)} records have left a loop, expected {expected}")
    return seconds


def _less(number: int) -> int:
    return number - 1


def _goes_on(number: int) -> bool:
    return number > 0


def _is_over(number: int) -> bool:
    return number <= 0


def _countdown(numbers: Stream[int]) -> tuple[Stream[int], Stream[int]]:
    less = numbers.map(_less)
    return less.filter(_goes_on), less.filter(_is_over)


def _by_key(numbers: Stream[int]) -> tuple[Stream[int], Stream[int]]:
    less = numbers.key_by(_less).map_with_state(0, lambda seen, number: (seen + 1, number - 1), name="seen")
    return less.filter(_goes_on), less.filter(_is_over)


def _doubling(numbers: Stream[int]) -> tuple[Stream[int], Stream[int]]:
    twice = numbers.flat_map(lambda number: [number - 1, number - 1])
    return twice.filter(lambda number: number > TURNS - _DOUBLINGS), twice.filter(
        lambda number: number <= TURNS - _DOUBLINGS
    )
