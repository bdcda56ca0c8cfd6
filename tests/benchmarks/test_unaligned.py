"""`unaligned` compares what came out with what went in, and prints both modes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from benchmarks import unaligned
from benchmarks.errors import WrongOutputError
from benchmarks.unaligned import KEYS, Counted, check, measure

if TYPE_CHECKING:
    from pathlib import Path


def rows(records: int) -> list[Counted]:
    return [Counted(value % KEYS, value // KEYS, value) for value in range(records)]


def test_a_record_that_is_lost_doubled_or_out_of_its_order_has_no_figure() -> None:
    right = rows(200)
    check(right, 200)
    for wrong in (right[:-1], [*right, right[0]], [right[KEYS], right[0], *right[1:KEYS], *right[KEYS + 1 :]]):
        with pytest.raises(WrongOutputError):
            check(wrong, 200)


def test_both_modes_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small: what it takes when all is full, `python -m benchmarks unaligned` tells."""
    monkeypatch.setattr(unaligned, "SINK_SECONDS", 0.0001)
    monkeypatch.setattr(unaligned, "_FILL_SECONDS", 0.05)
    told: list[str] = []
    findings = asyncio.run(measure(runs=1, checkpoints=1, disk=tmp_path, tell=told.append, records=3_000))
    assert told == ["run 1 of 1: unaligned", "run 1 of 1: aligned"]
    names = [figure.name for figure in findings.figures]
    assert names[:3] == ["checkpoint, unaligned", "checkpoint, aligned", "aligned / unaligned"]
