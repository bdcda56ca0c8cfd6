"""One line about a running job or replay, renewed in place on a terminal and absent elsewhere."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from rich.text import Text

from actorstream.cli.live_area import LiveArea

if TYPE_CHECKING:
    from rich.console import Console

    from actorstream.api.job import Job
    from actorstream.evolve import ReplayProgress

_RATE_READINGS = 9
"""The rate is that of the last eight quarters of a second."""


class Progress(LiveArea):
    """Shows a job on `console`. Use it in `with`."""

    def __init__(self, name: str, console: Console) -> None:
        """Show nothing yet."""
        self._name = name
        super().__init__(console)
        self._readings: deque[tuple[float, int]] = deque(maxlen=_RATE_READINGS)

    def show(self, job: Job) -> None:
        """Renew the line."""
        if self.is_there and job.status != "failed":
            self.renew(_in_one(self.line(job)))

    def line(self, job: Job) -> str:
        """Give the line as text."""
        summary, metrics = job.summary(), job.metrics()
        self._readings.append((summary.seconds, summary.records_in))
        (start, before), (end, now) = self._readings[0], self._readings[-1]
        rate = (now - before) / (end - start) if end > start else 0.0
        parts = [
            f"{self._name}: {job.status}",
            f"{summary.seconds:,.0f} s",
            f"{summary.records_in:,} records, {rate:,.0f}/s",
            f"{summary.checkpoints} checkpoints",
        ]
        if summary.checkpoints:
            parts[-1] += f", the last in {metrics['job.last_checkpoint_seconds'] * 1000:,.0f} ms"
        if summary.restarts:
            parts.append(f"{summary.restarts} restarts")
        return " | ".join(parts)


class ReplayLine(LiveArea):
    """Shows a replay on `console`. Use it in `with`."""

    def __init__(self, name: str, console: Console) -> None:
        """Show nothing yet."""
        self._name = name
        super().__init__(console)

    def show(self, progress: ReplayProgress) -> None:
        """Renew the line."""
        self.renew(_in_one(line_of(self._name, progress)))


def line_of(name: str, progress: ReplayProgress) -> str:
    """Give the line as text."""
    share = progress.records / progress.of if progress.of else 1.0
    rate = progress.records / progress.seconds if progress.seconds else 0.0
    parts = [
        f"replay of {name}",
        f"{progress.records:,} of {progress.of:,} records, {share:.0%}",
        f"{rate:,.0f}/s",
    ]
    if progress.eta is not None:
        parts.append(f"{progress.eta:,.0f} s to go")
    return " | ".join(parts)


def _in_one(line: str) -> Text:
    return Text(line, overflow="ellipsis", no_wrap=True)
