"""The table of features keeps its word: no row is missing, and what a row points to is there.

The names of the rows are those of the list of features that the project was designed by, as far as that calls them a
must, or a lead over others. A row cannot silently go, nor can a test or guide that it rests on.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "features.md"

ROWS = {
    "Graph and transformations": [
        "map / filter / flat_map / process",
        "key_by",
        "reduce / sum / min / max / min_by / max_by on keyed",
        "union",
        "connect / co_map / co_process",
        "broadcast connect",
        "side outputs (OutputTag)",
        "forward / rebalance / rescale / shuffle / broadcast / global / custom partitioner",
        "operator chaining, start_new_chain, disable_chaining",
        "slot sharing groups, co-location",
        "parallelism / max parallelism per operator",
        "uid / uid_hash / name / description",
        "iterate",
        "bounded/batch execution mode",
        "execute / execute_async / JobClient / execute_and_collect",
        "user accumulators / rich function lifecycle open/close, RuntimeContext",
    ],
    "Sources": [
        "Split enumerator + reader",
        "replay",
        "bounded / unbounded; NoMoreSplits",
        "add_splits_back",
        "dynamic split discovery",
        "per-split watermarks",
        "pause/resume splits (alignment)",
        "hybrid source",
        "processing-backlog flag; checkpoint interval during backlog",
        "rate limiting, data generator",
        "external commit of offsets on checkpoint complete",
    ],
    "Sinks": [
        "SinkV2 writer",
        "Two-phase commit (writer → committables → committer)",
        "commit request outcomes",
        "pre-commit / post-commit topology, global committer",
        "Sink savepoint rule",
        "at-least-once sink",
        "upsert/idempotent sink",
        "transactional coordination with the store's own txn",
        "zombie fencing, lingering transaction abort",
    ],
    "Time and watermarks": [
        "event / processing / ingestion time; timestamp assigner",
        "monotonous / bounded out-of-orderness / custom periodic / punctuated / none",
        "idleness",
        "idleness vs backpressure",
        "watermark alignment",
        "end of input → MAX_WATERMARK",
        "watermark not part of checkpoints",
        "processing-time service / injected clock",
        "Kafka Streams",
    ],
    "Windows": [
        "tumbling, sliding (with offset), session (static/dynamic gap), global, count, custom assigner",
        "triggers: EventTime, ProcessingTime, Count, Continuous*, Purging, Delta, timeout; "
        "custom CONTINUE/FIRE/PURGE/FIRE_AND_PURGE; onMerge",
        "evictors",
        "reduce/aggregate/apply/process; incremental + process combined",
        "allowed lateness, late side output, numLateRecordsDropped",
        "output timestamp",
        "window_all",
        "Kafka Streams",
    ],
    "Joins, async, CEP": [
        "window join / cogroup",
        "interval join",
        "connect/process join, temporal/lookup enrichment",
        "Kafka Streams KTable/GlobalKTable joins, foreign-key join",
        "async I/O ordered",
        "async I/O unordered",
        "async retry",
        "async in checkpoints",
        "async with keyed state",
        "CEP",
    ],
    "Process functions": [
        "ProcessFunction, KeyedProcess, CoProcess, KeyedCoProcess, BroadcastProcess, ProcessJoin, ProcessWindow",
        "timer service",
    ],
    "State": [
        "State TTL",
        "Schema evolution",
        "State Processor API",
    ],
    "Checkpoints": [
        "interval (off) / timeout (10 min) / min pause (0) / max concurrent (1) / tolerable failures (0) / "
        "num retained (1)",
        "exactly-once vs at-least-once mode",
        "aligned",
        "unaligned + aligned timeout (0 = always unaligned)",
        "unaligned exclusions",
        "interruptible timers in UC",
        "checkpoint during recovery",
        "incremental",
        "changelog backend",
        "file merging",
        "externalized/retained",
        "claim modes",
        "manual trigger, full/incremental choice",
        "checkpoints after some tasks finished",
        "master hooks, operator coordinators in checkpoint",
        "unaligned metrics, stats history",
        "recover-without-channel-state id",
        "Kafka Streams",
    ],
    "Savepoints, upgrade, rescale": [
        "savepoint",
        "canonical vs native",
        "stop-with-savepoint (no drain)",
        "stop with drain",
        "failure in stop-with-savepoint",
        "restore: unmatched state",
        "rescale via key groups",
        "change max parallelism",
        "live rescale (adaptive/reactive, resource-requirements REST)",
        "blue/green, A/B, fork",
        "repair/replay",
        "savepoint from other version",
    ],
}

TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
SOURCE = re.compile(r"`(actorstream/[\w/]+\.py)`")
LINK = re.compile(r"\[[^\]]+\]\(([^)#]+)(?:#([^)]+))?\)")
WHERE = re.compile(f"{LINK.pattern}|{SOURCE.pattern}")
ISSUE = re.compile(r"\(([5-8])\)")


class Row(NamedTuple):
    """One line of a table: its cells."""

    feature: str
    verdict: str
    how: str
    told: str
    held: str


def rows_of(text: str) -> dict[str, list[Row]]:
    """Read the tables of a page, by heading."""
    found: dict[str, list[Row]] = {}
    for section in text.split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("| ")][1:]
        found[heading] = [Row(*[cell.strip() for cell in line.strip().strip("|").split("|")]) for line in lines]
    return found


TABLES = rows_of(PAGE.read_text())
ALL = [row for rows in TABLES.values() for row in rows]


def problems_of(row: Row) -> list[str]:
    """Tell what is wrong with a row."""
    problems = [f"no test {path}::{name}" for path, name in TEST.findall(row.held) if name not in names_in(path)]
    problems += [f"no file {path}" for path in SOURCE.findall(row.told) if not (ROOT / path).is_file()]
    problems += [f"no page {page}#{place}" for page, place in LINK.findall("|".join(row)) if not is_there(page, place)]
    if row.verdict not in {"yes", "partly", "planned", "no"}:
        problems.append(f"verdict {row.verdict!r}")
    if row.verdict in {"yes", "partly"} and not (TEST.search(row.held) and WHERE.search(row.told)):
        problems.append("it is said to be here, but not where that is told, or what holds it")
    if row.verdict == "planned" and not ISSUE.search(row.how):
        problems.append("it is planned, but not said by which issue")
    if row.verdict in {"partly", "no"} and not row.how:
        problems.append("not said why, or what is missing")
    return problems


@cache
def names_in(path: str) -> frozenset[str]:
    """Name the tests of a file; none, if there is no such file."""
    if not (ROOT / path).is_file():
        return frozenset()
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def is_there(page: str, place: str) -> bool:
    """Tell whether a page of the documentation exists, and has the heading."""
    path = PAGE.parent / page
    if not path.is_file():
        return False
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return not place or place in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_no_row_is_missing_and_none_has_another_name() -> None:
    assert {heading: [row.feature for row in rows] for heading, rows in TABLES.items()} == ROWS


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.feature)
def test_what_a_row_points_to_is_there(row: Row) -> None:
    assert problems_of(row) == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "guides").glob("*.md")), ids=lambda page: page.stem)
def test_guides_link_to_pages_and_headings_that_are_there(page: Path) -> None:
    links = LINK.findall(page.read_text())
    assert [link for link in links if not is_there(f"guides/{link[0]}", link[1])] == []


@pytest.mark.parametrize(
    "wrong",
    [
        Row("f", "yes", "", "[time](guides/time.md)", "`tests/test_features.py::test_that_is_not_there`"),
        Row("f", "yes", "", "[time](guides/time.md)", "`tests/no_such_file.py::test_x`"),
        Row("f", "yes", "", "[time](guides/tide.md)", "`tests/test_features.py::test_a_wrong_row_is_found`"),
        Row("f", "yes", "", "[time](guides/time.md#tides)", "`tests/test_features.py::test_a_wrong_row_is_found`"),
        Row("f", "yes", "", "`actorstream/tide.py`", "`tests/test_features.py::test_a_wrong_row_is_found`"),
        Row("f", "yes", "", "[time](guides/time.md)", ""),
        Row("f", "partly", "", "", "`tests/test_features.py::test_a_wrong_row_is_found`"),
        Row("f", "planned", "soon", "", ""),
        Row("f", "no", "", "", ""),
        Row("f", "perhaps", "why not", "", ""),
    ],
)
def test_a_wrong_row_is_found(wrong: Row) -> None:
    """A check that finds nothing wrong in a wrong row proves nothing about a right one."""
    assert problems_of(wrong)
