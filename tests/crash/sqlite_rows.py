"""What the crash test of the SQLite sink runs: it kills itself at one of its SQL statements.

    numbers ──┬──────────────────────────> rows      added
              └── key_by number % 7 ──────> totals    replaced by key

`python -m tests.crash.sqlite_rows FOLDER N` dies by SIGKILL in place of statement N; 0: it runs to its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from os.path import join
from typing import Any, NamedTuple

from actorstream import Pipeline
from actorstream.connectors.sqlite import SQLiteSink

RECORDS = 30_000


class Row(NamedTuple):
    number: int


class Total(NamedTuple):
    rest: int
    total: int


def build(folder: str) -> Pipeline:
    pipeline = Pipeline("rows")
    rows = pipeline.source(range(RECORDS)).map(Row)
    rows.sink(SQLiteSink(Row, join(folder, "out.db"), "rows"), name="rows", parallelism=2)
    totals = rows.map(lambda row: Total(row.number % 7, row.number)).key_by(lambda total: total.rest)
    summed = totals.reduce(lambda one, two: Total(one.rest, one.total + two.total), name="sums").changes()
    newest = summed.flat_map(lambda change: [] if change.new is None else [change.new])
    newest.sink(SQLiteSink(Total, join(folder, "out.db"), "totals", key="rest"), name="totals")
    return pipeline


class Connection(sqlite3.Connection):
    """Counts statements of the whole process, and dies at one."""

    left = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_trace_callback(self._count)

    def _count(self, statement: str) -> None:
        del statement
        Connection.left -= 1
        if Connection.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(folder: str, at: int) -> None:
    Connection.left = at
    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **kwargs: connect(*args, **kwargs, factory=Connection)  # type: ignore[assignment]
    await build(folder).run(store=join(folder, "store"), checkpoint_interval=0.02)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
