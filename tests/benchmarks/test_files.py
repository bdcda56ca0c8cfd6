"""The files' benchmark measures what it says: what is read and written is the same on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.errors import WrongOutputError
from benchmarks.files import FORMATS, TRIALS, orders_of, read_csv

if TYPE_CHECKING:
    from pathlib import Path


def test_command_prints_a_line_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It compares the records of each run, and would raise."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["files", "--records", "3000", "--rounds", "1"], catch_exceptions=False)

    lines = [line[:15].strip() for line in result.output.splitlines() if line]
    assert [line for line in lines if line.startswith(("read", "write"))] == list(TRIALS)
    assert list(tmp_path.iterdir()) == []


def test_other_records_are_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(
        FORMATS, "csv", type(FORMATS["csv"])(FORMATS["csv"].ours, lambda p: read_csv(p)[1:], FORMATS["csv"].write)
    )
    with pytest.raises(WrongOutputError, match="csv: 9 records, expected 10"):
        TRIALS["read csv"](tmp_path, orders_of(10))


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    result = CliRunner().invoke(app, ["files", "--only", "read xml"])
    assert result.exit_code == 2
    assert "'read xml'" in result.output
