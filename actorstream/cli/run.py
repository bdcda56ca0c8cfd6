"""`actorstream run module:pipeline --store DIR`: a pipeline as a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from actorstream.api.settings import Settings
from actorstream.cli.loading import load_pipeline
from actorstream.cli.progress import Progress
from actorstream.cli.running import run_until_stopped
from actorstream.errors import PlanError

if TYPE_CHECKING:
    from actorstream.api.options import RunOptions
    from actorstream.api.settings import SettingValues

_SHOW_SECONDS = 0.25
_INTERRUPTED = 130
_DIGITS_MAX = 18


def run(  # noqa: PLR0913  (the options of a command)
    pipeline: Annotated[str, typer.Argument(metavar="MODULE:PIPELINE", help="A Pipeline, or what builds one.")],
    *,
    store: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Where checkpoints live; without it, nothing survives the process."),
    ] = None,
    restore: Annotated[
        str | None,
        typer.Option(
            metavar="SAVEPOINT|N", help="Go on from this savepoint (folder or name), or older checkpoint (its number)."
        ),
    ] = None,
    fork: Annotated[
        str | None, typer.Option(metavar="NAME", help="Run beside the job that --restore is of, with its own output.")
    ] = None,
    allow_dropped: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Give up the state of this operator, or operator.state; may be repeated."),
    ] = None,
    restore_as: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="An operator has a new name; may be repeated."),
    ] = None,
    claim: Annotated[bool, typer.Option("--claim", help="Delete the savepoint once there is a checkpoint.")] = False,
    accept_duplicates: Annotated[
        bool, typer.Option("--accept-duplicates", help="Write output again that was committed after --restore's.")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Go on although a process that hangs holds the store: it is fenced.")
    ] = False,
    state_memory: Annotated[
        int | None, typer.Option(min=1, metavar="MIB", help="MiB that keyed state may take in memory; default 256.")
    ] = None,
    interval: Annotated[float, typer.Option(min=0.001, help="Seconds between checkpoints.")] = 1.0,
    parallelism: Annotated[int, typer.Option(min=1, help="Subtasks of operators that do not say their own.")] = 1,
) -> None:
    """Run a pipeline until its inputs end, or until Ctrl-C or SIGTERM: then with a final checkpoint."""
    program = load_pipeline(pipeline)
    options: RunOptions = {"checkpoint_interval": interval, "parallelism": parallelism}
    if store is not None:
        options["store"] = store
    if take_over:
        options["take_over"] = True
    if restore is not None:
        options["restore"] = restore_of(restore)
    if fork is not None:
        options["fork"] = fork
    options["settings"] = _settings(allow_dropped, restore_as, claim=claim)
    if accept_duplicates:
        options["accept_duplicates"] = True
    if state_memory is not None:
        options["state_memory"] = state_memory << 20
    with Progress(program.name, Console(stderr=True)) as progress:
        try:
            summary = run_until_stopped(lambda: program.run(**options), progress.show, every_seconds=_SHOW_SECONDS)
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
    typer.echo(
        f"{program.name}: {summary.records_in:,} records in, {summary.records_out:,} out, "
        f"checkpoints: {summary.checkpoints}, restarts: {summary.restarts}, {summary.seconds:.1f} s"
    )


def restore_of(text: str) -> int | str:
    """Read `--restore`: a checkpoint's number, or a savepoint. No checkpoint's number is longer."""
    return int(text) if text.isdecimal() and len(text) <= _DIGITS_MAX else text


def _settings(allow_dropped: list[str] | None, restore_as: list[str] | None, *, claim: bool) -> Settings:
    given: SettingValues = {}
    if allow_dropped:
        given["allow_dropped"] = allow_dropped
    if restore_as:
        given["restore_as"] = dict(_pair(each) for each in restore_as)
    if claim:
        given["claim"] = True
    return Settings(**given)


def _pair(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise PlanError(f"--restore-as {text}: expected OLD=NEW, two names of operators")
    return old, new
