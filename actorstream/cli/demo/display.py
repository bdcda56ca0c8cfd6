"""The drill while it runs: a live panel on a terminal, a line a second anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from actorstream.cli.live_area import LiveArea

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from actorstream.cli.demo.drill import Drill

_BAR_WIDTH = 40


class Display(LiveArea):
    """Shows a drill on `console`. Use it in `with`, and call `show` as often as you like."""

    def __init__(self, console: Console) -> None:
        """Show nothing yet."""
        super().__init__(console)
        self._console = console
        self._next_line = 1.0
        self._kills = 0

    def show(self, drill: Drill) -> None:
        """Show how far the drill is."""
        if self.is_there:
            self.renew(_panel(drill))
            return
        while self._kills < len(drill.kills):
            kill = drill.kills[self._kills]
            self._kills += 1
            self._line(f"{kill.at_seconds:5.1f} s  SIGKILL, with {kill.behind:,} payments behind")
        if drill.elapsed >= self._next_line:
            self._next_line = int(drill.elapsed) + 1.0
            self._line(
                f"{drill.elapsed:5.1f} s  {drill.feeder.appended:,} appended, {drill.committed:,} committed, "
                f"lag {drill.lag:,}, {len(drill.checkpoints.seen)} checkpoints"
            )

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)


def _panel(drill: Drill) -> RenderableType:
    bars = Table.grid(padding=(0, 2))
    total = drill.feeder.total
    for name, count in (("appended", drill.feeder.appended), ("committed", drill.committed)):
        bars.add_row(name, ProgressBar(total, count, width=_BAR_WIDTH), f"{count:>9,}")
    checkpoints = drill.checkpoints.seen
    newest = checkpoints[max(checkpoints)] if checkpoints else None
    lines = [Text(f"{drill.elapsed:5.1f} s   lag {drill.lag:,}   {len(checkpoints)} checkpoints", style="bold")]
    if newest is not None:
        lines[0].append(f", the last in {newest.seconds * 1000:.0f} ms", style="not bold")
    for kill in drill.kills:
        back = "starting" if kill.recovery_seconds is None else f"back after {kill.recovery_seconds:.2f} s"
        text = f"{kill.at_seconds:5.1f} s   SIGKILL with {kill.behind:,} payments behind, {back}"
        lines.append(Text(text, style="yellow" if kill.recovery_seconds is None else ""))
    return Group(bars, *lines)
