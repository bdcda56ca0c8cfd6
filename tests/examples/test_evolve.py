"""The story of examples/evolve, as its page tells it: every command is run.

But for one thing: where the page gives a job four seconds, it is stopped here as soon as its output is there. That is
sooner where the machine is at rest, and where it is not, nothing depends on what it does in four seconds.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from actorstream.errors import StoreError
from actorstream.eventlog.untyped import open_untyped
from tests.test_guides import BLOCK, ROOT, run_console, run_in_shell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

EXAMPLE = ROOT / "examples" / "evolve"
FOR_SECONDS = re.compile(r"timeout --preserve-status -s INT \d+ (?=actorstream run )")
PATIENCE_SECONDS = 60.0


def commands() -> Sequence[str]:
    """Give the console blocks of the page."""
    return [block for kind, block in BLOCK.findall((EXAMPLE / "README.md").read_text()) if kind == "console"]


def run_until_done(command: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command; stop one that the page stops by the clock once each booking has its statement."""
    if not FOR_SECONDS.match(command):
        return run_in_shell(command, environment)
    begun = time.monotonic()
    with subprocess.Popen(
        ["bash", "-c", FOR_SECONDS.sub("exec ", command)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while asyncio.run(is_behind()) and process.poll() is None and time.monotonic() < begun + PATIENCE_SECONDS:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


async def is_behind() -> bool:
    """Tell whether a booking has no statement yet."""
    return await records_in("statements") < await records_in("bookings")


async def records_in(log: str) -> int:
    try:
        async with open_untyped(log) as opened:
            return (await opened.summary()).records
    except StoreError:
        return 0  # it is not made yet


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_page_keeps_its_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with nothing but the two programs."""
    for name in ("v1.py", "v2.py"):
        shutil.copy(EXAMPLE / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    blocks = commands()
    assert len(blocks) == 5
    assert sum(len(FOR_SECONDS.findall(block)) for block in blocks) == 4
    for block in blocks:
        run_console(block, run_until_done)
