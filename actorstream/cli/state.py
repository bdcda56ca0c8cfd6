"""`actorstream state`: what is in a checkpoint or savepoint. Takes no lock, changes nothing; a job may run meanwhile.

show      operators, states, types, how much
get       one key
diff      where two snapshots differ; status 1 if they do
export    every item, in JSON lines
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from actorstream.cli.json_lines import to_json
from actorstream.cli.key_text import key_of_text
from actorstream.cli.loading import load_pipeline
from actorstream.cli.manifest_text import instant_text
from actorstream.cli.schema_text import schema_text
from actorstream.cli.tables import print_table
from actorstream.evolve.snapshot_diff import differences
from actorstream.evolve.snapshots import open_snapshot

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from actorstream.checkpoints.manifest import StateEntry
    from actorstream.evolve.offline_state import OfflineState
    from actorstream.evolve.snapshot_diff import Side
    from actorstream.evolve.snapshots import Snapshot

app = typer.Typer(help="Read the state in a checkpoint or savepoint; changes nothing.", no_args_is_help=True)

_Path = Annotated[
    str,
    typer.Argument(
        metavar="PATH", help="A savepoint's folder, a job's (its newest checkpoint), or <job>/checkpoints/<id>."
    ),
]
_Pipeline = Annotated[
    str | None,
    typer.Option("--pipeline", metavar="MODULE:ATTRIBUTE", help="Whose classes are loaded, for Enums among keys."),
]
_Operator = Annotated[str | None, typer.Option("--operator", metavar="NAME", help="Only this operator.")]
_State = Annotated[str | None, typer.Option("--state", metavar="NAME", help="Only states of this name.")]


@app.command()
def show(
    path: _Path, operator: Annotated[str | None, typer.Argument(metavar="OPERATOR", help="Only this one.")] = None
) -> None:
    """Say which states there are, of what type, and how much is in them; reads every entry."""
    with open_snapshot(path) as snapshot:
        manifest = snapshot.manifest
        final = ", final" if manifest.final else ""
        typer.echo(f"checkpoint {manifest.checkpoint} of pipeline {manifest.pipeline}{final}")
        typer.echo(f"taken {instant_text(manifest.created_us)} UTC, max parallelism {manifest.max_parallelism}")
        rows = [
            [name, state, entry.kind, _type(entry), *_counted(snapshot.state(name, state), snapshot)]
            for name in ([operator] if operator is not None else snapshot.operators)
            for state, entry in snapshot.states(name).items()
        ]
    print_table(["operator", "state", "kind", "type", "entries", "bytes", "key groups"], rows)


@app.command()
def get(
    path: _Path,
    operator: Annotated[str, typer.Argument(metavar="OPERATOR")],
    state: Annotated[str, typer.Argument(metavar="STATE")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="As JSON; a tuple as a list.")],
    *,
    pipeline: _Pipeline = None,
) -> None:
    """Write what a key has, as JSON; status 1 if it has nothing."""
    nothing = object()
    with _open(path, pipeline) as snapshot:
        found = snapshot.state(operator, state)
        like = next((found.of.key_of(item) for item, _ in found.items()), None)
        value = nothing if like is None else found.get(key_of_text(key, like), nothing)
    if value is nothing or (value == {} and found.kind in {"map", "timers", "slices"}):
        typer.echo(f"{operator}.{state} has nothing under {key}", err=True)
        raise typer.Exit(1)
    typer.echo(to_json(value))


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A snapshot: see `state show`.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    *,
    operator: _Operator = None,
    state: _State = None,
    samples: Annotated[int, typer.Option(min=0, help="Show so many items of each state.")] = 10,
    pipeline: _Pipeline = None,
) -> None:
    """Compare two snapshots, item by item; status 1 if they differ."""
    equal, compared = True, 0
    with _open(a, pipeline) as left, _open(b, pipeline) as right:
        for found in differences(left, right, operator=operator, name=state, samples=samples):
            compared += 1
            equal = equal and bool(found)
            typer.echo(
                f"{found.operator}.{found.name}: {found.same:,} same, {found.different:,} different, "
                f"{found.only_a:,} only in A, {found.only_b:,} only in B"
            )
            for side_a, side_b in found.samples:
                item = next(side[0] for side in (side_a, side_b) if side is not None)
                typer.echo(f"  {to_json(item)}: {_side(side_a)} -> {_side(side_b)}")
    if not compared:
        typer.echo("neither has such a state", err=True)
    if not (equal and compared):
        raise typer.Exit(1)


@app.command()
def export(
    path: _Path,
    *,
    operator: _Operator = None,
    state: _State = None,
    format_: Annotated[Literal["jsonl"], typer.Option("--format", help="One JSON object a line.")] = "jsonl",
    pipeline: _Pipeline = None,
) -> None:
    """Write every item: operator, state, key, value. The key of a map's entry is a list of both its keys."""
    del format_  # there is one
    with _open(path, pipeline) as snapshot:
        for name in [operator] if operator is not None else snapshot.operators:
            for each in snapshot.states(name):
                if state is None or each == state:
                    head = f'{{"operator":{to_json(name)},"state":{to_json(each)},"key":'
                    for item, value in snapshot.state(name, each).items():
                        sys.stdout.write(f'{head}{to_json(item)},"value":{to_json(value)}}}\n')
    sys.stdout.flush()


def _open(path: str, pipeline: str | None) -> AbstractContextManager[Snapshot]:
    return open_snapshot(path, pipeline=None if pipeline is None else load_pipeline(pipeline))


def _counted(state: OfflineState, snapshot: Snapshot) -> list[str]:
    entries = size = groups = 0
    for group in range(snapshot.manifest.max_parallelism):
        before = entries
        for _, parts, value in state.rows_in(group, state.of.between(None, None)):
            entries += 1
            size += len(parts) + len(value)
        groups += entries > before
    return [f"{entries:,}", f"{size:,}", f"{groups:,}"]


def _type(entry: StateEntry) -> str:
    """Say of which type values are, and of how many others there may be some."""
    text = schema_text(entry.shape)
    if entry.map_key is not None:
        text = f"{schema_text(entry.map_key)} -> {text}"
    return f"{text}, and {len(entry.older)} older" if entry.older else text


def _side(side: Side) -> str:
    return "nothing" if side is None else to_json(side[1])
