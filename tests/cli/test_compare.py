"""`actorstream compare`: words, JSON, and a status that scripts can go by."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actorstream.eventlog.log import EventLog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.cli.conftest import Shell


@dataclass(frozen=True)
class Order:
    user: str
    cents: int


def make(path: Path, orders: Sequence[Order]) -> None:
    async def append() -> None:
        async with EventLog(Order, path) as log:
            await log.extend(orders)

    asyncio.run(append())


def test_equal_logs_leave_with_0(shell: Shell) -> None:
    for name in "ab":
        make(shell.folder / name, [Order("x", 1), Order("y", 2)])
    outcome = shell("compare", "a", "b")
    assert (outcome.status, outcome.out, outcome.err) == (0, "equal: 2 records in both\n", "")


def test_different_logs_leave_with_1_and_show_both_sides(shell: Shell) -> None:
    """Into a pipe no line is cut, and no colour is written."""
    make(shell.folder / "a", [Order("x", 1), Order("y", 2), Order("z" * 200, 3)])
    make(shell.folder / "b", [Order("x", 1), Order("y", 5)])
    outcome = shell("compare", "a", "b", "--key", "user")
    assert (outcome.status, outcome.err) == (1, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "1 the same, 1 different, 1 only in A, 0 only in B"
    assert lines[1].split() == ["key", "A", "B"]
    assert lines[2].split() == ['"y"', '{"user":"y","cents":2}', '{"user":"y","cents":5}']
    assert lines[3].split() == [f'"{"z" * 200}"', f'{{"user":"{"z" * 200}","cents":3}}', "-"]
    assert "\x1b" not in outcome.out


def test_as_many_samples_as_asked_for_and_how_many_there_are_beside(shell: Shell) -> None:
    make(shell.folder / "a", [Order("x", cents) for cents in range(20)])
    make(shell.folder / "b", [])
    assert shell("compare", "a", "b", "--samples", "2").out.splitlines()[-1] == "and 18 more"


def test_json_has_everything_on_one_line(shell: Shell) -> None:
    make(shell.folder / "a", [Order("x", 1)])
    make(shell.folder / "b", [Order("x", 2)])
    outcome = shell("compare", "a", "b", "--key", "user", "--json")
    assert outcome.status == 1
    assert json.loads(outcome.out) == {
        "equal": False,
        "only_a": 0,
        "only_b": 0,
        "different": 1,
        "same": 0,
        "samples": [{"key": "x", "a": {"user": "x", "cents": 1}, "b": {"user": "x", "cents": 2}}],
    }
    assert shell("compare", "a", "b", "--ignore", "cents", "--json").status == 0


def test_an_error_leaves_with_2_also_with_a_traceback(shell: Shell) -> None:
    """1 would say that the logs differ."""
    make(shell.folder / "a", [Order("x", 1)])
    outcome = shell("compare", "a", "nowhere")
    assert outcome.status == 2
    assert outcome.err.startswith("actorstream: StoreError: ")
    assert "holds no event log" in outcome.err
    debugged = shell("--debug", "compare", "a", "nowhere")
    assert debugged.status == 2
    assert "Traceback" in debugged.err
    assert shell("compare", "a", "a", "--key", "nosuch").status == 0, "equal bytes need no key"
    make(shell.folder / "b", [Order("x", 2)])
    assert shell("compare", "a", "b", "--key", "nosuch").status == 2
    assert shell("compare", "a").status == 2
