"""Runs the scenario files about event time, which have the form that test_scenarios.py describes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scenarios.test_scenarios import _play  # pyright: ignore[reportPrivateUsage]
from tests.scenarios.time_stages import STAGES

FILES = sorted((Path(__file__).parent / "time").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    written = path.read_text()

    played = _play(written, STAGES[path.stem.split("_")[0]]())

    if os.environ.get("REWRITE"):
        path.write_text(played)
    assert played == written


def test_every_stage_has_a_scenario() -> None:
    """A stage without a file would rot."""
    assert {path.stem.split("_")[0] for path in FILES} == set(STAGES)
