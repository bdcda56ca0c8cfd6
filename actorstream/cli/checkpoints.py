"""`actorstream checkpoints`: what is in a store. Takes no lock and changes nothing, so a job may run meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from actorstream.checkpoints.finding import find_store
from actorstream.checkpoints.keeping import newest_of
from actorstream.checkpoints.lease import Lease
from actorstream.checkpoints.view import StoreView
from actorstream.cli.manifest_text import instant_text, manifest_lines
from actorstream.cli.tables import print_table
from actorstream.codec.documents import encode_json
from actorstream.errors import StoreError
from actorstream.model.ids import CheckpointId
from actorstream.protocol.attempts import is_void
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.protocol.recovery import ManifestFact

app = typer.Typer(help="Look into a checkpoint store; changes nothing.", no_args_is_help=True)

_Folder = Annotated[
    str, typer.Argument(metavar="DIR", help="A job's folder, <store>/<pipeline>, or a store that holds one job.")
]
_Number = Annotated[int | None, typer.Argument(min=1, help="A checkpoint's number; the newest if not given.")]


@app.command("list")
def list_(folder: _Folder) -> None:
    """List the checkpoints: who took them, when, how large, and whether they can be restored."""
    store = _Store(folder)
    rows = [row for fact in store.view.manifests() if (row := store.row(fact)) is not None]
    print_table(["checkpoint", "attempt", "taken", "duration", "layers", "bytes", "state"], rows)


@app.command()
def show(
    folder: _Folder,
    checkpoint: _Number = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="The manifest as it is.")] = False,
) -> None:
    """Show what a checkpoint consists of."""
    store = _Store(folder)
    manifest = store.view.read(CheckpointId(checkpoint) if checkpoint is not None else store.newest())
    typer.echo(encode_json(manifest).decode().rstrip() if json else "\n".join(manifest_lines(manifest)))


@app.command()
def verify(
    folder: _Folder, checkpoint: Annotated[int | None, typer.Argument(min=1, help="Only this one.")] = None
) -> None:
    """Read every file that checkpoints list and say what is wrong; status 1 if anything is."""
    store = _Store(folder)
    chosen = [CheckpointId(checkpoint)] if checkpoint is not None else store.numbers()
    if not chosen:
        raise StoreError(f"{store.root} holds no complete checkpoint")
    wrong = False
    for number in chosen:
        problems, good = store.problems(number)
        if problems and checkpoint is None and number not in store.numbers():
            continue  # the running job deleted it while it was read
        wrong = wrong or bool(problems)
        for line in problems or [good]:
            typer.echo(f"checkpoint {number}: {line}")
    if wrong:
        raise typer.Exit(1)


class _Store:
    """One job's store, opened for looking."""

    def __init__(self, folder: str) -> None:
        """Find the job: `folder` itself, or the only one in it."""
        self._files = files = current_world().files
        self.root = root = find_store(files, folder)
        self.view = StoreView(files, root)
        self._claims = Lease(files, root).claims()

    def numbers(self) -> list[CheckpointId]:
        """Give every checkpoint that is, or was, published."""
        return [fact.checkpoint for fact in self.view.manifests()]

    def newest(self) -> CheckpointId:
        """Give the newest one that counts."""
        return newest_of(self._files, self.view)

    def problems(self, number: CheckpointId) -> tuple[list[str], str]:
        """Read a checkpoint to its last byte; give what is wrong, and what to say if nothing is."""
        try:
            manifest = self.view.read(number)
        except StoreError as error:
            return [str(error)], ""
        return self.view.verify(manifest), f"good: {len(manifest.layers)} layers, {_bytes(manifest):,} bytes"

    def row(self, fact: ManifestFact) -> list[str] | None:
        """Describe one checkpoint in a row; None if a running job has deleted it meanwhile."""
        try:
            manifest = self.view.read(fact.checkpoint)
        except StoreError as error:
            return [str(fact.checkpoint), *[""] * 5, str(error)] if fact.checkpoint in self.numbers() else None
        state = "void: a later attempt has taken over" if self._is_void(fact) else fact.problem or "good"
        return [
            str(fact.checkpoint),
            str(manifest.attempt),
            instant_text(manifest.created_us),
            f"{manifest.duration_us / 1000:,.0f} ms",
            str(len(manifest.layers)),
            f"{_bytes(manifest):,}",
            f"{state}, final" if manifest.final else state,
        ]

    def _is_void(self, fact: ManifestFact) -> bool:
        return fact.attempt is not None and is_void(fact.attempt, fact.checkpoint, self._claims)


def _bytes(manifest: Manifest) -> int:
    return sum(layer.size for layer in manifest.layers)
