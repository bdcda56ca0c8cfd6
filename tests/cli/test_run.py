"""`actorstream run`: real processes, real signals, and what is in the store afterwards."""

from __future__ import annotations

import asyncio
import re
import signal
from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.view import StoreView
from actorstream.eventlog.log import EventLog
from actorstream.model.ids import CheckpointId
from actorstream.system.current import current_world

if TYPE_CHECKING:
    import subprocess

    from actorstream.checkpoints.manifest import Manifest
    from tests.cli.conftest import Shell

BOUNDED = """
from actorstream import Pipeline

pipeline = Pipeline("words")
pipeline.source(["a b", "b"], name="lines").flat_map(str.split).key_by(lambda w: w).count(name="counts").sink(print)

def fail(word):
    raise ValueError("no such word")

failing = Pipeline("failing")
failing.source(["a"]).map(fail, name="look.up").sink(print)
"""

ENDLESS = """
from actorstream import EventLog, Pipeline

def say(entry):
    print(*entry, flush=True)

pipeline = Pipeline("words")
words = pipeline.source(EventLog(str, "words"), name="words").key_by(lambda w: w)
words.count(name="counts").sink(say, name="out")
"""

STUCK = """
import asyncio
from actorstream import EventLog, Pipeline

async def never(word):
    print(word, flush=True)
    await asyncio.Event().wait()

pipeline = Pipeline("words")
pipeline.source(EventLog(str, "words"), name="words").sink(never, name="out")
"""

SLOW_TO_START = """
import asyncio, os
from actorstream import EventLog, Fetched, Pipeline

class Slow:
    async def splits(self):
        print("starting", flush=True)
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)
        return ["0"]

    async def read(self, split, after):
        yield Fetched(["a"], 0)
        await asyncio.Event().wait()

pipeline = Pipeline("words")
pipeline.source(Slow(), name="words").sink(print, name="out")
"""


def test_a_bounded_pipeline_runs_to_its_end(shell: Shell) -> None:
    """And says in one line what it did."""
    shell.write("bounded.py", BOUNDED)
    process = shell.process("run", "bounded:pipeline", "--store", "store")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[:-1] == ["('a', 1)", "('b', 1)", "('b', 2)"]
    assert re.match(r"words: 2 records in, 3 out, checkpoints: \d+, restarts: 0, ", out.splitlines()[-1])
    assert newest(shell).final


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_with_a_final_checkpoint(shell: Shell, number: signal.Signals) -> None:
    """What systemd and Ctrl-C send must cost nothing: the next run goes on right there."""
    shell.write("endless.py", ENDLESS)
    append(shell, ["a", "b", "b"])
    # So long an interval that only the stop can have made a checkpoint.
    process = shell.process("run", "endless:pipeline", "--store", "store", "--interval", "600")
    assert lines(process, 3) == ["a 1", "b 1", "b 2"]
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert "3 records in" in out
    manifest = newest(shell)
    assert manifest.final
    assert manifest.operators["counts"].states.keys() == {"value"}

    append(shell, ["b"])
    again = shell.process("run", "endless:pipeline", "--store", "store")
    assert lines(again, 1) == ["b 3"]


def test_a_signal_before_the_job_is_up_stops_it_as_soon_as_it_is(shell: Shell) -> None:
    """A restart that is taken back at once must neither be lost nor kill the process halfway."""
    shell.write("slow.py", SLOW_TO_START)
    process = shell.process("run", "slow:pipeline", "--store", "store")
    assert lines(process, 1) == ["starting"]
    process.send_signal(signal.SIGTERM)
    shell.write("go", "")
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert newest(shell).final


def test_a_second_signal_ends_at_once(shell: Shell) -> None:
    """A sink that never returns must not make a process that cannot be stopped."""
    shell.write("stuck.py", STUCK)
    append(shell, ["a"])
    process = shell.process("run", "stuck:pipeline", "--store", "store")
    assert lines(process, 1) == ["a"]
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_failed_job_is_one_line_and_status_1(shell: Shell) -> None:
    """Operator, error and record stand in it; no traceback unless asked for."""
    shell.write("failing.py", BOUNDED)
    process = shell.process("run", "failing:failing")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("actorstream: JobFailed: look.up (subtask 0) raised ValueError: no such word")
    assert err.count("\n") == 1


def test_a_store_in_use_is_refused(shell: Shell) -> None:
    """Two processes on one store: the second one changes nothing."""
    shell.write("endless.py", ENDLESS)
    append(shell, ["a"])
    process = shell.process("run", "endless:pipeline", "--store", "store")
    assert lines(process, 1) == ["a 1"]
    second = shell.process("run", "endless:pipeline", "--store", "store")
    _, err = second.communicate(timeout=20)
    assert second.returncode == 1
    assert err.startswith("actorstream: StoreInUseError: ")
    assert process.poll() is None


def append(shell: Shell, words: list[str]) -> None:
    async def extend() -> None:
        async with EventLog(str, shell.folder / "words") as log:
            await log.extend(words)

    asyncio.run(extend())


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


def newest(shell: Shell) -> Manifest:
    view = StoreView(current_world().files, str(shell.folder / "store" / "words"))
    return view.read(CheckpointId(view.checkpoint_ids()[-1]))


def test_memory_for_state_is_given_in_mib(shell: Shell) -> None:
    shell.write("bounded.py", BOUNDED)
    process = shell.process("run", "bounded:pipeline", "--state-memory", "1")
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said

    refused = shell("run", "bounded:pipeline", "--state-memory", "0")
    assert refused.status == 2
    assert "--state-memory" in refused.err
