"""`actorstream demo`: run the drill, judge it, say what was found."""

from __future__ import annotations

import asyncio
from os.path import abspath
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from actorstream.api.script import loop_factory
from actorstream.cli.demo.display import Display
from actorstream.cli.demo.drill import Drill, Order
from actorstream.cli.demo.evolve.command import evolve
from actorstream.cli.demo.folder import demo_folder, leave
from actorstream.cli.demo.report import facts, findings
from actorstream.cli.demo.verdict import Note, judge, keep_note, read_note
from actorstream.cli.running import calm_collector

if TYPE_CHECKING:
    from collections.abc import Iterable


app = typer.Typer(help="Kill a job under load; or `evolve`: mend one in flight.", invoke_without_command=True)
app.command("evolve")(evolve)


@app.callback()
def demo(  # noqa: PLR0913  (the options of a command)
    ctx: typer.Context,
    *,
    rate: Annotated[int, typer.Option(min=1, help="Payments a second.")] = 20_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long payments come.")] = 12.0,
    kills: Annotated[int, typer.Option(min=0, help="How often the job is killed.")] = 3,
    seed: Annotated[int, typer.Option(help="Which payments, and when the kills.")] = 1,
    keep: Annotated[str | None, typer.Option(metavar="DIR", help="Keep logs and store in this new folder.")] = None,
    check: Annotated[
        str | None, typer.Option(metavar="DIR", help="Run nothing: compare the outputs of a kept run again.")
    ] = None,
) -> None:
    """Kill a job under load and compare every output record with a plain loop."""
    if ctx.invoked_subcommand is not None:
        return
    calm_collector()
    console = Console(soft_wrap=True)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        if check is not None:
            right = runner.run(_check(console, abspath(check)))
        else:
            with demo_folder(keep) as folder:
                right = runner.run(_demo(console, Order(folder, rate, seconds, kills, seed)))
            leave(console, folder, kept=keep is not None, right=right, again=f": look again with --check {folder}")
    raise typer.Exit(0 if right else 1)


async def _demo(console: Console, order: Order) -> bool:
    drill = Drill(order)
    with Display(console) as display:
        await drill.run(display.show)
    note = Note(order.seed, drill.feeder.appended)
    keep_note(order.folder, note)
    _print(console, facts(drill))
    right = await _judge(console, order.folder, note)
    if drill.stalled:
        _print(console, ["no output came any more: the run was given up before everything was committed"])
    if len(drill.kills) < order.kills:
        missed = f"only {len(drill.kills)} of {order.kills} kills found the job behind: try a higher --rate"
        _print(console, [missed])
    return right and not drill.stalled and len(drill.kills) == order.kills


async def _check(console: Console, folder: str) -> bool:
    return await _judge(console, folder, read_note(folder))


async def _judge(console: Console, folder: str, note: Note) -> bool:
    with console.status("comparing every output record with a plain loop"):
        verdict = await judge(folder, note)
    _print(console, findings(verdict))
    return verdict.right


def _print(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False)
