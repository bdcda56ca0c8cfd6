"""Curves as SVG files: the only module that imports matplotlib, which only those who measure need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator

from benchmarks.machine import machine

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.figures import Findings

_INCHES = (7.0, 4.0)
_FAINT = "#888888"


def draw_latency(path: Path, findings: Findings) -> None:
    """Draw a line a run: how long the slower part of all records took, the slowest of 1,000 and so on to the right."""
    rate, interval = findings.settings["rate"], findings.settings["checkpoint_interval"]
    canvas, axes = _axes(f"Latency at {rate:,g} events/s, a checkpoint every {interval:g} s")
    for name, points in findings.curves.items():
        axes.plot([1 / share for share, _ in points], [ms for _, ms in points], label=name, linewidth=1.2)
    axes.set(xscale="log", yscale="log", xlabel="percentile", ylabel="ms from the moment an event was due")
    axes.set_xticks([1, 2, 10, 100, 1_000, 10_000], ["0", "p50", "p90", "p99", "p99.9", "p99.99"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    _draw_aim(axes, 5.0, "aim for p99: 5 ms")
    axes.legend(frameon=False, fontsize=8)
    _save(canvas, path)


def draw_restart(path: Path, findings: Findings) -> None:
    """Draw the time from exec to the first new record by the number of keys, at a scale that begins at 0."""
    canvas, axes = _axes("Restart: exec to the first new record")
    points = findings.curves["restart"]
    axes.plot([keys for keys, _ in points], [seconds for _, seconds in points], marker="o", linewidth=1.2)
    axes.set(xscale="log", xlabel="keys of about 100 bytes in the store", ylabel="seconds")
    axes.set_ylim(0, 1.2 * max(1.0, *(seconds for _, seconds in points)))
    _draw_aim(axes, 1.0, "aim: 1 s")
    _save(canvas, path)


def draw_rescale(path: Path, findings: Findings) -> None:
    """Draw how long each takes by the number of keys: pauses of a rescale as lines, the rest dashed."""
    rate = findings.settings["rate"]
    canvas, axes = _axes(f"Live rescale at {rate:,g} records/s, restore, fork, restart and savepoint")
    for name, points in findings.curves.items():
        style = "-" if name.startswith("rescale") else "--"
        axes.plot(*zip(*points, strict=True), label=name, marker="o", markersize=3, linestyle=style, linewidth=1.2)
    axes.set(xscale="log", xlabel="keys in the store", ylabel="ms")
    axes.set_ylim(0, 1.2 * max(500.0, *(ms for points in findings.curves.values() for _, ms in points)))
    _draw_aim(axes, 500.0, "aim for the pause: 500 ms")
    axes.legend(frameon=False, fontsize=8)
    _save(canvas, path)


def _axes(title: str) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=_INCHES, layout=ConstrainedLayoutEngine(rect=(0, 0.03, 1, 0.97)))
    axes = canvas.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.grid(visible=True, which="major", linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    canvas.text(0.01, 0.005, machine(), fontsize=6, color=_FAINT)
    return canvas, axes


def _draw_aim(axes: Axes, value: float, words: str) -> None:
    axes.axhline(value, color=_FAINT, linestyle="--", linewidth=0.8)
    axes.annotate(words, (0.01, value), xycoords=("axes fraction", "data"), fontsize=7, color=_FAINT, va="bottom")


def _save(canvas: Canvas, path: Path) -> None:
    """Write text as text, and nothing that changes with each run but the curve."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "actorstream"}):
        canvas.savefig(path, format="svg", metadata={"Date": None})
