"""`actorstream checkpoints`: a store seen from outside, and left as it was."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from actorstream import Pipeline
from actorstream.eventlog.log import EventLog
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell


def fill(folder: Path, name: str = "words") -> Path:
    """Run a small job to its end twice; give its folder in the store."""

    async def run() -> None:
        async with EventLog(str, folder / "input") as log:
            await log.extend(["a", "b", "b"])
            pipeline = Pipeline(name)
            words = pipeline.source(log.view(stop="now"), name="words")
            words.key_by(lambda w: w).count(name="counts").map(lambda e: e[1]).sink(
                EventLog(int, folder / f"{name}-out"), name="out"
            )
            await pipeline.run(store=folder / "store", checkpoint_interval=None)

    asyncio.run(run())
    return folder / "store" / name


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file, to see that none was changed."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_list_has_a_row_for_each_checkpoint(shell: Shell) -> None:
    job = fill(shell.folder)
    fill(shell.folder)
    outcome = shell("checkpoints", "list", str(job))
    assert outcome.status == 0
    heading, *rows = outcome.out.splitlines()
    assert heading.split() == ["checkpoint", "attempt", "taken", "duration", "layers", "bytes", "state"]
    assert [row.split()[:2] for row in rows] == [["1", "1"], ["2", "2"]]
    assert all(row.rstrip().endswith("good, final") for row in rows)


def test_a_store_with_one_job_stands_for_it(shell: Shell) -> None:
    fill(shell.folder)
    assert shell("checkpoints", "list", str(shell.folder / "store")).status == 0


def test_a_store_with_several_jobs_asks_which(shell: Shell) -> None:
    fill(shell.folder)
    fill(shell.folder, "others")
    outcome = shell("checkpoints", "list", str(shell.folder / "store"))
    assert outcome.status == 1
    assert "holds the jobs others, words: name one of these folders" in outcome.err


def test_what_is_no_store_is_said(shell: Shell) -> None:
    for folder, said in (("nowhere", "is missing"), (".", "holds no job")):
        outcome = shell("checkpoints", "show", folder)
        assert outcome.status == 1
        assert said in outcome.err


def test_show_says_positions_state_and_layers(shell: Shell) -> None:
    job = fill(shell.folder)
    outcome = shell("checkpoints", "show", str(job))
    assert outcome.out.startswith("checkpoint 1 of pipeline words, final\n")
    assert "source words\n  split 0: read up to 2, finished\n" in outcome.out
    assert "operator counts, parallelism 1\n  state value, a value of schema " in outcome.out
    assert "layers: 1, " in outcome.out


def test_show_gives_the_manifest_as_json(shell: Shell) -> None:
    job = fill(shell.folder)
    manifest = json.loads(shell("checkpoints", "show", str(job), "1", "--json").out)
    assert (manifest["pipeline"], manifest["checkpoint"]) == ("words", 1)


def test_verify_finds_a_flipped_bit(shell: Shell) -> None:
    """LMDB has no checksums of its own: only reading every byte tells."""
    job = fill(shell.folder)
    good = shell("checkpoints", "verify", str(job))
    assert (good.status, good.out.startswith("checkpoint 1: good: 1 layers, ")) == (0, True)
    layer = next((job / "layers").glob("*.lmdb"))
    data = bytearray(layer.read_bytes())
    data[len(data) // 2] ^= 1
    layer.write_bytes(data)
    bad = shell("checkpoints", "verify", str(job))
    assert bad.status == 1
    assert f"checkpoint 1: {layer} has {len(data)} bytes with digest " in bad.out


def test_a_damaged_manifest_is_a_row_and_not_the_end_of_the_list(shell: Shell) -> None:
    job = fill(shell.folder)
    fill(shell.folder)
    manifest = job / "checkpoints" / "2" / "manifest.json"
    manifest.unlink()
    manifest.write_bytes(b"{}\n")
    outcome = shell("checkpoints", "list", str(job))
    assert "good, final" in outcome.out.splitlines()[1]
    assert "is damaged" in outcome.out.splitlines()[2]
    verified = shell("checkpoints", "verify", str(job))
    assert verified.status == 1
    assert verified.out.splitlines()[0].startswith("checkpoint 1: good")


@pytest.mark.parametrize("command", ["list", "verify"])
def test_a_checkpoint_that_the_job_deletes_meanwhile_is_passed_over(shell: Shell, command: str) -> None:
    """A job that runs keeps three and deletes the rest: that is no damage."""
    job = fill(shell.folder)
    fill(shell.folder)
    reads: list[str] = []

    class Deleting(RealFiles):
        def read(self, path: str, /) -> bytes:
            reads.append(path)
            if reads.count(path) == 2 and path.endswith("1/manifest.json"):
                shutil.rmtree(job / "checkpoints" / "1")
            return super().read(path)

    with use_world(replace(current_world(), files=Deleting())):
        outcome = shell("checkpoints", command, str(job))
    assert not (job / "checkpoints" / "1").exists()
    assert (outcome.status, "missing" in outcome.out) == (0, False)
    assert "good" in outcome.out


def test_looking_changes_nothing_and_needs_no_lock(shell: Shell) -> None:
    """A job may run meanwhile, and the disk may be mounted read-only."""
    job = fill(shell.folder)
    before = contents(job)
    for command in ("list", "show", "verify"):
        assert shell("checkpoints", command, str(job)).status == 0
    assert contents(job) == before


@pytest.mark.parametrize("command", [("checkpoints", "list"), ("savepoint", "list"), ("state", "show")])
def test_a_file_for_a_folder_is_an_error_that_names_it(command: tuple[str, str], shell: Shell) -> None:
    """No traceback of an OSError."""
    shell.write("file", "")
    outcome = shell(*command, "file")
    assert outcome.status == 1
    assert outcome.err.startswith("actorstream: StoreError: ")
    assert "/file: looking failed: Not a directory; there is a file where a folder should be" in outcome.err
