"""The lists of what survived ordinary mutation testing: each line says why, and the tables count them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.mutations.survivors import KINDS, Survivor, changed, guessed, read, survivors, told

DESIGN = Path(__file__).parents[2] / "docs/design"
LISTS = sorted((DESIGN / "survivors").glob("*.txt"))
CLASS = "actorstream.protocol.ending.x\u01c1Ending\u01c1close__mutmut_20"
FUNCTION = "actorstream.protocol.recovery.x__refuse_unreadable__mutmut_4"
DIFF = """--- a
+++ b
@@ -1,3 +1,3 @@
 def close(self):
-    self.keeps += [KeepRequest(*waiting, ends=False) for waiting in self.savepoints]
+    self.keeps += [KeepRequest(*waiting, ends=None) for waiting in self.savepoints]
     return stops"""


def test_there_is_a_list_for_each_room() -> None:
    assert [path.stem for path in LISTS] == ["operators-windows", "protocol"]


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_each_survivor_is_explained(path: Path) -> None:
    lines = path.read_text().splitlines()
    found = read(lines)
    assert [each.line() for each in found if each.kind not in KINDS] == []
    assert [each.line() for each in found] == lines[3:]
    assert [each for each in found if not each.old and not each.new] == []


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_the_document_counts_what_is_in_the_lists(path: Path) -> None:
    """A row of its table is `| kind | what it means | protocol | operators/windows |`."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (\d+) \| (\d+) \|$", (DESIGN / "mutants.md").read_text(), re.MULTILINE)
    column = {"protocol": 1, "operators-windows": 2}[path.stem]
    said = {row[0]: int(row[column]) for row in rows}
    assert said.keys() == KINDS.keys()
    assert said == dict.fromkeys(KINDS, 0) | Counter(each.kind for each in read(path.read_text().splitlines()))


def test_what_somebody_found_out_is_kept_while_the_change_is_the_same() -> None:
    """Its number is another one as soon as there is a change more before it; it is no name."""
    where, old, new = told(FUNCTION), "if here < there:", "if here <= there:"
    known = [Survivor("same", where, old, new), Survivor("pieces", where, old, "if here > there:")]
    diffs = {FUNCTION: f"-    {old}\n+    {new}", CLASS: DIFF}
    tried = [f"survived {FUNCTION} 0 -", f"survived {CLASS} 0 -", "killed of.another__mutmut_1 0.1 test"]
    found = survivors(tried, known, diffs)
    assert [(each.kind, each.where) for each in found] == [("types", "ending.Ending.close"), ("same", where)]
    assert read(each.line() for each in found) == found


def test_names_are_those_of_python() -> None:
    assert told(CLASS) == "ending.Ending.close"
    assert told(FUNCTION) == "recovery._refuse_unreadable"


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("zip(a, b, strict=True)", "zip(a, b, )", "types"),
        ("zip(a, b, strict=True)", "zip(a, b, strict=False)", "types"),
        ('number = cast("object", n)', "number = cast(None, n)", "types"),
        ("self.over = False", "self.over = None", "types"),
        ('raise PlanError("it is late")', 'raise PlanError("IT IS LATE")', "text"),
        ('"for those that are still to come"', '"XXfor those that are still to comeXX"', "text"),
        ("if here < there:", "if here <= there:", "?"),
        ('if shape == "min":', 'if shape == "MIN":', "?"),
        ("zip(a, strict=True)", "zip(None, strict=True)", "?"),
    ],
)
def test_a_kind_is_told_from_the_change_only_where_that_is_sure(old: str, new: str, kind: str) -> None:
    assert guessed(old, new) == kind
    assert changed(f"-  {old}\n+  {new}") == (old, new)
