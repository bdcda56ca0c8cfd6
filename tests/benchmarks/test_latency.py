"""Latency is taken from the moment at which an event was due, and wrong output stops the measurement."""

from __future__ import annotations

import asyncio
import fcntl
import json
import subprocess
import sys
import termios
import time
from typing import IO, TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from benchmarks import latency
from benchmarks.__main__ import app
from benchmarks.errors import WrongOutputError
from benchmarks.latency import KEYS, Load, Watch, key_of, run_once
from benchmarks.load_generator import EVENT

if TYPE_CHECKING:
    from pathlib import Path

SHORT = Load(rate=1_000, seconds=0.5, warmup=0.1, checkpoint_seconds=0.1)


def _waiting(pipe: IO[bytes]) -> int:
    """Give the number of bytes that nobody has read yet."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_generator_sets_due_times_by_its_plan_and_not_by_its_reader() -> None:
    """An open loop: a reader that does not read delays what is written, not when it was due."""
    command = [sys.executable, "-m", "benchmarks.load_generator", "20000", "6000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
        while _waiting(process.stdout) < 30_000:  # 144,000 bytes are due in 300 ms, a pipe takes less than half of that
            time.sleep(0.001)
        time.sleep(0.3)
        events = list(EVENT.iter_unpack(process.stdout.read()))

    assert [number for number, _, _ in events] == list(range(6_000))
    first = events[0][1]
    assert all(abs(due - first - number * 50_000) <= 1 for number, due, _ in events)
    assert all(written >= due for _, due, written in events), "no event comes before its time"
    assert events[-1][2] - events[-1][1] > 10_000_000, "the full pipe held the last ones up, and that is seen"


def test_latency_counts_from_the_due_time(tmp_path: Path) -> None:
    """A stall of the job delays every event that is due in it: each counts, none is left out."""
    load = Load(rate=1_000, seconds=0.6, warmup=0.0, checkpoint_seconds=0.1)
    stalled: list[float] = []

    class Stalling(Watch):
        def take(self, result: tuple[latency.Event, int]) -> None:
            if result[0][0] == 300:
                stalled.append(0.1)
                time.sleep(0.1)
            super().take(result)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "Watch", Stalling)
        found = asyncio.run(run_once(load, str(tmp_path)))

    assert stalled
    assert len(found.job) == load.events
    late = sum(nanoseconds > 50e6 for nanoseconds in found.job)
    assert late >= 45, "about 100 events were due during the stall, and half of them waited for over 50 ms"


def test_every_key_is_visited_once_in_a_round() -> None:
    """So that a result can be checked by its number alone."""
    assert {key_of((number, 0, 0)) for number in range(KEYS, 2 * KEYS)} == set(range(KEYS))


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (((0, 0, 0), 2), "event 0 came as visit 2"),
        (((1, 0, 0), 1), "event 1 came as visit 1 of its key; event 0 was expected"),
    ],
)
def test_wrong_result_raises(result: tuple[latency.Event, int], problem: str) -> None:
    """A lost record, or a lost state, makes a job fast."""
    watch = Watch(Load(1, 1, 0, 1))
    watch.take(result)

    with pytest.raises(WrongOutputError, match=problem):
        watch.latencies(checkpoints=2)


def test_missing_result_or_checkpoint_raises() -> None:
    """A run without a checkpoint measures something else."""
    watch = Watch(Load(rate=2, seconds=1, warmup=0, checkpoint_seconds=1))
    watch.take(((0, 0, 0), 1))
    with pytest.raises(WrongOutputError, match="1 results came, 2 were expected"):
        watch.latencies(checkpoints=2)
    watch.take(((1, 0, 0), 1))
    with pytest.raises(WrongOutputError, match="no checkpoint"):
        watch.latencies(checkpoints=1)


def test_job_with_wrong_output_stops_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From end to end: the job itself gives a wrong count."""

    def forget(visits: int, event: latency.Event) -> tuple[int, tuple[latency.Event, int]]:
        return visits, (event, 7 if event[0] == 400 else 1)

    monkeypatch.setattr(latency, "number_visit", forget)
    with pytest.raises(WrongOutputError, match="event 400 came as visit 7"):
        asyncio.run(run_once(SHORT, str(tmp_path)))


def test_command_prints_percentiles_writes_json_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once through, small."""
    monkeypatch.chdir(tmp_path)
    arguments = [
        "latency",
        "--rate",
        "1000",
        "--seconds",
        "0.4",
        "--warmup",
        "0.1",
        "--checkpoint-interval",
        "0.1",
        "--runs",
        "1",
    ]
    arguments += ["--json", "latency.json", "--plot", "plots/latency.svg"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)

    assert result.exit_code == 0
    assert result.output.splitlines()[3].startswith("latency, p99")
    assert "< 5" in result.output.splitlines()[3]
    document = json.loads((tmp_path / "latency.json").read_text())
    assert {"command", "date", "machine", "settings", "figures", "curves"} == set(document)
    names = [figure["name"] for figure in document["figures"]]
    assert names[:5] == [f"latency, {share}" for share in ("p50", "p90", "p99", "p99.9", "max")]
    values = [figure["median"] for figure in document["figures"][:5]]
    assert values == sorted(values)
    assert document["settings"]["checkpoints"][0] >= 2
    assert next(point[0] for point in document["curves"]["run 1"]) == 1
    assert "aim for p99" in (tmp_path / "plots/latency.svg").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"latency.json", "plots"}, "stores are removed"
