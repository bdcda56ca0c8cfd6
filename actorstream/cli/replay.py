"""`actorstream replay module:pipeline --from ... --until ... --into DIR`: what was recorded, once more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from actorstream.api.script import loop_factory
from actorstream.cli.loading import load_pipeline
from actorstream.cli.progress import ReplayLine
from actorstream.cli.running import calm_collector
from actorstream.cli.span import start_of, until_of
from actorstream.evolve import replay as replay_pipeline

if TYPE_CHECKING:
    from actorstream.api.job import Summary

START = Annotated[
    str,
    typer.Option("--from", metavar="SAVEPOINT|earliest|TIME", help="Where it begins; a savepoint brings its state."),
]
UNTIL = Annotated[str, typer.Option("--until", metavar="now|TIME", help="Where it ends; exclusive.")]
INTO = Annotated[
    str, typer.Option("--into", metavar="DIR", help="Where output logs go: a new folder, or an unfinished replay's.")
]


def replay(
    pipeline: Annotated[str, typer.Argument(metavar="MODULE:PIPELINE", help="A Pipeline, or what builds one.")],
    *,
    start: START,
    into: INTO,
    until: UNTIL = "now",
) -> None:
    """Run a pipeline over a stretch of its logs, in one order: repeated, it writes the same bytes."""
    program = load_pipeline(pipeline)
    span = start_of(start), until_of(until)

    async def run(line: ReplayLine) -> Summary:
        return await replay_pipeline(program, start=span[0], until=span[1], into=into, progress=line.show)

    calm_collector()
    with (
        ReplayLine(program.name, Console(stderr=True)) as line,
        asyncio.Runner(loop_factory=loop_factory()) as runner,
    ):
        summary = runner.run(run(line))
    typer.echo(
        f"{program.name}: {summary.records_in:,} records in, {summary.records_out:,} out, in {into}, "
        f"{summary.seconds:.1f} s"
    )
