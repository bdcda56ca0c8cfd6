"""From where to where a replay goes, as words of a command line, and the line that shows how far it has come.

--from   a savepoint's folder | earliest | a time         --until   now | a time
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Self

from rich.live import Live
from rich.text import Text

from actorstream.errors import PlanError

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from actorstream.evolve import ReplayProgress


def start_of(text: str) -> str | datetime | float:
    """Read `--from`.

    Raises:
        PlanError: It is no word, time or folder.
    """
    if text == "earliest":
        return text
    at = _time(text)
    if at is not None:
        return at
    if os.path.isdir(text):
        return text
    raise PlanError(f"--from {text}: expected the folder of a savepoint, earliest, or a time such as {_EXAMPLE}")


def until_of(text: str) -> Literal["now"] | datetime | float:
    """Read `--until`.

    Raises:
        PlanError: It is neither the word nor a time.
    """
    if text == "now":
        return "now"
    at = _time(text)
    if at is None:
        raise PlanError(f"--until {text}: expected now, or a time such as {_EXAMPLE}")
    return at


_EXAMPLE = "2026-11-23T08:00:00+00:00, or Unix seconds"


def _time(text: str) -> datetime | float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


class ReplayLine:
    """One line about a replay, renewed in place on a terminal and absent elsewhere. Use it in `with`."""

    def __init__(self, name: str, console: Console) -> None:
        """Show nothing yet."""
        self._name = name
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

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

    def show(self, progress: ReplayProgress) -> None:
        """Renew the line."""
        if self._live is not None:
            self._live.update(Text(line_of(self._name, progress), overflow="ellipsis", no_wrap=True), refresh=True)


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
