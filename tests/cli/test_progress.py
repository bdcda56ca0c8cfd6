"""The progress line."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from actorstream import Pipeline
from actorstream.cli.progress import Progress


async def test_the_line_says_status_rate_and_checkpoints() -> None:
    """What one glances at: is it running, how fast, when was the last checkpoint."""
    pipeline = Pipeline("words")
    pipeline.source(["a", "b"]).sink(lambda _: None)
    async with pipeline.run(checkpoint_interval=None) as job:
        await job.wait()
        line = Progress("words", Console(file=StringIO())).line(job)
    parts = line.split(" | ")
    assert parts[0] == "words: finished"
    assert parts[2].startswith("2 records, ")
    assert parts[3].startswith("1 checkpoints, the last in ")


async def test_a_terminal_gets_the_line_and_is_left_clean() -> None:
    """Elsewhere nothing is written: a service's log is no place for it."""
    shown = {}
    for terminal in (True, False):
        file = StringIO()
        pipeline = Pipeline("words")
        pipeline.source(["a", "b"]).sink(lambda _: None)
        with Progress("words", Console(file=file, force_terminal=terminal, width=200)) as progress:
            async with pipeline.run(checkpoint_interval=None) as job:
                await job.wait()
                progress.show(job)
        shown[terminal] = file.getvalue()
    assert "words: finished" in shown[True]
    assert shown[False] == ""
