"""One line about a running job, renewed in place on a terminal and absent elsewhere."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from actorstream.api.job import Job

_RATE_READINGS = 9
"""The rate is that of the last eight quarters of a second."""


class Progress:
    """Shows a job on `console`. Use it in `with`."""

    def __init__(self, name: str, console: Console) -> None:
        """Show nothing yet."""
        self._name = name
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._readings: deque[tuple[float, int]] = deque(maxlen=_RATE_READINGS)

    def __enter__(self) -> Self:
        """Begin."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Clear the line."""
        if self._live is not None:
            self._live.stop()

    def show(self, job: Job) -> None:
        """Renew the line."""
        if self._live is None or job.status == "failed":
            return
        self._live.update(Text(self.line(job), overflow="ellipsis", no_wrap=True), refresh=True)

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
