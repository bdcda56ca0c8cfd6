"""docs/design/verification.md names tests, attributes and mutants: they are there."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from actorstream.testing.session import Session
from tests.mutations.entering import MUTANTS
from tests.mutations.test_mutants import ORACLES

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/design/verification.md").read_text()
SOURCES = "\n".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))


def test_the_tests_that_it_names_are_there() -> None:
    """An ellipsis stands for the rest of a long name."""
    named = set(re.findall(r"[`:](test_\w+…?)`", TEXT))
    assert len(named) > 15
    assert [name for name in sorted(named) if f"def {name.removesuffix('…')}" not in SOURCES] == []


def test_the_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"`(tests/[a-z_0-9/]+\.py)`", TEXT))
    assert len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_all_that_can_happen_to_a_process_is_in_its_table() -> None:
    """By its word in a plan, but for what people do: that is told by what it is."""
    drawn = TEXT.partition("## What is held")[0]
    words = {each.name for each in fields(Session)} - {"keeps", "version", "fork"}
    assert {word for word in words if f"`{word}`" not in drawn and f".{word}`" not in drawn} == set()


def test_every_oracle_is_in_its_table_with_a_bug_that_it_finds() -> None:
    rows = [row.split("|") for row in TEXT.partition("## What is held")[2].splitlines() if row.startswith("| ")]
    found = {name.strip(): row[4].strip() for row in rows for name in row[1].split(",")}
    assert set(found) >= ORACLES
    known = {mutant.name for mutant in MUTANTS}
    areas = {mutant.area for mutant in MUTANTS}
    for oracle in ORACLES:
        assert found[oracle] in known
    for bug in found.values():
        assert not bug.startswith("mutants of") or set(re.findall(r"`(\w+)`", bug)) <= areas
