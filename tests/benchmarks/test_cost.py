"""The cost benchmark measures what it says: both sides do the same work, and a difference stops it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.cost import choose, measure
from benchmarks.errors import WrongOutputError
from benchmarks.events import make_events
from benchmarks.report import as_table
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.workloads import Workload

EVENTS = 2_000
NAMES = [workload.name for workload in WORKLOADS]


def silent(_: str) -> None:
    """Hear of progress, and say nothing."""


@pytest.mark.parametrize("workload", WORKLOADS, ids=NAMES)
def test_pipeline_and_plain_loop_give_the_same_output(workload: Workload, tmp_path: Path) -> None:
    """`measure` compares them in every round, and would raise."""
    (reading,) = measure([workload], events=EVENTS, rounds=2, disk=tmp_path, tell=silent)

    assert reading.workload == workload.name
    assert len(reading.rounds) == 2
    assert 0 < reading.records_out <= EVENTS
    assert reading.wall.min <= reading.wall.median <= reading.wall.max
    assert reading.cpu.min > 0
    assert all(each.checkpoints >= 1 for each in reading.rounds), "the final checkpoint is part of the cost"
    assert not list(tmp_path.iterdir()), "stores are removed"


def test_durable_workload_writes_its_store_where_it_is_told(tmp_path: Path) -> None:
    """A temporary folder in memory would make fsync free, so the store must be on the disk that was named."""
    (workload,) = choose(["kc-ckpt"])
    stores: list[Path] = []

    def watch(bids: list[Any]) -> list[Any]:
        stores.extend(tmp_path.rglob("JOB"))
        return workload.plain(bids)

    def connect(pipeline: Any, bids: list[Any], put: Any) -> None:
        def look(record: Any) -> None:
            if not stores:
                stores.extend(tmp_path.rglob("JOB"))
            put(record)

        workload.connect(pipeline, bids, look)

    measure([replace(workload, plain=watch, connect=connect)], events=EVENTS, rounds=1, disk=tmp_path, tell=silent)

    assert [store.parent.name for store in stores] == ["cost"]


def test_different_output_stops_the_measurement(tmp_path: Path) -> None:
    """A figure for work that was not done is worse than none: also where only the order differs."""
    (workload,) = choose(["kc"])

    def turned(bids: list[Any]) -> list[Any]:
        return workload.plain(bids)[::-1]

    with pytest.raises(WrongOutputError, match="kc: 50 records"):
        measure([replace(workload, plain=turned)], events=50, rounds=1, disk=tmp_path, tell=silent)


def test_every_workload_takes_its_turn_at_each_place(tmp_path: Path) -> None:
    """What runs first, or after another, is not always the same one."""
    heard: list[str] = []
    workloads = choose(["q0", "q1", "q2"])
    measure(workloads, events=10, rounds=3, disk=tmp_path, tell=heard.append)

    order = [text.partition(": ")[2] for text in heard]
    assert order == ["q0", "q1", "q2", "q1", "q2", "q0", "q2", "q0", "q1"]


def test_events_depend_on_count_and_seed_only() -> None:
    """Figures of two days are about the same input."""
    assert make_events(100) == make_events(100)
    assert make_events(100) != make_events(100, seed=1)
    assert sum(len(line.split()) for line in make_events(995).lines) == 995


def test_table_has_a_line_for_each_workload_and_aligned_columns(tmp_path: Path) -> None:
    """The table is read by people, in a terminal and in RESULTS.md."""
    readings = measure(choose(["q0", "kc"]), events=100, rounds=1, disk=tmp_path, tell=silent)
    table = as_table(readings).partition("\n\n")[0].splitlines()

    assert [line.split()[0] for line in table] == ["workload", "q0", "kc"]
    assert len({len(line) for line in table}) == 1


def test_command_prints_the_table_and_writes_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make bench` and whoever plots the figures use these."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "cost.json"
    arguments = ["cost", "--events", "200", "--rounds", "1", "--only", "q2", "--only", "kp", "--json", str(file)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)

    assert result.exit_code == 0
    assert result.output.splitlines()[0].split()[:2] == ["workload", "goal"]
    document = json.loads(file.read_text(encoding="utf-8"))
    assert {"command", "date", "machine", "seed", "workloads"} == set(document)
    assert [each["name"] for each in document["workloads"]] == ["q2", "kp"]
    for each in document["workloads"]:
        assert each["events"] == 200
        assert set(each["ratio_cpu"]) == set(each["ratio_wall"]) == {"median", "min", "max"}
        assert set(each["rounds"][0]) == {"plain_before", "ours", "plain_after", "checkpoints"}


def test_unknown_workload_is_refused_with_the_known_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt name must not measure something else, or nothing."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["cost", "--only", "q9"])

    assert result.exit_code == 2
    assert "'q9'" in result.output
    assert "kc-ckpt" in result.output
