"""The commands put together, and what holds for all of them."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from actorstream.cli import ab, checkpoints, compare, describe, log, promote, replay, run, savepoint, state
from actorstream.cli.demo import command
from actorstream.cli.running import log_to_stderr

app = typer.Typer(
    help="Stateful, exactly-once streams: run pipelines, look into stores and logs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("describe")(describe.describe)
app.command("compare")(compare.compare)
app.command("promote")(promote.promote)
app.command("replay")(replay.replay)
app.command("ab")(ab.ab)
app.add_typer(command.app, name="demo")
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(savepoint.app, name="savepoint")
app.add_typer(log.app, name="log")
app.add_typer(state.app, name="state")

_debugging = [False]


@app.callback()
def _every_command(
    *, debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, and log more.")] = False
) -> None:
    _debugging[:] = [debug]
    log_to_stderr(logging.DEBUG if debug else logging.WARNING)


def is_debugging() -> bool:
    """Tell whether the user asked for tracebacks."""
    return _debugging[0]
