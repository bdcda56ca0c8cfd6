"""The benchmark of async functions measures what it says: every call is made, and its result comes out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from benchmarks import async_functions
from benchmarks.__main__ import app
from benchmarks.errors import WrongOutputError

if TYPE_CHECKING:
    from pathlib import Path


def test_command_prints_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It compares the results of each run, and that 1,000 calls are in the checkpoints, and would raise."""
    monkeypatch.chdir(tmp_path)
    arguments = ["async", "--records", "2000", "--runs", "1", "--json", "figures.json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)

    assert "checkpoint with 1,000 calls in flight" in result.output
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert len(figures) == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json"]


async def test_results_out_of_order_are_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def other(number: int) -> int:
        return number ^ 1

    with pytest.raises(WrongOutputError, match="in another order"):
        await async_functions.awaited(other, 10)
    assert await async_functions.awaited(other, 10, ordered=False) > 0
    monkeypatch.setattr(async_functions, "KEYS", 3)
    assert await async_functions.keyed(10) > 0
