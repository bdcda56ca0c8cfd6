"""The suite proves itself: with each of these bugs in the real code, some seed must break an oracle."""

from __future__ import annotations

import inspect
import time

import pytest

from actorstream.testing.session import BrokenPromiseError
from tests.simulation import mutants, mutants_of_evolution, mutants_of_storage, mutants_of_unkeyed
from tests.simulation.mutation import MUTANTS, Mutant

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(90)]

SEEDS_MAX = 150
ALL = (mutants, mutants_of_storage, mutants_of_evolution, mutants_of_unkeyed)  # importing them enters their mutants


def kill(mutant: Mutant) -> tuple[int, BrokenPromiseError] | None:
    """Give the number of seeds until the mutant was found, and what it broke."""
    for seed in range(SEEDS_MAX):
        try:
            mutant.run(seed)
        except BrokenPromiseError as broken:
            return seed + 1, broken
    return None


def test_all_bugs_are_entered() -> None:
    """A mutant that is not tried proves nothing."""
    assert len(MUTANTS) == sum(name.count("@mutant(") for name in map(inspect.getsource, ALL))


@pytest.mark.mutants
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_bug_in_the_real_code_is_found(mutant: Mutant) -> None:
    """Within a bounded number of seeds; which oracle finds it is in the table that -s prints."""
    began = time.process_time()
    found = kill(mutant)
    assert found is not None, f"{mutant.name}: not found in {SEEDS_MAX} seeds"
    seeds, broken = found
    row = f"{mutant.name:<86} {seeds:>4} seeds {time.process_time() - began:6.2f} s   {broken.oracle}"
    print(f"\n{row}", end="")  # noqa: T201
