"""The operators' benchmark measures what it says: each pipeline gives what its loop gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.cost import measure
from benchmarks.operators import OPERATORS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.workloads import Workload


@pytest.mark.parametrize("workload", OPERATORS, ids=[each.name for each in OPERATORS])
def test_pipeline_and_plain_loop_give_the_same_output(workload: Workload, tmp_path: Path) -> None:
    """`measure` compares them, and would raise; over keys that come often, too."""
    (reading,) = measure([workload], events=3_000, rounds=1, disk=tmp_path, tell=lambda _: None)

    assert reading.records_out > 0


def test_command_prints_a_line_for_each_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["operators", "--events", "200", "--rounds", "1", "--only", "map", "--only", "top_n"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)

    assert [line.split()[0] for line in result.output.splitlines()[:3]] == ["operator", "map", "top_n"]


def test_unknown_operator_is_refused_with_the_known_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["operators", "--only", "shuffle"])

    assert result.exit_code == 2
    assert "'shuffle'" in result.output
