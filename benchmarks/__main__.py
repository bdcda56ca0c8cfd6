"""`python -m benchmarks`: one command a measurement."""

from __future__ import annotations

import typer

from benchmarks.async_functions import async_functions
from benchmarks.cost import cost
from benchmarks.event_log import log
from benchmarks.files import files
from benchmarks.latency import latency
from benchmarks.loops import loops
from benchmarks.operators import operators
from benchmarks.rescale import rescale
from benchmarks.state import state
from benchmarks.unaligned import unaligned

app = typer.Typer(
    help="Measure actorstream on this machine, against plain Python or against an aim.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("cost")(cost)
app.command("operators")(operators)
app.command("files")(files)
app.command("async")(async_functions)
app.command("latency")(latency)
app.command("state")(state)
app.command("log")(log)
app.command("rescale")(rescale)
app.command("loops")(loops)
app.command("unaligned")(unaligned)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
