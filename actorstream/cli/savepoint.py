"""`actorstream savepoint`: make, look at, move and delete snapshots that belong to people.

create             of a store's newest checkpoint, beside a job that may be running
list show verify   change nothing
delete             the only way in which one goes
export import      one file, with digests, for another machine
"""

from __future__ import annotations

import asyncio
from os.path import abspath, basename, join
from typing import TYPE_CHECKING, Annotated

import typer

from actorstream.checkpoints.archive import export_savepoint
from actorstream.checkpoints.finding import find_store
from actorstream.checkpoints.savepoints import (
    MANIFEST,
    SnapshotPlace,
    delete_savepoint,
    find_snapshot,
    read_snapshot,
    verify_snapshot,
)
from actorstream.checkpoints.unpacking import import_savepoint
from actorstream.checkpoints.view import StoreView
from actorstream.cli.manifest_text import instant_text, manifest_lines
from actorstream.cli.tables import print_table
from actorstream.codec.documents import encode_json
from actorstream.errors import StoreError
from actorstream.evolve.keeping import keep_registered
from actorstream.evolve.registering import forget, register
from actorstream.model.ids import CheckpointId
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from actorstream.checkpoints.manifest import Manifest

app = typer.Typer(help="Savepoints: snapshots of a job that are yours.", no_args_is_help=True)

_Store = Annotated[
    str, typer.Argument(metavar="STORE", help="A job's folder, <store>/<pipeline>, or a store that holds one job.")
]
_Folder = Annotated[str, typer.Argument(metavar="SAVEPOINT", help="The savepoint's folder.")]


@app.command()
def create(
    store: _Store,
    name: Annotated[str, typer.Argument(help="Letters, digits, dots, dashes and underscores.")],
    *,
    checkpoint: Annotated[int | None, typer.Option(min=1, help="Of this checkpoint; the newest if not given.")] = None,
) -> None:
    """Make a savepoint of a checkpoint. The job may be running; `job.savepoint(name)` takes one of this moment."""
    files = current_world().files
    view = StoreView(files, find_store(files, store))
    number = None if checkpoint is None else CheckpointId(checkpoint)
    place, manifest = keep_registered(files, view, name, number)
    typer.echo(f"{place.folder}: {_described(manifest)}")


@app.command("list")
def list_(store: _Store) -> None:
    """List a store's savepoints."""
    files = current_world().files
    root = find_store(files, store)
    folders = [join(root, "savepoints", name) for name in StoreView(files, root).savepoint_names()]
    print_table(
        ["savepoint", "snapshot", "attempt", "taken", "layers", "bytes", "state"], [_row(each) for each in folders]
    )


@app.command()
def show(
    folder: _Folder, *, json: Annotated[bool, typer.Option("--json", help="The manifest as it is.")] = False
) -> None:
    """Show what a savepoint consists of."""
    _, manifest = _read(folder)
    typer.echo(encode_json(manifest).decode().rstrip() if json else "\n".join(manifest_lines(manifest)))


@app.command()
def verify(folder: _Folder) -> None:
    """Read every file of a savepoint and say what is wrong; status 1 if anything is."""
    place, manifest = _read(folder)
    problems = verify_snapshot(current_world().files, place, manifest)
    for line in problems or [f"good: {_described(manifest)}"]:
        typer.echo(line)
    if problems:
        raise typer.Exit(1)


@app.command()
def delete(folder: _Folder) -> None:
    """Delete a savepoint, and let the logs that it reads from forget it."""
    files = current_world().files
    manifest = None
    if files.exists(join(abspath(folder), MANIFEST)):
        try:
            _, manifest = _read(folder)
        except StoreError as error:
            typer.echo(f"what logs keep for it stays: {error}", err=True)
    delete_savepoint(files, abspath(folder))
    if manifest is not None:
        _forget(abspath(folder), manifest)
    typer.echo(f"{folder} was deleted")


@app.command("export")
def export(
    folder: _Folder, file: Annotated[str, typer.Argument(metavar="FILE", help="Must not exist; .tar.zst by custom.")]
) -> None:
    """Write a savepoint into one file, verified on the way."""
    world = current_world()
    began = world.clock.monotonic()
    exported = export_savepoint(world.files, abspath(folder), abspath(file), token=world.random.token())
    seconds = world.clock.monotonic() - began
    typer.echo(f"{file}: {_described(exported.manifest)}, packed into {exported.archive_bytes:,} in {seconds:.1f} s")


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `export` wrote.")],
    folder: Annotated[str, typer.Argument(metavar="SAVEPOINT", help="The folder to make.")],
) -> None:
    """Unpack a savepoint, after proving that it is one, whole and harmless; logs that are here keep what it needs."""
    world = current_world()
    began = world.clock.monotonic()
    manifest = import_savepoint(world.files, abspath(file), abspath(folder))
    for path, error in asyncio.run(register(abspath(folder), manifest)).items():
        typer.echo(f"the log {path} was not told to keep what it needs: {error}", err=True)
    typer.echo(f"{folder}: {_described(manifest)}, in {world.clock.monotonic() - began:.1f} s")


def _read(folder: str) -> tuple[SnapshotPlace, Manifest]:
    files = current_world().files
    place = find_snapshot(files, abspath(folder))
    return place, read_snapshot(files, place)


def _row(folder: str) -> list[str]:
    try:
        _, manifest = _read(folder)
    except StoreError as error:
        return [basename(folder), *[""] * 5, str(error)]
    return [
        basename(folder),
        str(manifest.checkpoint),
        str(manifest.attempt),
        instant_text(manifest.created_us),
        str(len(manifest.layers)),
        f"{_bytes(manifest):,}",
        "drained" if manifest.drained else "good",
    ]


def _described(manifest: Manifest) -> str:
    layers = len(manifest.layers)
    return f"snapshot {manifest.checkpoint} of {manifest.pipeline}, {layers} layers, {_bytes(manifest):,} bytes"


def _bytes(manifest: Manifest) -> int:
    return sum(layer.size for layer in manifest.layers)


def _forget(folder: str, manifest: Manifest) -> None:
    for path, (name, error) in asyncio.run(forget(folder, manifest)).items():
        typer.echo(f"the log {path} was not told: {error}; `actorstream log consumers` drops {name}", err=True)
