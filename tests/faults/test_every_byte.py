"""One bit of every byte of a store and a log: the right result or our own error, no wrong value, no dead process.

`make test` takes a part of the bytes, `make sweep` all (but of the zeros that fill lock files, and of what the whole
job is started with again).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.every_byte import DIED, RIGHT, Verdict, flips, ways_to_pages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.faults.sums import Damage

ROOT = Path(__file__).parents[2]
MEMORY = "/dev/shm"
pytestmark = [pytest.mark.crash, pytest.mark.slow]

DOCUMENTS = ("store/sums/JOB", "store/sums/attempts/*", "store/sums/checkpoints/*/*", "numbers/LOG", "sums/LOG")
LAYERS = ("store/sums/layers/*.lmdb",)
RECORD = ("store/sums/layers.verified",)
INPUT = ("numbers/segments/*.lmdb",)
OUTPUT = ("sums/segments/*.lmdb", "sums/staged/*")


@pytest.fixture(scope="module")
def scratch(pristine: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: nothing here depends on a sync."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY if os.access(MEMORY, os.W_OK) else pristine.parent))
    yield folder
    shutil.rmtree(folder)


def damages(pristine: Path, patterns: Sequence[str], of_used: int, of_unused: int) -> list[Damage]:
    files = [file for pattern in patterns for file in sorted(pristine.glob(pattern))]
    assert len(files) >= len(patterns)
    return [
        damage
        for file in files
        for damage in flips(str(file.relative_to(pristine)), file.read_bytes(), of_used, of_unused)
    ]


def verdicts(use: str, pristine: Path, scratch: Path, wanted: Sequence[Damage]) -> list[Verdict]:
    """Use the files with each damage; where a process dies, another goes on behind it."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.faults.every_byte", use, str(pristine), str(scratch)]
    found: list[Verdict] = []
    while len(found) < len(wanted):
        lines = "".join(json.dumps(damage) + "\n" for damage in wanted[len(found) :])
        process = subprocess.run(command, cwd=ROOT, input=lines, capture_output=True, text=True, check=False)
        found += [Verdict(*json.loads(line)) for line in process.stdout.splitlines()]
        if process.returncode:
            found.append(Verdict(DIED, ours=False, message=f"{process.returncode}: {process.stderr[-2_000:]}"))
    return found


def check(use: str, pristine: Path, scratch: Path, wanted: Sequence[Damage]) -> Counter[str]:
    """Every verdict must be right or ours; give how often there was which."""
    found = verdicts(use, pristine, scratch, wanted)
    bad = [(damage, one) for damage, one in zip(wanted, found, strict=True) if not one.ours]
    assert not bad, f"{len(bad)} of {len(wanted)}, the first: {bad[:3]}"
    return Counter(one.error for one in found)


def steps(of_used: int, of_unused: int, least: tuple[int, int] = (1, 1)) -> pytest.MarkDecorator:
    """Take every so manieth byte of those that hold something, and of the zeros; `make sweep` takes `least`."""
    part = pytest.param(of_used, of_unused, id="a part", marks=pytest.mark.timeout(120))
    marks = [pytest.mark.verify, pytest.mark.timeout(3_600)]
    return pytest.mark.parametrize(("of_used", "of_unused"), [part, pytest.param(*least, id="all", marks=marks)])


@steps(41, 1)
def test_documents(pristine: Path, scratch: Path, of_used: int, of_unused: int) -> None:
    """Every byte of them is under a digest; JSON's white space too."""
    found = check("job", pristine, scratch, damages(pristine, DOCUMENTS, of_used, of_unused))
    assert found["StoreError"] + found["RestoreError"] > 50
    # What is not newest may be damaged and in nobody's way: a second name, an older checkpoint.
    assert found[RIGHT] > 0


@steps(6, 1)
def test_documents_of_a_store_as_a_restore_reads_them(
    pristine: Path, scratch: Path, of_used: int, of_unused: int
) -> None:
    found = check("store", pristine, scratch, damages(pristine, DOCUMENTS[:3], of_used, of_unused))
    assert found["StoreError"] + found["RestoreError"] > 0


@steps(8, 1_000)
def test_layers(pristine: Path, scratch: Path, of_used: int, of_unused: int) -> None:
    """A layer is proved by its digest, though it was noted as proved before the bit was flipped: every byte counts."""
    found = check("store", pristine, scratch, damages(pristine, LAYERS, of_used, of_unused))
    assert RIGHT not in found


@steps(3, 1)
def test_record_of_what_was_proved(pristine: Path, scratch: Path, of_used: int, of_unused: int) -> None:
    """It decides only what is read: damaged, it is not believed, and nothing is missing."""
    found = check("store", pristine, scratch, damages(pristine, RECORD, of_used, of_unused))
    assert set(found) == {RIGHT}


@steps(13, 200)
def test_input_that_is_read_and_appended_to(pristine: Path, scratch: Path, of_used: int, of_unused: int) -> None:
    found = check("input", pristine, scratch, damages(pristine, INPUT, of_used, of_unused))
    assert found[RIGHT] > 0
    assert found["DataLossError"] > 50


@steps(13, 200)
def test_output_that_is_committed_to(pristine: Path, scratch: Path, of_used: int, of_unused: int) -> None:
    found = check("output", pristine, scratch, damages(pristine, OUTPUT, of_used, of_unused))
    assert found[RIGHT] > 0
    assert found["DataLossError"] > 50


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("use", "log"), [("input", "numbers"), ("output", "sums")])
def test_every_bit_by_which_lmdb_finds_pages(pristine: Path, scratch: Path, use: str, log: str) -> None:
    """An old root leads to an old tree, whole and without the last records; a page taken for free is written over."""
    found = check(use, pristine, scratch, ways_to_pages(f"{log}/segments/000001.lmdb", str(pristine)))
    assert found["DataLossError"] > 50


@pytest.mark.parametrize(("use", "log"), [("input", "numbers"), ("output", "sums")])
@steps(2, 1_000, least=(1, 256))
def test_lock_files(pristine: Path, scratch: Path, use: str, log: str, of_used: int, of_unused: int) -> None:
    """Whoever comes first makes them anew: no damage is seen."""
    found = check(use, pristine, scratch, damages(pristine, [f"{log}/segments/*-lock"], of_used, of_unused))
    assert set(found) == {RIGHT}


@steps(250, 5_000, least=(10, 500))
def test_whole_job(pristine: Path, scratch: Path, of_used: int, of_unused: int) -> None:
    """The same bytes of layers and logs, met by the job as it starts and runs."""
    found = check("job", pristine, scratch, damages(pristine, [*LAYERS, *INPUT, *OUTPUT], of_used, of_unused))
    assert found[RIGHT] > 0
    assert len(found) > 1
