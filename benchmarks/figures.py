"""Figures with their aims: as a table for people, as a document for programs.

    figure             unit   aim    median  min..max    runs  met
    latency, p99       ms     < 5      3.10  2.90..4.02     5  yes

A figure keeps the value of every run. What is compared with the aim is the median;
the spread says how much that is worth on this machine. A run whose output is wrong
has no figure: it raises WrongOutputError.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import typer

from benchmarks.machine import machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

Curve: TypeAlias = "list[tuple[float, float]]"

_HEADINGS = ("figure", "unit", "aim", "median", "min..max", "runs", "met")
_LEFT = 2
_WHOLE_FROM = 100


class Aim(NamedTuple):
    """What we want of a figure."""

    bound: Literal["<", ">="]
    value: float

    def is_met(self, value: float) -> bool:
        """Tell whether a value is good enough."""
        return value < self.value if self.bound == "<" else value >= self.value

    def __str__(self) -> str:
        """Show it as in the table."""
        return f"{self.bound} {self.value:,g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured, once a run."""

    name: str
    unit: str
    values: tuple[float, ...]
    aim: Aim | None = None

    @property
    def median(self) -> float:
        """What stands for all runs."""
        return median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the aim; None without an aim."""
        return None if self.aim is None else self.aim.is_met(self.median)


@dataclass(frozen=True, slots=True)
class Findings:
    """What one command has measured.

    Attributes:
        settings: What it was asked for: sizes, rates, seconds, number of runs.
        figures: In the order of the table.
        notes: Lines below the table: what the words mean, what belongs to a figure.
        curves: Points of what is drawn, by name.
    """

    settings: Mapping[str, object]
    figures: Sequence[Figure]
    notes: Sequence[str] = ()
    curves: Mapping[str, Curve] = field(default_factory=dict)


def publish(findings: Findings, started: datetime, json_file: Path | None) -> None:
    """Print the table with machine and date, and write the document if a file is named."""
    typer.echo(as_table(findings.figures))
    for note in findings.notes:
        typer.echo(note)
    typer.echo(f"\n{machine()}, {started:%Y-%m-%d}")
    if json_file is not None:
        document = as_document(findings, started)
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def as_table(figures: Sequence[Figure]) -> str:
    """Give plain text, a line a figure."""
    rows = [_HEADINGS, *map(_row, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([*map(str.ljust, row[:_LEFT], widths[:_LEFT]), *map(str.rjust, row[_LEFT:], widths[_LEFT:])]).rstrip()
        for row in rows
    )


def as_document(findings: Findings, started: datetime) -> dict[str, Any]:
    """Give everything that was measured, ready for JSON."""
    return {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "date": started.isoformat(timespec="seconds"),
        "machine": machine(),
        "settings": dict(findings.settings),
        "figures": [
            {
                "name": figure.name,
                "unit": figure.unit,
                "values": list(figure.values),
                "median": figure.median,
                "min": min(figure.values),
                "max": max(figure.values),
                "aim": None if figure.aim is None else str(figure.aim),
                "met": figure.met,
            }
            for figure in findings.figures
        ],
        "curves": {name: [list(point) for point in points] for name, points in findings.curves.items()},
    }


def tell(text: str) -> None:
    """Show on a terminal what is being measured, in one line that is written again and again."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def quantile(ordered: Sequence[float], share: float) -> float:
    """Give the least value that at least `share` of all values do not exceed (nearest rank).

    Args:
        ordered: In rising order, not empty.
        share: From 0 to 1.
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _row(figure: Figure) -> tuple[str, ...]:
    least, most = min(figure.values), max(figure.values)
    return (
        figure.name,
        figure.unit,
        "" if figure.aim is None else str(figure.aim),
        _number(figure.median),
        _number(least) if least == most else f"{_number(least)}..{_number(most)}",
        str(len(figure.values)),
        {None: "", True: "yes", False: "no"}[figure.met],
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= _WHOLE_FROM or value == round(value) else f"{value:.2f}"
