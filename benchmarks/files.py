"""Records out of files and into them, beside a plain loop that does the same with Python's own modules.

    FileSource ──> out.append        for line in file: Order(**json.loads(line))
    records ──> FileSink             for each: file.write(json.dumps(...)); fsync       `python -m benchmarks files`

Both sides alternate, and each run's records are compared. What is plain has no checkpoints, no positions, no check of
types: the ratio is what those cost.
"""

from __future__ import annotations

import asyncio
import csv
import gc
import json
import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from actorstream import Pipeline
from actorstream.connectors.files import Csv, FileSink, FileSource, JsonLines, Parquet
from actorstream.connectors.sqlite import SQLiteSink
from benchmarks.errors import WrongOutputError
from benchmarks.figures import tell
from benchmarks.machine import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Order(NamedTuple):
    """What is read and written."""

    number: int
    user: str
    price: float
    paid: bool


@dataclass(frozen=True)
class Format:
    """One format: ours, and how a plain loop reads and writes it."""

    ours: Callable[[], Any]
    read: Callable[[str], list[Order]]
    write: Callable[[str, Sequence[Order]], None]


def read_json(path: str) -> list[Order]:
    """Read with `json`."""
    with open(path, encoding="utf-8") as file:
        return [Order(**json.loads(line)) for line in file]


def write_json(path: str, orders: Sequence[Order]) -> None:
    """Write with `json`."""
    with open(path, "w", encoding="utf-8") as file:
        for order in orders:
            file.write(json.dumps(order._asdict(), separators=(",", ":")) + "\n")
        _sync(file)


def read_csv(path: str) -> list[Order]:
    """Read with `csv`."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return [Order(int(number), user, float(price), paid == "true") for number, user, price, paid in rows]


def write_csv(path: str, orders: Sequence[Order]) -> None:
    """Write with `csv`."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Order._fields)
        for number, user, price, paid in orders:
            writer.writerow((number, user, price, "true" if paid else "false"))
        _sync(file)


def read_parquet(path: str) -> list[Order]:
    """Read with `pyarrow`."""
    from pyarrow import parquet  # noqa: PLC0415  (an extra)

    with parquet.ParquetFile(path) as file:
        return [Order(**row) for batch in file.iter_batches() for row in batch.to_pylist()]


def write_parquet(path: str, orders: Sequence[Order]) -> None:
    """Write with `pyarrow`."""
    import pyarrow  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    with open(path, "wb") as file:
        parquet.write_table(pyarrow.table(dict(zip(Order._fields, zip(*orders, strict=True), strict=True))), file)
        _sync(file)


def _sync(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


FORMATS = {
    "jsonl": Format(lambda: JsonLines(Order), read_json, write_json),
    "csv": Format(lambda: Csv(Order), read_csv, write_csv),
    "parquet": Format(lambda: Parquet(Order), read_parquet, write_parquet),
}


def orders_of(count: int) -> list[Order]:
    """Make records."""
    return [Order(number, f"user {number % 1_000}", number / 8, number % 3 == 0) for number in range(count)]


def _run(pipeline: Pipeline) -> None:
    async def main() -> None:
        await pipeline.run()

    asyncio.run(main())


def _read(name: str, folder: Path, orders: list[Order]) -> tuple[float, float]:
    format_, path = FORMATS[name], str(folder / f"in.{name}")
    format_.write(path, orders)
    out: list[Order] = []
    pipeline = Pipeline("read")
    pipeline.source(FileSource(path, format_.ours())).sink(out.append)
    seconds = _timed(lambda: _run(pipeline)), _timed(lambda: _compare(format_.read(path), orders, name))
    _compare(out, orders, name)
    return seconds


def _write(name: str, folder: Path, orders: list[Order]) -> tuple[float, float]:
    format_, parts = FORMATS[name], folder / "parts"
    pipeline = Pipeline("write")
    pipeline.source(orders).sink(FileSink(parts, format_.ours()))
    plain = str(folder / f"out.{name}")
    seconds = _timed(lambda: _run(pipeline)), _timed(lambda: format_.write(plain, orders))
    found = [order for part in sorted(parts.glob(f"*.{name}")) for order in format_.read(str(part))]
    _compare(sorted(found), orders, name)
    return seconds


def _write_sqlite(folder: Path, orders: list[Order]) -> tuple[float, float]:
    ours, plain = str(folder / "ours.db"), str(folder / "plain.db")
    pipeline = Pipeline("rows")
    pipeline.source(orders).sink(SQLiteSink(Order, ours, "orders"))

    def insert() -> None:
        database = sqlite3.connect(plain)
        with database:
            database.execute("CREATE TABLE orders (number INTEGER, user TEXT, price REAL, paid INTEGER)")
            database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", orders)
        database.close()

    seconds = _timed(lambda: _run(pipeline)), _timed(insert)
    database = sqlite3.connect(ours)
    _compare(list(map(Order._make, database.execute("SELECT * FROM orders ORDER BY number"))), orders, "sqlite")
    database.close()
    return seconds


def _timed(run: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _compare(found: list[Order], expected: list[Order], name: str) -> None:
    if found != expected:
        raise WrongOutputError(f"{name}: {len(found)} records, expected {len(expected)}, or others")


TRIALS: dict[str, Callable[[Path, list[Order]], tuple[float, float]]] = {
    **{f"read {name}": lambda folder, orders, name=name: _read(name, folder, orders) for name in FORMATS},  # type: ignore[misc]
    **{f"write {name}": lambda folder, orders, name=name: _write(name, folder, orders) for name in FORMATS},  # type: ignore[misc]
    "write sqlite": _write_sqlite,
}


def files(
    *,
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds; take at least 5 for a figure to keep.")] = 5,
    records: Annotated[int, typer.Option(min=1, help="Records of each run.")] = 100_000,
    only: Annotated[list[str] | None, typer.Option(help='Measure this only, as "read csv"; may be repeated.')] = None,
) -> None:
    """Measure sources and sinks of files, and of SQLite, against plain loops."""
    unknown = [name for name in only or () if name not in TRIALS]
    if unknown:
        raise typer.BadParameter(f"there is no {unknown[0]!r}: take one of {', '.join(TRIALS)}")
    orders = orders_of(records)
    lines = [f"{'what':<15}{'µs/record':>10}{'plain':>8}{'ratio':>8}{'min..max':>13}"]
    for name, trial in TRIALS.items():
        if only and name not in only:
            continue
        ours, plain, ratios = list[float](), list[float](), list[float]()
        for number in range(rounds):
            tell(f"{name}, round {number + 1} of {rounds}")
            with TemporaryDirectory(dir=Path.cwd()) as folder:
                seconds, plain_seconds = trial(Path(folder), orders)
            ours.append(1e6 * seconds / records)
            plain.append(1e6 * plain_seconds / records)
            ratios.append(plain_seconds / seconds)
        span = f"{min(ratios):.2f}..{max(ratios):.2f}"
        lines.append(f"{name:<15}{median(ours):>10.2f}{median(plain):>8.2f}{median(ratios):>8.2f}{span:>13}")
    tell("")
    typer.echo("\n".join([*lines, "", "ratio: plain loop's time / ours by the wall clock, median and spread"]))
    typer.echo(f"\n{machine()}")
