"""The command: plays the story, says what was found."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from actorstream.cli.demo.evolve.story import Story
from actorstream.cli.demo.folder import demo_folder, leave
from actorstream.cli.running import calm_collector


def evolve(
    *,
    day: Annotated[int, typer.Option(min=1, help="Bookings a day, of which there are four.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Which bookings.")] = 1,
    keep: Annotated[str | None, typer.Option(metavar="DIR", help="Keep logs and store in this new folder.")] = None,
) -> None:
    """Mend a bug in a running job, and repair what it had written: state kept, every record compared."""
    calm_collector()
    console = Console(soft_wrap=True)

    def say(act: str, what: str) -> None:
        console.print(f"{act:10} {what}", markup=False, highlight=False)

    with demo_folder(keep) as folder:
        verdict = asyncio.run(Story(folder, day, seed, say).tell())
    say(
        "verdict",
        f"{verdict.wrong_before:,} statements were wrong, {verdict.comparison.different:,} were mended; of all now: "
        f"lost {verdict.lost}, doubled {verdict.doubled}, wrong {verdict.wrong}",
    )
    leave(console, folder, kept=keep is not None, right=verdict.right)
    raise typer.Exit(0 if verdict.right else 1)
