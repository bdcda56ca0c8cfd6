"""A file of a store or log that is missing, truncated or has a flipped bit: found, named, and mended by a copy.

Each damage is done to a copy of the prepared job (sums.py), on which the whole job is then started, in a process of
its own: LMDB ends a process whose file is not what it expects. For every damage

    the job gives the exact output, as a byte that nobody reads may be anything,
    or an error of ours that names the file; the output so far is right, and with the file back the job goes on exactly
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.sums import NUMBERS, STEPS, WRONG, Damage, Outcome

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(120)]


class Target(NamedTuple):
    """Which file; `flips` is how many bytes, spread over it, lose a bit each."""

    pattern: str
    flips: int

    def file(self, folder: Path) -> str:
        """Give the last one that fits: of checkpoints and layers the newest."""
        found = sorted(folder.glob(self.pattern), key=lambda path: (len(str(path)), str(path)))
        return str(found[-1].relative_to(folder))


def damages(folder: Path, target: Target) -> list[Damage]:
    file = target.file(folder)
    size = (folder / file).stat().st_size
    flips = [Damage(file, "flipped", size * number // target.flips) for number in range(target.flips)]
    return [
        Damage(file, "missing"),
        *(Damage(file, "truncated", at) for at in (0, 1, size // 2, size - 100)),
        *flips,
    ]


def outcomes(folder: Path, wanted: list[Damage]) -> list[Outcome]:
    """Start the job on each damage; a process that dies fails the test."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.faults.sums", str(folder)]
    lines = "".join(json.dumps(damage) + "\n" for damage in wanted)
    process = subprocess.run(command, cwd=ROOT, input=lines, capture_output=True, text=True, check=False)
    said = process.stdout.splitlines()
    last = wanted[int([line for line in said if not line.startswith("{")][-1])]
    assert process.returncode == 0, f"{process.returncode} at {last}: {process.stderr[-3_000:]}"
    return [Outcome(**json.loads(line)) for line in said if line.startswith("{")]


def check(damage: Damage, outcome: Outcome, *, heals: bool = True) -> None:
    about = f"{damage}: {outcome}"
    assert outcome.ours, about
    assert outcome.sums != WRONG, about
    if outcome.error:
        assert outcome.error in {"StoreError", "DataLossError", "RestoreError"}, about
        assert damage.file in outcome.message, about
    if heals:
        assert outcome.healed_sums == len(NUMBERS), about


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(Target("store/sums/JOB", 12), id="JOB"),
        pytest.param(Target("store/sums/attempts/*", 12), id="attempt"),
        pytest.param(Target("store/sums/checkpoints/*/manifest.json", 25), id="manifest"),
        pytest.param(Target("store/sums/layers/*.lmdb", 25), id="layer"),
        pytest.param(Target("sums/staged/*", 20), id="staged output"),
        pytest.param(Target("numbers/LOG", 15), id="log"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_a_copy_mends_it(prepared: Path, target: Target) -> None:
    """These files are proved whole by a digest: no damage at all passes."""
    wanted = damages(prepared, target)
    for damage, outcome in zip(wanted, outcomes(prepared, wanted), strict=True):
        check(damage, outcome)
        # A manifest with no second name yet was not published for anybody who is missing it.
        assert outcome.error or (damage.kind == "missing" and "manifest" in damage.file), f"{damage}: {outcome}"
        assert outcome.sums in {STEPS[0], len(NUMBERS)}, f"{damage}: {outcome}"


def test_damage_to_the_input_is_found_and_no_process_dies_of_it(prepared: Path) -> None:
    """A segment that is written to has no digest: its pages, its own entries and each record are proved apart.

    What is found at a record is found when the job gets there: what came before it is output. The end of the file
    may be a free page, which nothing depends on.
    """
    wanted = damages(prepared, Target("numbers/segments/*.lmdb", 40))
    found = outcomes(prepared, wanted)
    for damage, outcome in zip(wanted, found, strict=True):
        check(damage, outcome)
    # The last page may be one that is free.
    shorter = [outcome for damage, outcome in zip(wanted, found, strict=True) if damage.kind == "truncated"]
    assert all(outcome.error for outcome in shorter[:-1])
    assert sum(bool(outcome.error) for outcome in found) > 4


def test_damage_to_the_output_is_found_by_whoever_reads_it_and_no_process_dies_of_it(prepared: Path) -> None:
    """The job does not read what it committed; its marks and pages it does. A copy of an output is older than it."""
    wanted = damages(prepared, Target("sums/segments/*.lmdb", 40))
    for damage, outcome in zip(wanted, outcomes(prepared, wanted), strict=True):
        check(damage, outcome, heals=False)


def test_a_flipped_bit_in_the_mark_of_a_commit_loses_and_doubles_nothing(prepared: Path) -> None:
    """The mark says which checkpoint's output is in the log: misread, the next one is dropped or comes twice (T102)."""
    file = Target("sums/segments/*.lmdb", 0).file(prepared)
    data = (prepared / file).read_bytes()
    at = [place for place in range(len(data)) if data.startswith(b'"checkpoint": ', place)]
    assert at
    wanted = [Damage(file, "flipped", place + 14) for place in at]
    for outcome in outcomes(prepared, wanted):
        assert outcome.ours, outcome
        assert outcome.sums in {None, len(NUMBERS)}, outcome


def test_a_published_manifest_that_is_gone_is_missed(prepared: Path) -> None:
    """T90: its second name tells it from one that was never published; nothing older is taken silently."""
    newest = Target("store/sums/checkpoints/*/manifest.json", 0).file(prepared)
    os.link(prepared / newest, (prepared / newest).with_name("completed"))
    damage = Damage(newest, "missing")
    (outcome,) = outcomes(prepared, [damage])
    check(damage, outcome)
    assert outcome.error == "RestoreError"
    assert "puts it back" in outcome.message
