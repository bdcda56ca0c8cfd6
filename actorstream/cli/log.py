"""`actorstream log`: an event log from outside, in JSON lines.

cat, tail                 values only, so that `cat a | append b` copies
cat, tail --positions     with partition, offset and timestamp
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actorstream.cli.json_lines import LineReader, to_json
from actorstream.cli.loading import load_attribute
from actorstream.cli.manifest_text import instant_text
from actorstream.cli.tables import print_table
from actorstream.errors import PlanError
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.positions import LogPosition
from actorstream.eventlog.untyped import open_untyped
from actorstream.evolve.resend import resend as send_again
from actorstream.operators.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

    from actorstream.eventlog.positions import LogRecord
    from actorstream.eventlog.view import LogStart, LogStop

app = typer.Typer(help="Read and write an event log in JSON lines.", no_args_is_help=True)

_Path = Annotated[str, typer.Argument(metavar="PATH", help="The log's folder.")]
_WithPositions = Annotated[
    bool, typer.Option("--positions", help="Each record with its partition, offset and timestamp.")
]


@app.command()
def append(
    path: _Path,
    *,
    partitions: Annotated[int | None, typer.Option(help="For a new log; default 1.")] = None,
    key: Annotated[str | None, typer.Option(metavar="FIELD", help="Records of equal FIELD stay in order.")] = None,
    type_: Annotated[
        str | None, typer.Option("--type", metavar="MODULE:CLASS", help="What the log's records are; else any JSON.")
    ] = None,
) -> None:
    """Append the JSON lines of standard input, durably; makes the log if there is none."""
    record = _record_type(type_)
    by = None if key is None else field_of(key)
    count = _run(_append(EventLog(record, path, partitions=partitions, key=by), LineReader(sys.stdin.fileno(), record)))
    typer.echo(f"{count:,} records appended to {path}", err=True)


@app.command()
def cat(path: _Path, *, positions: _WithPositions = False) -> None:
    """Write every record there is, oldest first within a partition."""
    _run(_write(path, "earliest", "now", with_positions=positions))


@app.command()
def tail(
    path: _Path,
    *,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Of each partition.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is appended, until Ctrl-C.")] = False,
    positions: _WithPositions = False,
) -> None:
    """Write the last records."""

    async def write() -> None:
        summary = await open_untyped(path).summary()
        bounds = zip(summary.first, summary.next, strict=True)
        start = [LogPosition(partition, max(first, end - lines)) for partition, (first, end) in enumerate(bounds)]
        await _write(path, start, None if follow else "now", with_positions=positions)

    try:
        _run(write())
    except KeyboardInterrupt:
        raise typer.Exit from None


@app.command()
def info(path: _Path) -> None:
    """Say how much is in the log, and of what type."""
    summary = _run(open_untyped(path).summary())
    typer.echo(f"log {summary.id} in {summary.path}")
    typer.echo(f"{summary.records:,} records, {summary.bytes:,} bytes, segments: {summary.segments}")
    for shape in summary.types:
        typer.echo(f"type {to_json(shape)}")
    rows = [
        [str(partition), f"{first:,}", f"{end:,}", f"{end - first:,}"]
        for partition, (first, end) in enumerate(zip(summary.first, summary.next, strict=True))
    ]
    print_table(["partition", "first", "next", "records"], rows)


@app.command()
def resend(
    dead: Annotated[str, typer.Argument(metavar="DEAD", help="The folder of a log of failures.")],
    into: Annotated[str, typer.Argument(metavar="INTO", help="The log that the pipeline reads.")],
    *,
    type_: Annotated[
        str | None, typer.Option("--type", metavar="MODULE:CLASS", help="What INTO's records are; else any JSON.")
    ] = None,
    operator: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only the records that failed in this operator.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="FIELD", help="Records of equal FIELD stay in order.")] = None,
) -> None:
    """Append the records of failures to the log they came from, each exactly once, however often this is called."""
    record: Any = _record_type(type_)
    by = None if key is None else field_of(key)
    done = _run(send_again(EventLog(Failure[record], dead), EventLog(record, into, key=by), operator=operator))
    typer.echo(
        f"{done.sent:,} records sent again, {done.before:,} had been before, {done.without_record:,} letters have none"
    )


@app.command()
def consumers(
    path: _Path,
    *,
    drop: Annotated[str | None, typer.Option(metavar="JOB", help="Forget this one: retention waits no more.")] = None,
) -> None:
    """List the jobs that retention waits for, or drop one."""
    log = open_untyped(path)
    if drop is not None:
        _run(log.drop_consumer(drop))
        typer.echo(f"{drop} was dropped")
        return
    rows = [
        [consumer.name, ", ".join(map(str, consumer.positions)), instant_text(consumer.registered_us), consumer.store]
        for consumer in _run(log.consumers())
    ]
    print_table(["job", "read up to, by partition", "at", "store"], rows)


def _record_type(named: str | None) -> type[Any]:
    if named is None:
        return object
    found = load_attribute(named, "class")
    if not isinstance(found, type):
        raise PlanError(f"--type {named} gives a {type(found).__name__}: expected a class")
    return found


async def _append(log: EventLog[Any], reader: LineReader[Any]) -> int:
    count = 0
    async with log:
        async for values in reader.batches():
            if values:
                count += len(await log.extend(values))
    return count


async def _write(path: str, start: LogStart, stop: LogStop | None, *, with_positions: bool) -> None:
    text = _positioned if with_positions else _value
    follow = stop is None
    async with open_untyped(path) as log:
        async for record in log.records(start=start, stop=stop):
            sys.stdout.write(text(record))
            if follow:
                sys.stdout.flush()
    sys.stdout.flush()


def _value(record: LogRecord[object]) -> str:
    return to_json(record.value) + "\n"


def _positioned(record: LogRecord[object]) -> str:
    return to_json(record._asdict()) + "\n"


def field_of(name: str) -> Callable[[Any], Hashable]:
    """Give what reads a record's field, for `--key`."""

    def key(value: Any) -> Hashable:  # noqa: ANN401  (a record of whatever type)
        found: Hashable = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
        if found is None:
            raise PlanError(f"--key {name}: a record has no such field: {value!r:.100}")
        return found

    return key


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401  (what the coroutine gives)
    return asyncio.run(coroutine)
