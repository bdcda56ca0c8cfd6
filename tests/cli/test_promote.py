"""`actorstream promote`: says what will change, asks, and tells where the log as it was lies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.cli.test_compare import Order, make

if TYPE_CHECKING:
    from tests.cli.conftest import Shell


def lines(shell: Shell, log: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in shell("log", "cat", log).out.splitlines()]


def test_it_says_what_changes_and_does_it(shell: Shell) -> None:
    make(shell.folder / "l", [Order("x", cents) for cents in range(5)])
    make(shell.folder / "new", [Order("x", cents if cents != 2 else 200) for cents in range(6)])
    outcome = shell("promote", "l", "new", "--yes")
    assert (outcome.status, outcome.err) == (0, "")
    said = outcome.out.splitlines()
    assert said[0].split() == ["partition", "log", "ends", "at", "replacement", "ends", "at", "first", "difference"]
    assert said[1].split() == ["0", "5", "6", "2"]
    assert said[2] == "readers that have read all go back by 3 records, to the first that differs"
    assert said[3].startswith("l was promoted; as it was, it lies in ")
    before = said[3].rpartition(" ")[2]
    assert [row["cents"] for row in lines(shell, "l")] == [0, 1, 200, 3, 4, 5]
    assert [row["cents"] for row in lines(shell, before)] == [0, 1, 2, 3, 4]
    assert shell("compare", "l", "new").status == 0


def test_a_replacement_that_only_goes_on_sends_nobody_back(shell: Shell) -> None:
    make(shell.folder / "l", [Order("x", cents) for cents in range(5)])
    make(shell.folder / "new", [Order("x", cents) for cents in range(5)])
    said = shell("promote", "l", "new", "--yes").out.splitlines()
    assert said[1].split() == ["0", "5", "5", "-"]
    assert said[2].startswith("readers just go on")


def test_it_asks_first(shell: Shell) -> None:
    """Whoever does not say yes, or cannot, has changed nothing."""
    make(shell.folder / "l", [Order("x", 1)])
    make(shell.folder / "new", [Order("x", 2)])
    for answer, status in (("n\n", 1), ("", 1), ("y\n", 0)):
        process = shell.process("promote", "l", "new")
        out, err = process.communicate(answer, timeout=20)
        assert process.returncode == status, err
        assert "Promote? [y/N]" in out
        if answer == "n\n":
            assert err == "nothing has changed\n"
        assert [row["cents"] for row in lines(shell, "l")] == ([2] if status == 0 else [1])


def test_what_cannot_be_promoted_is_one_clear_line(shell: Shell) -> None:
    make(shell.folder / "l", [Order("x", 1)])
    outcome = shell("promote", "l", "nowhere", "--yes")
    assert outcome.status == 1
    assert outcome.err.startswith("actorstream: StoreError: ")
    assert "holds no event log" in outcome.err
