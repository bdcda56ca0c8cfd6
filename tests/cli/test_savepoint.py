"""`actorstream savepoint`, and `run` from one: the whole way of a job to another place, by commands."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest

from actorstream.eventlog.log import EventLog

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell

PIPELINES = """
from actorstream import EventLog, Pipeline

def words(counts="counts", out="out"):
    pipeline = Pipeline("words")
    stream = pipeline.source(EventLog(str, "words").view(stop="now"), name="words").key_by(lambda w: w)
    stream.count(name=counts).map(lambda entry: f"{entry[0]} {entry[1]}").sink(EventLog(str, "out"), name=out)
    return pipeline

first = words()
renamed = words(counts="totals")
"""


@pytest.fixture
def at_work(shell: Shell) -> Shell:
    """Give a shell where a job has counted the words a b b to the end of its log."""
    shell.write("jobs.py", PIPELINES)
    append(shell.folder, "a", "b", "b")
    assert shell("run", "jobs:first", "--store", "store").status == 0
    return shell


def append(folder: Path, *words: str) -> None:
    """Add words to the input, of which the job has read the end: it reads only what its view held."""

    async def write() -> None:
        async with EventLog(str, folder / "words") as log:
            await log.extend(words)

    asyncio.run(write())


def output(folder: Path, name: str = "out") -> list[str]:
    """Read what the job has told."""

    async def read() -> list[str]:
        async with EventLog(str, folder / name) as log:
            return [record.value async for record in log.records(stop="now")]

    return asyncio.run(read())


def consumers(folder: Path) -> list[str]:
    """Name those that the input keeps records for, without the job's id."""

    async def read() -> list[str]:
        async with EventLog(str, folder / "words") as log:
            return sorted(consumer.name.partition("/")[2] for consumer in await log.consumers())

    return asyncio.run(read())


def test_create_list_show_verify_and_delete(at_work: Shell) -> None:
    """And the input keeps records for it as long as it is there."""
    shell = at_work
    made = shell("savepoint", "create", "store", "before")
    assert made.status == 0
    assert "savepoints/before: snapshot 1 of words, 1 layers" in made.out
    assert consumers(shell.folder) == ["words", "words@before"]

    heading, row = shell("savepoint", "list", "store").out.splitlines()
    assert heading.split() == ["savepoint", "snapshot", "attempt", "taken", "layers", "bytes", "state"]
    assert row.split()[:3] == ["before", "1", "1"]
    assert row.split()[-1] == "good"
    folder = "store/words/savepoints/before"
    assert "operator counts, parallelism 1" in shell("savepoint", "show", folder).out
    assert json.loads(shell("savepoint", "show", folder, "--json").out)["pipeline"] == "words"
    assert shell("savepoint", "verify", folder).out.startswith("good: snapshot 1 of words")

    assert shell("savepoint", "delete", folder).out == f"{folder} was deleted\n"
    assert consumers(shell.folder) == ["words"]
    assert len(shell("savepoint", "list", "store").out.splitlines()) == 1


def test_a_checkpoint_is_not_deleted_as_a_savepoint(at_work: Shell) -> None:
    """The newest one would have gone, and the job begun anew, doubling its output."""
    shell = at_work
    refused = shell("savepoint", "delete", "store/words/checkpoints/1")
    assert refused.status == 1
    assert "is a checkpoint" in refused.err
    assert shell("checkpoints", "verify", "store").status == 0
    assert consumers(shell.folder) == ["words"]


@pytest.mark.parametrize("folder", ["store", "store/words", "store/words/layers", "store/words/attempts", "words"])
def test_nothing_else_is_deleted_as_a_savepoint(at_work: Shell, folder: str) -> None:
    """A job's own folder has layers too: it lost them, and its id."""
    shell = at_work
    before = sorted(path.relative_to(shell.folder) for path in shell.folder.rglob("*"))
    refused = shell("savepoint", "delete", folder)
    assert refused.status == 1
    assert "nothing was deleted" in refused.err
    assert sorted(path.relative_to(shell.folder) for path in shell.folder.rglob("*")) == before
    assert "is not there" in shell("savepoint", "delete", "elsewhere").err


def test_export_and_import_take_a_job_to_another_place(at_work: Shell) -> None:
    """Its store goes; what it has counted goes along; the output goes on without a gap or a repeat."""
    shell = at_work
    shell("savepoint", "create", "store", "before")
    exported = shell("savepoint", "export", "store/words/savepoints/before", "words.tar.zst")
    assert exported.status == 0
    assert exported.out.startswith("words.tar.zst: snapshot 1 of words, 1 layers")
    os.rename("store", "lost")

    assert shell("savepoint", "import", "words.tar.zst", "brought").status == 0
    assert shell("savepoint", "verify", "brought").status == 0
    append(shell.folder, "b")
    outcome = shell("run", "jobs:renamed", "--store", "there", "--restore", "brought", "--restore-as", "counts=totals")
    assert outcome.status == 0, outcome.err
    assert output(shell.folder) == ["a 1", "b 1", "b 2"], "the view had ended: that is in the savepoint, too"


def test_what_was_imported_is_kept_for_beside_the_one_of_its_name(at_work: Shell) -> None:
    """Each until it is deleted: neither takes the other's place, and none is forgotten with the other."""
    shell = at_work
    original = "store/words/savepoints/before"
    shell("savepoint", "create", "store", "before")
    shell("savepoint", "export", original, "words.tar.zst")
    assert shell("savepoint", "import", "words.tar.zst", "brought").status == 0
    assert consumers(shell.folder) == ["words", "words@before", "words@brought"]
    assert shell("savepoint", "import", "words.tar.zst", "there/before").status == 0
    assert len(consumers(shell.folder)) == 4
    assert shell("savepoint", "delete", "there/before").status == 0
    assert consumers(shell.folder) == ["words", "words@before", "words@brought"]
    os.rename("brought", "moved")
    os.rename("moved", "there/brought")
    assert shell("savepoint", "delete", "there/brought").status == 0
    assert shell("savepoint", "delete", original).status == 0
    assert consumers(shell.folder) == ["words"]


def test_an_import_where_no_log_is_needs_none(at_work: Shell) -> None:
    """On another machine it may come later; one that is there and cannot be told is named."""
    shell = at_work
    shell("savepoint", "create", "store", "before")
    shell("savepoint", "export", "store/words/savepoints/before", "words.tar.zst")
    os.rename("words", "elsewhere")
    brought = shell("savepoint", "import", "words.tar.zst", "brought")
    assert (brought.status, brought.err) == (0, "")
    os.mkdir("words")
    brought = shell("savepoint", "import", "words.tar.zst", "again")
    assert brought.status == 0
    assert "was not told to keep what it needs" in brought.err
    refused = shell("savepoint", "create", "store", "after")
    assert refused.status == 1
    assert "could not be told to keep" in refused.err
    assert os.listdir("store/words/savepoints") == ["before"], "what nobody keeps records for is no savepoint"


def test_a_fork_by_command_writes_beside(at_work: Shell) -> None:
    """And so does the next start of it, without the savepoint."""
    shell = at_work
    shell("savepoint", "create", "store", "before")
    assert shell("run", "jobs:first", "--store", "store", "--restore", "before", "--fork", "v2").status == 0
    assert shell("run", "jobs:first", "--store", "store", "--fork", "v2").status == 0
    assert output(shell.folder) == ["a 1", "b 1", "b 2"]
    assert output(shell.folder, "out@v2") == []
    assert os.path.isdir("store/words@v2")


def test_what_is_dropped_is_named(at_work: Shell) -> None:
    """The refusal says how to say it."""
    shell = at_work
    refused = shell("run", "jobs:renamed", "--store", "store")
    assert refused.status == 1
    assert "holds state of operator 'counts', which the pipeline does not have" in refused.err
    assert "allow_dropped" in refused.err
    assert shell("run", "jobs:renamed", "--store", "store", "--allow-dropped", "counts").status == 0


def test_what_cannot_be_said_is_refused(at_work: Shell) -> None:
    """With what is expected."""
    shell = at_work
    wrong = shell("run", "jobs:first", "--store", "store", "--restore-as", "counts")
    assert (wrong.status, "expected OLD=NEW" in wrong.err) == (1, True)
    assert "cannot be called" in shell("savepoint", "create", "store", "../x").err
    assert "is missing" in shell("savepoint", "create", "store", "x", "--checkpoint", "9").err
    shell("savepoint", "create", "store", "x")
    assert "is a savepoint already" in shell("savepoint", "create", "store", "x").err


def test_a_damaged_one_is_listed_with_what_is_wrong_and_verify_says_so(at_work: Shell) -> None:
    """Status 1, for scripts."""
    shell = at_work
    shell("savepoint", "create", "store", "a")
    folder = shell.folder / "store/words/savepoints/a"
    (layer,) = (folder / "layers").iterdir()
    content = layer.read_bytes()
    layer.unlink()
    layer.write_bytes(content[:5000] + b"\xff" + content[5001:])
    verified = shell("savepoint", "verify", str(folder))
    assert (verified.status, "with digest" in verified.out) == (1, True)
    layer.write_bytes(content[:-1])
    assert "expected" in shell("savepoint", "list", "store").out.splitlines()[1]
    assert shell("savepoint", "delete", str(folder)).status == 0
