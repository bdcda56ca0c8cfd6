"""`rescale` measures real jobs, and each of them compares every record that comes out."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.children import run_child
from benchmarks.errors import ChildFailedError, WrongOutputError
from benchmarks.rescale_job import SPLITS, CheckOn, Load, Outputs
from benchmarks.state_job import key_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.timeout(180)
def test_every_figure_is_measured_and_drawn_by_the_number_of_keys(tmp_path: Path) -> None:
    """Pauses, restores, forks and savepoints of stores that are gone afterwards."""
    arguments = ["rescale", "--keys", "400", "--runs", "1", "--rate", "2000", "--json", "r.json", "--plot", "r.svg"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "r.json").read_text())
    found = {figure["name"].removeprefix("400 keys: "): figure["median"] for figure in document["figures"]}

    for step in ("1 to 2", "2 to 4", "4 to 1"):
        # No record came for a while; not much of that is before or after the call.
        assert 0 < found[f"rescale {step}, pause"] < found[f"rescale {step}, in all"] + 500
    for name in ("savepoint, unchanged", "restart", "restore into an empty store", "fork", "layers of the store"):
        assert found[name] > 0
    assert all(points[0][0] == 400 for points in document["curves"].values())
    assert "aim for the pause: 500 ms" in (tmp_path / "r.svg").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.svg"], "stores are removed"


def test_a_store_that_has_seen_other_records_is_an_error(tmp_path: Path) -> None:
    """The child compares: an empty store gives visit 1 where the key has come twice."""
    with pytest.raises(ChildFailedError, match="WrongOutputError: key 0 came with visit 1, expected was 3"):
        run_child("benchmarks.rescale_child", "restart", tmp_path / "empty", 100, 200)


async def read_all(load: Load) -> list[int]:
    """Give the numbers that are due now as keys, split by split."""
    found: list[int] = []
    for split in await load.splits():
        left = load.due // SPLITS
        async for fetched in load.read(split, None):
            found += fetched.values
            left -= len(fetched.values)
            if not left:
                break
    assert len(found) == load.due
    return found


async def test_the_splits_together_have_every_number_once() -> None:
    """So that as many records as there are keys visit each key once, and a check may begin anywhere."""
    keys = 1_000
    load = Load(keys)
    load.burst(keys)
    load.burst(keys // 2)
    found = await read_all(load)
    assert sorted(found) == sorted(key_of(number, keys) for number in range(keys + keys // 2))

    check = CheckOn(keys, load.due)
    for key in range(keys):
        check.take((key, found.count(key) + 1))
    assert check.records == keys


async def test_what_is_due_grows_by_the_clock_until_it_is_stopped() -> None:
    """An open load: it does not wait for whoever reads."""
    load = Load(100, 40)
    assert load.due == 40
    load.steady(1_000_000)
    while load.due == 40:
        pass
    load.steady(0)
    assert load.due == load.due > 40


def test_a_pause_that_still_goes_on_counts_and_each_part_of_it_once() -> None:
    """A job that never came back would have had no pause at all."""
    outputs, made = Outputs(CheckOn(10, 0)), time.monotonic()
    asked = time.monotonic()
    assert outputs.take_longest() >= asked - made
    outputs.take((3, 1))
    assert 0 < outputs.take_longest() <= time.monotonic() - asked


def test_a_record_that_comes_twice_raises() -> None:
    """A doubled record has the number of visits that was there before."""
    outputs = Outputs(CheckOn(10, 0))
    outputs.take((3, 1))
    with pytest.raises(WrongOutputError, match="key 3 came with visit 1, expected was 2"):
        outputs.take((3, 1))
