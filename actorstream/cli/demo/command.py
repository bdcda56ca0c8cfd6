"""`actorstream demo`: run the drill, judge it, say what was found."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import contextmanager
from os.path import abspath
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from actorstream.api.script import loop_factory
from actorstream.cli.demo.display import Display
from actorstream.cli.demo.drill import Drill, Order
from actorstream.cli.demo.report import facts, findings
from actorstream.cli.demo.verdict import Note, judge, keep_note, read_note
from actorstream.cli.running import calm_collector
from actorstream.errors import ActorstreamError, PlanError
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def demo(
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
    calm_collector()
    console = Console(soft_wrap=True)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        if check is not None:
            right = runner.run(_check(console, abspath(check)))
        else:
            with _folder(keep) as folder:
                right = runner.run(_demo(console, Order(folder, rate, seconds, kills, seed)))
            if not right:
                _print(console, [f"logs and store are kept in {folder}: look again with --check {folder}"])
            elif keep is None:
                shutil.rmtree(folder, ignore_errors=True)
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


@contextmanager
def _folder(keep: str | None) -> Iterator[str]:
    """Give the folder asked for, which must be new or empty, or a temporary one that goes when all was well."""
    if keep is not None:
        folder, files = abspath(keep), current_world().files
        if files.list_dir(folder):
            raise PlanError(f"--keep {keep}: the folder is not empty; name a new one")
        files.make_dirs(folder)
        yield folder
        return
    folder = tempfile.mkdtemp(prefix="actorstream-demo-")
    try:
        yield folder
    except ActorstreamError as error:
        error.add_note(f"logs and store were kept in {folder}")
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
