"""`actorstream ab`: 0 where two pipelines agree, 1 where they do not, 2 where that cannot be said."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actorstream import EventLog

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell

PROGRAM = """
from actorstream import EventLog, Pipeline

def build(factor: int) -> Pipeline:
    pipeline = Pipeline("lengths")
    words = pipeline.source(EventLog(str, "words"))
    words.map(lambda word: {"word": word, "length": len(word) * factor}).sink(EventLog(dict, "lengths"))
    return pipeline

def old() -> Pipeline:
    return build(1)

def new() -> Pipeline:
    return build(2)
"""


def test_the_status_says_whether_two_pipelines_agree(shell: Shell, tmp_path: Path) -> None:
    async def write() -> None:
        async with EventLog(str, tmp_path / "words") as log:
            await log.extend(["", "ab"])

    asyncio.run(write())
    shell.write("program.py", PROGRAM)
    equal = shell("ab", "program:old", "program:old", "--from", "earliest", "--into", "equal")
    assert (equal.status, equal.out) == (0, "lengths: equal: 2 records in both\n"), equal.err
    changed = shell("ab", "program:old", "program:new", "--from", "earliest", "--into", "changed", "--key", "word")
    assert changed.status == 1
    assert changed.out.startswith("lengths: 1 the same, 1 different, 0 only in A, 0 only in B\n  'ab': ")
    wrong = shell("ab", "program:old", "program:new", "--from", "earliest", "--into", "changed")
    assert wrong.status == 2
    assert "holds a finished replay" in wrong.err
