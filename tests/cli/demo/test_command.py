"""`actorstream demo` with small numbers: a real process, really killed; and outputs falsified on purpose."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.view import StoreView
from actorstream.cli.demo.child import Child
from actorstream.cli.demo.load import Feeder, card_of
from actorstream.cli.demo.pipeline import CardTotal
from actorstream.errors import JobFailed
from actorstream.eventlog.log import EventLog
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.crash, pytest.mark.timeout(90)]


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "actorstream.cli.main", "demo", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=80,
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of one drill: three seconds of load, one SIGKILL."""
    folder = tmp_path_factory.mktemp("demo") / "kept"
    done = demo("--rate", "4000", "--seconds", "3", "--kills", "1", "--keep", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line[0].isalpha())
    assert said["records"].startswith("12,000 payments")
    assert said["kills"].startswith("1 times SIGKILL, with ")
    assert "from the start of the process to its first new record" in said["recovery"]
    assert (said["lost"], said["doubled"]) == ("0", "0")
    assert said["exactly"].startswith("once: 12,000 totals and ")
    return folder


def test_a_killed_job_loses_and_doubles_nothing(kept: Path) -> None:
    """The promise of the whole library; and the outputs it was judged by can be judged again."""
    again = demo("--check", str(kept))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "lost         0\ndoubled      0\n" in again.stdout


def test_a_record_dropped_from_the_output_is_reported_as_lost(kept: Path, tmp_path: Path) -> None:
    """A comparison that cannot fail proves nothing."""
    folder = falsified(kept, tmp_path, lambda totals: totals[:777] + totals[778:])
    done = demo("--check", str(folder))
    assert done.returncode == 1
    assert "lost         1\ndoubled      0\n" in done.stdout
    assert "NOT exactly once" in done.stdout


def test_a_record_doubled_in_the_output_is_reported_as_doubled(kept: Path, tmp_path: Path) -> None:
    folder = falsified(kept, tmp_path, lambda totals: totals[:778] + totals[777:])
    done = demo("--check", str(folder))
    assert done.returncode == 1
    assert "lost         0\ndoubled      1\n" in done.stdout


def test_a_folder_in_use_is_refused(kept: Path) -> None:
    """Two runs in one folder would be judged by the wrong payments."""
    done = demo("--keep", str(kept))
    assert done.returncode == 1
    assert "the folder is not empty" in done.stderr


def test_a_child_that_fails_is_said_with_the_end_of_its_log(tmp_path: Path) -> None:
    """Otherwise the parent would wait for output that never comes."""
    (tmp_path / "store").write_text("no folder")
    child = Child(str(tmp_path))
    child._process.wait(30)
    with pytest.raises(JobFailed, match="the service ended by itself, with status 1") as failure:
        child.listen()
    child.kill()
    assert "Error" in failure.value.__notes__[0]


def test_the_child_ends_with_its_parent_and_takes_a_final_checkpoint(tmp_path: Path) -> None:
    """A parent that was killed itself must not leave a process behind that holds the store."""

    async def feed() -> None:
        async with EventLog(str, tmp_path / "payments", partitions=2, key=card_of) as log:
            await Feeder(log, seed=1, rate=100, seconds=1).feed(1)

    asyncio.run(feed())
    child = Child(str(tmp_path))
    process = child._process
    assert process.stdin is not None
    os.set_blocking(child._output.fileno(), True)
    assert child._output.readline().startswith(b'{"first_record_at": ')
    process.stdin.close()
    assert process.wait(30) == 0
    child.kill()
    view = StoreView(current_world().files, str(tmp_path / "store" / "cards"))
    assert view.read(view.checkpoint_ids()[-1]).final


def falsified(kept: Path, folder: Path, change: Callable[[list[CardTotal]], list[CardTotal]]) -> Path:
    """Give a copy of a drill's folder whose totals were changed."""
    copy = folder / "copy"
    shutil.copytree(kept, copy)

    async def rewrite() -> None:
        async with EventLog(CardTotal, copy / "totals") as log:
            totals = [record.value async for record in log.records(stop="now")]
        shutil.rmtree(copy / "totals")
        async with EventLog(CardTotal, copy / "totals") as log:
            await log.extend(change(totals))

    asyncio.run(rewrite())
    return copy
