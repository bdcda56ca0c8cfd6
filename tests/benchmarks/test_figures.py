"""Figures say what was measured, and whether that is what was wanted."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Aim, Figure, Findings, as_document, as_table, quantile


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.floats(0.001, 1))
def test_quantile_is_the_least_value_that_so_many_do_not_exceed(values: list[int], share: float) -> None:
    """Against the definition, by counting."""
    ordered = sorted(values)
    wanted = math.ceil(share * len(values))

    found = quantile(ordered, share)

    assert found in values
    assert sum(value <= found for value in values) >= wanted
    assert sum(value < found for value in values) < wanted


def test_table_puts_the_aim_beside_the_figure() -> None:
    """What falls short must be seen at a glance."""
    figures = [
        Figure("p99", "ms", (3.0, 9.0, 4.0), Aim("<", 5)),
        Figure("extend", "records/s", (200_000.0,), Aim(">=", 300_000)),
        Figure("max", "ms", (7.5,)),
    ]

    rows = [line.split() for line in as_table(figures).splitlines()]

    assert rows[0] == ["figure", "unit", "aim", "median", "min..max", "runs", "met"]
    assert rows[1] == ["p99", "ms", "<", "5", "4", "3..9", "3", "yes"]
    assert rows[2] == ["extend", "records/s", ">=", "300,000", "200,000", "200,000", "1", "no"]
    assert rows[3] == ["max", "ms", "7.50", "7.50", "1"]


@pytest.mark.parametrize(("value", "less", "least"), [(4.9, True, False), (5.0, False, True), (5.1, False, True)])
def test_an_aim_of_less_is_missed_at_its_bound_and_one_of_at_least_is_met(
    value: float, less: bool, least: bool
) -> None:
    """The two bounds of issue and table."""
    assert Aim("<", 5.0).is_met(value) is less
    assert Aim(">=", 5.0).is_met(value) is least


def test_document_keeps_every_run() -> None:
    """A median alone cannot be judged later."""
    findings = Findings({"keys": 3}, [Figure("stall", "ms", (3.0, 1.0, 2.0), Aim("<", 5))], curves={"a": [(1.0, 2.0)]})

    document = as_document(findings, datetime(2026, 11, 22, tzinfo=UTC))

    assert document["settings"] == {"keys": 3}
    assert document["figures"] == [
        {"name": "stall", "unit": "ms", "values": [3.0, 1.0, 2.0], "median": 2.0, "min": 1.0, "max": 3.0}
        | {"aim": "< 5", "met": True}
    ]
    assert document["curves"] == {"a": [[1.0, 2.0]]}


def test_commands_do_not_import_the_plotting_library() -> None:
    """It is large and slow to import: what is measured must not carry it."""
    probe = "import sys, benchmarks.__main__; sys.exit('matplotlib' in sys.modules)"

    subprocess.run([sys.executable, "-c", probe], check=True)
