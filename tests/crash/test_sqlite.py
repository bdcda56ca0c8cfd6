"""SIGKILL in place of any SQL statement: in the end each row is in the table once, and each total is right."""

from __future__ import annotations

import random
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.crash.process import started
from tests.crash.sqlite_rows import RECORDS

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 5


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_rows_are_there_once_whichever_statement_the_process_dies_at(tmp_path: Path) -> None:
    rng, killed = random.Random(7), 0
    for _ in range(KILLS):
        at = rng.choice([rng.randrange(1, 40), rng.randrange(40, 160)])  # as it opens, restores or commits; and later
        async with started("-m", "tests.crash.sqlite_rows", str(tmp_path), str(at), folder=tmp_path) as child:
            killed += await child.wait() == -signal.SIGKILL
    async with started("-m", "tests.crash.sqlite_rows", str(tmp_path), "0", folder=tmp_path) as child:
        assert await child.wait() == 0, child.last_words()

    with closing(sqlite3.connect(tmp_path / "out.db")) as db:
        numbers = [row[0] for row in db.execute("SELECT number FROM rows ORDER BY number")]
        totals = dict(db.execute("SELECT rest, total FROM totals"))
        left = db.execute("SELECT (SELECT count(*) FROM actorstream_staged_rows)").fetchone()[0]
    assert numbers == list(range(RECORDS))
    assert totals == {rest: sum(range(rest, RECORDS, 7)) for rest in range(7)}
    assert left == 0
    assert killed >= KILLS // 2
