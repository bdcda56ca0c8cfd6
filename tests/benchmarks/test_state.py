"""`state` measures real processes, and each of them compares what it reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.children import memory_of, run_child
from benchmarks.errors import ChildFailedError, WrongOutputError
from benchmarks.state_job import Check, key_of, rewrite

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

SMALL = [
    "--keys",
    "2000",
    "--changed",
    "500",
    "--largest",
    "10000",
    "--seconds",
    "0.3",
    "--runs",
    "1",
    "--json",
    "state.json",
]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def measure(*arguments: str) -> dict[str, Any]:
    """Run the command; give each figure of its document by name."""
    result = CliRunner().invoke(app, ["state", *SMALL, *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    with open("state.json", encoding="utf-8") as file:
        document = json.load(file)
    assert {"command", "date", "machine", "settings", "figures", "curves"} == set(document)
    return {figure["name"]: figure for figure in document["figures"]}


def test_restart_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    """From exec on: interpreter, imports, restore, first record."""
    found = {name: figure["median"] for name, figure in measure("--only", "restart").items()}

    parts = [found[f"restart, {part}"] for part in ("interpreter", "imports", "restore", "first record")]
    assert found["restart, from exec"] == pytest.approx(sum(parts))
    assert found["restart, from interpreter"] == pytest.approx(sum(parts[1:]))
    assert min(parts) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"], "stores are removed"


def test_stalls_are_measured_during_a_checkpoint_of_the_changed_keys() -> None:
    """Its time, the longest stall and what that consisted of."""
    found = measure("--only", "stalls")

    assert found["checkpoint of 500, longest stall"]["aim"] == "< 15"
    assert found["checkpoint of 500, longest stall"]["median"] > 0
    assert found["checkpoint of 500, records meanwhile"]["median"] > 0, "the loop was saturated"


def test_memory_is_measured_against_budget_and_room() -> None:
    """64 MiB of state, and 100 MiB for everything else."""
    found = measure("--only", "memory")

    assert found["memory, peak"]["aim"] == "< 164"
    peak = found["memory, peak"]["median"]
    assert found["memory, before the job"]["median"] < peak
    assert found["memory, random updates"]["median"] > 0


def test_restart_is_drawn_against_the_number_of_keys(tmp_path: Path) -> None:
    """A point for each power of ten up to the largest."""
    found = measure("--only", "curve", "--plot", "restart.svg")

    assert list(found) == ["restart, 10,000 keys"]
    assert json.loads((tmp_path / "state.json").read_text())["curves"]["restart"][0][0] == 10_000
    assert "keys of about 100 bytes" in (tmp_path / "restart.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--only", "speed"], "restart, stalls, memory, curve"),
        (["--changed", "3000"], "more than the 2000 there"),
        (["--only", "memory", "--plot", "x.svg"], "the part 'curve'"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], problem: str) -> None:
    """Before anything is measured."""
    result = CliRunner().invoke(app, ["state", *SMALL, *arguments], env={"COLUMNS": "200"})

    assert result.exit_code == 2
    assert problem in result.output


def test_restart_on_a_store_with_other_state_is_an_error(tmp_path: Path) -> None:
    """The child compares: a store whose keys have not been there gives visit 1 instead of 2."""
    with pytest.raises(ChildFailedError, match="WrongOutputError: key 0 came with visit 1, expected was 2"):
        run_child("benchmarks.state_child", "restart", tmp_path / "empty", 100, 0)


def test_keys_of_a_round_are_all_different() -> None:
    """So that so many records change so many keys."""
    for keys in (100, 2_000, 10_000):
        assert {key_of(number, keys) for number in range(keys, 2 * keys)} == set(range(keys))


def test_text_of_another_key_raises() -> None:
    """State that went to the wrong key."""
    text, visit = rewrite("", 7)
    assert visit == (7, 1)
    assert rewrite(text, 7)[1] == (7, 2)
    assert len(text) == 100
    with pytest.raises(WrongOutputError, match="key 8 says that it is of key 7"):
        rewrite(text, 8)


def test_lost_or_doubled_visit_raises() -> None:
    """State that is older or newer than it should be."""
    check = Check(10, visited=1)
    check.take((3, 2))
    with pytest.raises(WrongOutputError, match="key 3 came with visit 2, expected was 3"):
        check.take((3, 2))
    with pytest.raises(WrongOutputError, match="key 4 came with visit 3, expected was 2"):
        check.take((4, 3))


def test_memory_of_a_process_that_has_ended_is_nothing() -> None:
    """It may end between two looks."""
    assert memory_of(2**22 + 1) == (0, 0)
