"""Readings as a table for people and as a document for programs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from benchmarks.machine import machine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from benchmarks.readings import Reading, Round, Spread

_HEADINGS = (
    "workload",
    "goal",
    "wall",
    "min..max",
    "cpu",
    "min..max",
    "plain s",
    "ours s",
    "records/s",
    "ckpts",
    "noise",
)
_LEGEND = """\
wall, cpu: plain loop's time / ours, median and spread of {rounds} rounds; above 1 is faster than the loop
records/s: events read, by wall clock; ckpts: checkpoints of a run; noise: plain / plain by cpu, least and greatest"""


def as_table(readings: Sequence[Reading]) -> str:
    """Give plain text, a line a workload."""
    rows = [_HEADINGS, *map(_row, readings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    rounds = max((len(reading.rounds) for reading in readings), default=0)
    return "\n".join([*lines, "", _LEGEND.format(rounds=rounds)])


def _row(reading: Reading) -> tuple[str, ...]:
    checkpoints = [each.checkpoints for each in reading.rounds]
    fewest, most = min(checkpoints), max(checkpoints)
    return (
        reading.workload,
        f"{reading.goal:.2f}",
        f"{reading.wall.median:.2f}",
        _range(reading.wall),
        f"{reading.cpu.median:.2f}",
        _range(reading.cpu),
        f"{reading.plain_seconds:.3f}",
        f"{reading.our_seconds:.3f}",
        f"{reading.events / reading.our_seconds:,.0f}",
        str(most) if fewest == most else f"{fewest}..{most}",
        _range(reading.noise),
    )


def _range(spread: Spread) -> str:
    return f"{spread.min:.2f}..{spread.max:.2f}"


def as_document(readings: Sequence[Reading], *, started: datetime, seed: int) -> dict[str, Any]:
    """Give everything that was measured, ready for JSON."""
    return {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "date": started.isoformat(timespec="seconds"),
        "machine": machine(),
        "seed": seed,
        "workloads": [
            {
                "name": reading.workload,
                "goal": reading.goal,
                "events": reading.events,
                "records_out": reading.records_out,
                "ratio_wall": reading.wall._asdict(),
                "ratio_cpu": reading.cpu._asdict(),
                "noise_cpu": reading.noise._asdict(),
                "rounds": [_round(each) for each in reading.rounds],
            }
            for reading in readings
        ],
    }


def _round(each: Round) -> dict[str, Any]:
    return {
        "plain_before": each.before._asdict(),
        "ours": each.ours._asdict(),
        "plain_after": each.after._asdict(),
        "checkpoints": each.checkpoints,
    }
