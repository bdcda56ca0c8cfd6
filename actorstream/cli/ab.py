"""`actorstream ab module:a module:b --from ... --until ... --into DIR`: what two pipelines make of the same records."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from actorstream.api.script import loop_factory
from actorstream.cli.error_text import DIFFERENT, errors_leave_with_2
from actorstream.cli.loading import load_pipeline
from actorstream.cli.log import field_of
from actorstream.cli.replay import INTO, START, UNTIL  # noqa: TC001  (typer looks them up)
from actorstream.cli.running import calm_collector
from actorstream.cli.span import start_of, until_of
from actorstream.evolve import ab as replay_both

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.evolve import Comparison


def ab(  # noqa: PLR0913  (the options of a command)
    ctx: typer.Context,
    a: Annotated[str, typer.Argument(metavar="MODULE:A", help="A Pipeline, or what builds one.")],
    b: Annotated[str, typer.Argument(metavar="MODULE:B", help="Another one.")],
    *,
    start: START,
    into: INTO,
    until: UNTIL = "now",
    key: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Hold a FIELD's k-th record in A against its k-th in B.")
    ] = None,
) -> None:
    """Replay two pipelines over the same records, and compare the logs that both write.

    Leaves with 0 if these are equal, 1 if they differ, 2 if that cannot be said.
    """
    with errors_leave_with_2(ctx):
        found = _replayed(a, b, (start, until), into, key)
    for name, comparison in found.items():
        typer.echo(f"{name}: {comparison}")
    if not all(found.values()):
        raise typer.Exit(DIFFERENT)


def _replayed(a: str, b: str, span: tuple[str, str], into: str, key: str | None) -> Mapping[str, Comparison]:
    first, second = load_pipeline(a), load_pipeline(b)
    start, until = start_of(span[0]), until_of(span[1])
    by = None if key is None else field_of(key)

    async def run() -> Mapping[str, Comparison]:
        return await replay_both(first, second, start=start, until=until, into=into, key=by)

    calm_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(run())
