"""`actorstream replay`: the words of the command, what it prints, and what it refuses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actorstream import EventLog
from actorstream.cli.progress import line_of
from actorstream.cli.span import start_of, until_of
from actorstream.errors import PlanError
from actorstream.evolve import ReplayProgress

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell

PROGRAM = """
from actorstream import EventLog, Pipeline

def counts() -> Pipeline:
    pipeline = Pipeline("counts")
    words = pipeline.source(EventLog(str, "words"))
    words.key_by(lambda word: word).count(name="counts").map(lambda pair: pair[1]).sink(EventLog(int, "totals"))
    return pipeline

def ticks() -> Pipeline:
    pipeline = Pipeline("ticks")
    pipeline.source(iter([1, 2])).sink(print)
    return pipeline
"""


def _write_words(folder: Path) -> None:
    async def write() -> None:
        async with EventLog(str, folder / "words") as log:
            await log.extend(["a", "b", "a"])

    asyncio.run(write())


async def _totals(path: Path) -> list[int]:
    async with EventLog(int, path) as log:
        return [record.value async for record in log.records(stop="now")]


def test_a_pipeline_is_replayed_into_a_folder(shell: Shell, tmp_path: Path) -> None:
    shell.write("program.py", PROGRAM)
    _write_words(tmp_path)
    outcome = shell("replay", "program:counts", "--from", "earliest", "--until", "now", "--into", "again")
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("counts: 3 records in, 3 out, in again, ")
    assert asyncio.run(_totals(tmp_path / "again" / "totals")) == [1, 1, 2]
    assert not (tmp_path / "totals").exists()


def test_what_cannot_be_replayed_is_told_in_one_line(shell: Shell) -> None:
    shell.write("program.py", PROGRAM)
    outcome = shell("replay", "program:ticks", "--from", "earliest", "--into", "again")
    assert outcome.status == 1
    assert "source-0 (IterableSource) gives its records once: write them to an EventLog" in outcome.err
    missing = shell("replay", "program:counts", "--from", "nowhere", "--into", "again")
    assert missing.status == 1
    assert "--from nowhere: expected the folder of a savepoint, earliest, or a time" in missing.err


def test_words_times_and_folders_are_told_apart(tmp_path: Path) -> None:
    assert start_of("earliest") == "earliest"
    assert start_of("1700000000.5") == 1_700_000_000.5
    assert start_of(str(tmp_path)) == str(tmp_path)
    assert until_of("now") == "now"
    at = until_of("2026-11-23T08:00:00+00:00")
    assert not isinstance(at, str | float)
    assert at.timestamp() == 1_795_420_800
    with pytest.raises(PlanError, match="--until then: expected now, or a time"):
        until_of("then")


@pytest.mark.parametrize("text", ["20261123", "2026_11_23", " 20261123"])
def test_eight_digits_that_are_a_day_are_refused_with_both_ways_to_write_them(text: str) -> None:
    """As seconds that is a day in August 1970: a replay of all there is, and nobody would be told."""
    both = r"expected 2026-11-23T00:00:00\+00:00 for the day, or 20261123.0 for Unix seconds"
    with pytest.raises(PlanError, match=rf"--from {text}: eight digits are a day or Unix seconds; {both}"):
        start_of(text)
    with pytest.raises(PlanError, match=rf"--until {text}: .*{both}"):
        until_of(text)
    assert start_of("20261123.0") == 20_261_123.0
    assert until_of("99999999") == 99_999_999, "is no day"
    assert start_of("1700000000") == 1_700_000_000


def test_the_line_says_how_far_and_how_long() -> None:
    assert line_of("counts", ReplayProgress(2_500, 10_000, 5.0, 15.0)) == (
        "replay of counts | 2,500 of 10,000 records, 25% | 500/s | 15 s to go"
    )
    assert line_of("counts", ReplayProgress(0, 0, 0.0, None)) == "replay of counts | 0 of 0 records, 100% | 0/s"
