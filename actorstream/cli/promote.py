"""`actorstream promote LOG REPLACEMENT`: says what will change, asks, and lets the replacement take the log's place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from actorstream.cli.tables import print_table
from actorstream.eventlog.untyped import open_untyped
from actorstream.evolve.promotion import Outlook, promote_seen

if TYPE_CHECKING:
    from collections.abc import Callable


def promote(
    log: Annotated[str, typer.Argument(metavar="LOG", help="The folder whose place is taken.")],
    replacement: Annotated[
        str, typer.Argument(metavar="REPLACEMENT", help="The log that takes it; it stays as it is.")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Let another log's records take a log's place, at once; what was there is kept beside it."""
    before = asyncio.run(_promote(log, replacement, _asking(yes=yes)))
    if before is None:
        typer.echo("nothing has changed", err=True)
        raise typer.Exit(1)
    typer.echo(f"{log} was promoted; as it was, it lies in {before}")


async def _promote(log: str, replacement: str, agreed: Callable[[Outlook], bool]) -> str | None:
    async with open_untyped(log) as mine:
        return await promote_seen(mine, replacement, agreed)


def _asking(*, yes: bool) -> Callable[[Outlook], bool]:
    def agreed(outlook: Outlook) -> bool:
        _show(outlook)
        return yes or typer.confirm("Promote?")

    return agreed


def _show(outlook: Outlook) -> None:
    rows, anew = [], 0
    for partition, differs in enumerate(outlook.differs):
        end, replacement_end = outlook.ends[partition], outlook.replacement_ends[partition]
        differing = end > differs or replacement_end > differs
        anew += max(0, end - differs)
        rows.append([str(partition), f"{end:,}", f"{replacement_end:,}", f"{differs:,}" if differing else "-"])
    print_table(["partition", "log ends at", "replacement ends at", "first difference"], rows)
    if anew:
        typer.echo(f"readers that have read all go back by {anew:,} records, to the first that differs")
    else:
        typer.echo("readers just go on: the replacement begins with all that the log has")
