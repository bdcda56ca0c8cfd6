"""The machines of state prove themselves: with each of these bugs in the real code, some history must fail."""

from __future__ import annotations

import inspect
import time

import pytest

from tests.state import mutants, mutants_of_layers
from tests.state.mutation import MUTANTS, Mutant

pytestmark = pytest.mark.timeout(120)  # one takes 14 s, where nothing else runs

HISTORIES_MAX = 400
SEED = 1
ALL = (mutants, mutants_of_layers)  # importing them enters their mutants


def test_all_bugs_are_entered() -> None:
    """A mutant that is not tried proves nothing."""
    assert len(MUTANTS) == sum(name.count("@mutant(") for name in map(inspect.getsource, ALL))


@pytest.mark.mutants
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_bug_in_the_real_code_is_found(mutant: Mutant) -> None:
    """Within a bounded number of histories; which comparison finds it is in the table that -s prints."""
    began = time.process_time()
    found = mutant.find(HISTORIES_MAX, SEED)
    assert found is not None, f"{mutant.name}: not found in {HISTORIES_MAX} histories"
    row = f"{mutant.name:<86} {found.histories:>4} histories {time.process_time() - began:6.2f} s   {found.by}"
    print(f"\n{row}", end="")  # noqa: T201
