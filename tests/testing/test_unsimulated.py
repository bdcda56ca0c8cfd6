"""What no simulation can repeat is refused, by the operator's name and with what to put in its place."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import EventLog, JobFailed, Pipeline, PlanError
from actorstream.testing import outside, simulate
from actorstream.testing.simulation import CannotBeSimulatedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream import SinkContext

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(120)]


def _connect(_: object) -> None:
    socket.create_connection(("127.0.0.1", 9), timeout=0.1)


def _thread(_: object) -> None:
    threading.Thread(target=len, args=("",)).start()


def _sleep(_: object) -> None:
    time.sleep(0.001)


def _process(_: object) -> None:
    subprocess.run(["true"], check=False)


def _write(_: object) -> None:
    Path("made-by-a-simulation").write_text("x")


async def _stream(_: object) -> None:
    await asyncio.open_connection("127.0.0.1", 9)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (_connect, "act does socket"),
        (_thread, "act does threading.Thread.start.*anyio.to_thread"),
        (_sleep, "act does time.sleep.*anyio.sleep"),
        (_process, "act does subprocess.Popen"),
        (_write, "act writes the real file .*made-by-a-simulation"),
        (_stream, "act asks the loop for what it does not have"),
    ],
)
def test_what_leaves_the_simulated_machine_is_refused_by_name(
    act: Callable[[object], object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that talks to the real world passes or fails by chance."""
    monkeypatch.chdir(tmp_path)

    def build() -> Pipeline:
        pipeline = Pipeline("out")
        pipeline.source(range(3)).sink(act, name="act")
        return pipeline

    with pytest.raises(CannotBeSimulatedError, match=said):
        simulate(build, seeds=1)
    assert not os.listdir(tmp_path)
    _sleep(None)


def test_reading_a_file_and_threads_by_asyncio_are_fine() -> None:
    async def read(number: int) -> None:
        await asyncio.to_thread(Path(__file__).read_text)

    def build() -> Pipeline:
        pipeline = Pipeline("reads")
        pipeline.source(range(3)).sink(read, name="read")
        return pipeline

    simulate(build, seeds=2).check()


def test_inputs_and_outputs_that_cannot_be_judged_are_refused() -> None:
    def of(source: Any, sink: Any = print) -> Callable[[], Pipeline]:
        def build() -> Pipeline:
            pipeline = Pipeline("ends")
            pipeline.source(source).sink(sink, name="out")
            return pipeline

        return build

    class Blind:
        def writer(self, ctx: SinkContext, /) -> Any:
            raise AssertionError

    with pytest.raises(PlanError, match="reads an iterator"):
        simulate(of(iter([1])), seeds=1)
    with pytest.raises(PlanError, match=r"nobody can look into the Blind that 'out' writes to"):
        simulate(of([1], Blind()), seeds=1)
    with pytest.raises(PlanError, match="there is no log at"):
        simulate(of(EventLog(int, "/nowhere/in")), seeds=1)
    with pytest.raises(PlanError, match="no simulation runs here"):
        outside(list)


def test_a_pipeline_that_never_ends_or_fails_by_itself_is_told() -> None:
    def failing() -> Pipeline:
        pipeline = Pipeline("fails")
        pipeline.source([1]).map(lambda _: 1 // 0, name="divide")
        return pipeline

    with pytest.raises(JobFailed, match=r"divide .* ZeroDivisionError"):
        simulate(failing, seeds=1)


async def test_on_a_running_loop_it_is_refused() -> None:
    with pytest.raises(PlanError, match="call it from a plain function"):
        simulate(lambda: Pipeline("p"), seeds=1)
