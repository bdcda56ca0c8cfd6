"""State against a model of plain dicts, through whatever may happen to memory, disk and subtasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.state.machines import Expiring, Grouped, Maps, OneDigest, Rows, WideRows, run

if TYPE_CHECKING:
    from tests.state.handling import Handling


@pytest.mark.slow
@pytest.mark.timeout(600)  # to make a failing history short takes its time
@pytest.mark.parametrize("times", [1, pytest.param(10, marks=[pytest.mark.verify, pytest.mark.timeout(3_600)])])
@pytest.mark.parametrize(
    ("machine", "examples"), [(Rows, 60), (WideRows, 50), (Maps, 40), (Expiring, 40), (OneDigest, 30), (Grouped, 15)]
)
def test_state_holds_what_plain_dicts_do_t130_t134_t135(machine: type[Handling], examples: int, times: int) -> None:
    """Whoever writes a table, a layer or a merge forgets one of its states; a history of many steps meets it."""
    run(machine, examples * times)
