"""The suite proves itself: with each of these bugs in the real code, something must break.

Everything that is found is in a table at the end (conftest.py).
"""

from __future__ import annotations

import inspect
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actorstream.testing.session import BrokenPromiseError
from tests.mutations.entering import MUTANTS, Mutant
from tests.mutations.hunting import Apply, by_seeds

if TYPE_CHECKING:
    from collections.abc import Callable
from contextlib import nullcontext

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(120)]  # one takes 14 s, where nothing else runs

FILES = {
    path.stem.removeprefix("of_"): import_module(f"tests.mutations.{path.stem}")  # importing it enters its mutants
    for path in sorted(Path(__file__).parent.glob("of_*.py"))
}
REQUIRED = {
    "protocol",
    "commit",
    "layers",
    "compaction",
    "windows",
    "timers",
    "watermarks",
    "joins",
    "loops",
    "rescale",
    "replay",
    "log",
    "unaligned",
}
LEAST = 4
ORACLES = {
    "cut",
    "prefix",
    "complete",
    "kept",
    "monotone",
    "fenced",
    "immutable",
    "progress",
    "query",
    "released",
    "readable",
    "fork",
}


def test_every_area_has_its_bugs() -> None:
    """What nothing was ever put into is not known to be watched."""
    assert FILES.keys() >= REQUIRED
    entered = Counter(mutant.area for mutant in MUTANTS)
    assert {area: entered[area] for area in FILES if entered[area] < LEAST} == {}


def test_every_bug_is_entered_under_its_area() -> None:
    """A mutant that is not tried proves nothing."""
    written = {area: inspect.getsource(file).count("\n@AREA.") for area, file in FILES.items()}
    assert written == Counter(mutant.area for mutant in MUTANTS)
    assert max(Counter((mutant.area, mutant.name) for mutant in MUTANTS).values()) == 1


def test_every_oracle_of_the_public_simulation_has_a_bug_to_find() -> None:
    """An oracle that nothing ever breaks may as well not be there."""
    assert {mutant.oracle for mutant in MUTANTS} - {None} == ORACLES


def test_a_mutant_that_falls_over_proves_nothing() -> None:
    """A method has a new word, the mutant does not know it, and every seed "finds" a TypeError."""

    def run_seed(seed: int, apply: Apply) -> None:
        with apply():
            try:
                nullcontext(word=seed)  # type: ignore[call-overload]
            except TypeError as error:
                raise BrokenPromiseError("progress", "the job failed") from error

    with pytest.raises(AssertionError, match="does not fit the code any more: TypeError"):
        by_seeds(run_seed)(nullcontext)


@pytest.mark.mutants
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.area}: {mutant.name}")
def test_a_bug_in_the_real_code_is_found(mutant: Mutant, record_property: Callable[[str, object], None]) -> None:
    """Within a bounded number of tries."""
    began = time.process_time()
    found = mutant.find()
    assert found is not None, f"{mutant.area}: {mutant.name}: survives"
    seconds = round(time.process_time() - began, 2)
    record_property("mutant", [mutant.area, mutant.name, found.by, f"{found.tries} {found.what}", seconds])
