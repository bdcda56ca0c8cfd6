"""The drill as it is seen while it runs."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console

from actorstream.cli.demo.display import Display
from actorstream.cli.demo.drill import Drill, Kill, Order
from actorstream.cli.demo.outside import Checkpoint
from actorstream.model.ids import CheckpointId

if TYPE_CHECKING:
    from pathlib import Path


def drill(folder: Path) -> Drill:
    made = Drill(Order(str(folder), rate=1_000, seconds=2, kills=1, seed=1))
    made.elapsed, made.feeder.appended, made.committed = 1.2, 1_200, 900
    return made


def test_without_a_terminal_there_is_a_line_a_second_and_one_for_each_kill(tmp_path: Path) -> None:
    """A build's log must stay readable: no control codes, no redrawing."""
    file, shown = StringIO(), drill(tmp_path)
    with Display(Console(file=file, soft_wrap=True)) as display:
        display.show(shown)
        shown.elapsed = 1.4
        display.show(shown)
        shown.kills.append(Kill(1.4, 350))
        display.show(shown)
    assert file.getvalue().splitlines() == [
        "  1.2 s  1,200 appended, 900 committed, lag 300, 0 checkpoints",
        "  1.4 s  SIGKILL, with 350 payments behind",
    ]


def test_a_terminal_shows_bars_checkpoints_and_kills(tmp_path: Path) -> None:
    file, shown = StringIO(), drill(tmp_path)
    shown.checkpoints.seen[CheckpointId(3)] = Checkpoint(3, 0.025, 4_096)
    shown.kills = [Kill(0.5, 350, 0.61), Kill(1.1, 200)]
    with Display(Console(file=file, force_terminal=True, width=100)) as display:
        display.show(shown)
    text = file.getvalue()
    for part in ("appended", "1,200", "lag 300", "in 25 ms", "350 payments behind, back after 0.61 s", "starting"):
        assert part in text
