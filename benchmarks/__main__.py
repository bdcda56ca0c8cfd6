"""`python -m benchmarks`: one command a measurement."""

from __future__ import annotations

import typer

from benchmarks.cost import cost

app = typer.Typer(
    help="Measure actorstream against plain Python on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("cost")(cost)


@app.callback()
def _every_command() -> None:
    """Keep `cost` a command of its own: others come beside it."""


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
