"""`actorstream compare A B`: what two logs hold in common, for people and for scripts.

Status, as of cmp(1) and diff(1): 0 equal, 1 different, 2 an error.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from actorstream.cli.error_text import DIFFERENT, errors_leave_with_2
from actorstream.cli.json_lines import to_json
from actorstream.cli.log import field_of
from actorstream.cli.tables import print_table
from actorstream.eventlog.untyped import open_untyped
from actorstream.evolve.comparison import SAMPLES, Comparison, counts_text
from actorstream.evolve.comparison import compare as compare_logs


def compare(  # noqa: PLR0913  (options of a command)
    ctx: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="A log's folder.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another log's folder.")],
    *,
    key: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Hold a FIELD's k-th record in A against its k-th in B.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="FIELD", help="Does not count; may be repeated.")] = None,
    samples: Annotated[int, typer.Option(min=0, help="Show so many of what differs.")] = SAMPLES,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON instead of words.")] = False,
) -> None:
    """Compare two logs. Leaves with 0 if they are equal, 1 if they differ, 2 if that cannot be said."""
    with errors_leave_with_2(ctx):
        found = asyncio.run(_compare(a, b, key, ignore or [], samples))
    if json:
        fields = found._asdict()
        fields["samples"] = [dict(zip(("key", "a", "b"), sample, strict=True)) for sample in found.samples]
        typer.echo(to_json({"equal": bool(found), **fields}))
    else:
        _show(found, keyed=key is not None)
    if not found:
        raise typer.Exit(DIFFERENT)


async def _compare(a: str, b: str, key: str | None, ignore: list[str], samples: int) -> Comparison:
    by = None if key is None else field_of(key)
    async with open_untyped(a) as log_a, open_untyped(b) as log_b:
        return await compare_logs(log_a, log_b, key=by, ignore=ignore, samples=samples)


def _show(found: Comparison, *, keyed: bool) -> None:
    typer.echo(counts_text(found))
    if not found.samples:
        return
    rows = [[*([to_json(key)] if keyed else []), _cell(a), _cell(b)] for key, a, b in found.samples]
    print_table([*(["key"] if keyed else []), "A", "B"], rows)
    hidden = found.only_a + found.only_b + found.different - len(rows)
    if hidden:
        typer.echo(f"and {hidden:,} more")


def _cell(value: object) -> str:
    return "-" if value is None else to_json(value)
