"""`actorstream state`: snapshots seen from outside, and left as they were."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from actorstream.cli.key_text import key_of_text
from actorstream.cli.schema_text import schema_text
from actorstream.errors import PlanError
from actorstream.evolve import write_savepoint
from tests.evolve.generations import run_all
from tests.evolve.jobs import START, Outputs, contents, job_with_state, visits
from tests.evolve.state_kinds import Color

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell


def filled(folder: Path) -> str:
    return str(asyncio.run(job_with_state(folder)))


def changed(folder: Path, job: str) -> str:
    """Write another snapshot, with one value changed, one gone and one new."""
    with write_savepoint(visits(folder / "log", Outputs()), folder / "new", base=job) as writer:
        writer.transform("visits", "count", lambda user, count: (user, count) if user != "user-3" else None)
        writer.put("visits", "count", [("user-0", 60), ("user-9", 1)])
    return str(folder / "new")


def test_show_says_what_there_is_of_which_type_and_how_much(shell: Shell) -> None:
    outcome = shell("state", "show", filled(shell.folder))
    assert outcome.status == 0
    first, second, heading, *rows = outcome.out.splitlines()
    assert first == "checkpoint 1 of pipeline t, final"
    assert second.endswith("UTC, max parallelism 128")
    assert heading.split() == ["operator", "state", "kind", "type", "entries", "bytes", "key", "groups"]
    table = [" ".join(row.split()) for row in rows]
    assert table[0].startswith("visits count value int 7 ")
    assert table[1].startswith("visits last value Seen(page, number) | None 7 ")
    assert table[2].startswith("visits pages map str -> int 21 ")
    assert table[3].startswith("visits history value list[str] 7 ")
    assert table[4].startswith("visits (timers) timers any 7 ")


def test_values_of_several_schemas_are_shown_each_by_its_own(shell: Shell) -> None:
    """With none of the classes loaded, and renamed and migrated with them."""
    job = str(asyncio.run(run_all(shell.folder)))
    rows = [" ".join(row.split()) for row in shell("state", "show", job).out.splitlines()[3:]]
    assert rows[0].startswith("ledger total value Cents(cents, notes), and 2 older 4 ")
    assert any(row.startswith("ledger parts map str -> str, and 2 older 10 ") for row in rows)
    lines = shell("state", "export", job, "--state", "total").out.splitlines()
    assert {each["key"]: each["value"] for each in map(json.loads, lines) if len(each["key"]) == 3} == {
        "ada": {"euros": 5, "lines": 1},
        "bob": {"amount": 9.0, "lines": 1, "notes": ["second"]},
        "cid": {"cents": 300, "notes": ["third"]},
    }
    got = shell("state", "get", job, "ledger", "total", "bob", "--pipeline", "tests.cli.newest:pipeline")
    assert json.loads(got.out) == {"cents": 900, "notes": ["second"]}


def test_show_of_one_operator(shell: Shell) -> None:
    job = filled(shell.folder)
    assert shell("state", "show", job, "visits").status == 0
    outcome = shell("state", "show", job, "views")
    assert (outcome.status, "there is no operator 'views'" in outcome.err) == (1, True)


def test_get_writes_json_and_says_when_there_is_nothing(shell: Shell) -> None:
    job = filled(shell.folder)
    got = {
        "count": "6",
        "last": '{"page":"page-0","number":6}',
        "pages": '{"page-0":2,"page-1":2,"page-2":2}',
        "history": '["page-1","page-2","page-0","page-1","page-2","page-0"]',
    }
    for state, said in got.items():
        for key in ('"user-4"', "user-4") if state != "history" else ('"user-1"',):
            outcome = shell("state", "get", job, "visits", state, key)
            assert (outcome.status, json.loads(outcome.out)) == (0, json.loads(said))
    at = (START + timedelta(minutes=99)).isoformat()
    assert json.loads(shell("state", "get", job, "visits", "(timers)", '"user-4"').out) == {'["event","idle"]': at}
    for state in ("count", "pages"):
        outcome = shell("state", "get", job, "visits", state, '"nobody"')
        assert (outcome.status, outcome.out) == (1, "")
        assert f'visits.{state} has nothing under "nobody"' in outcome.err
    wrong = shell("state", "get", job, "visits", "count", "7")
    assert (wrong.status, "is no str, as the keys of this state are: one of them is 'user-0'" in wrong.err) == (1, True)


def test_diff_counts_shows_and_tells_by_its_status(shell: Shell) -> None:
    job = filled(shell.folder)
    new = changed(shell.folder, job)
    outcome = shell("state", "diff", job, new)
    assert outcome.status == 1
    lines = outcome.out.splitlines()
    assert "visits.count: 5 same, 1 different, 1 only in A, 1 only in B" in lines
    at = lines.index("visits.count: 5 same, 1 different, 1 only in A, 1 only in B")
    assert lines[at + 1 : at + 4] == ['  "user-0": 6 -> 60', '  "user-3": 6 -> nothing', '  "user-9": nothing -> 1']
    assert "visits.pages: 21 same, 0 different, 0 only in A, 0 only in B" in lines

    assert len(shell("state", "diff", job, new, "--state", "count", "--samples", "1").out.splitlines()) == 2
    same = shell("state", "diff", job, new, "--operator", "visits", "--state", "pages")
    assert (same.status, same.out) == (0, "visits.pages: 21 same, 0 different, 0 only in A, 0 only in B\n")
    none = shell("state", "diff", job, new, "--state", "nothing")
    assert (none.status, none.err) == (1, "neither has such a state\n")


def test_diff_of_a_state_that_one_does_not_have(shell: Shell) -> None:
    job = filled(shell.folder)
    with write_savepoint(visits(shell.folder / "log", Outputs()), shell.folder / "less", base=job) as writer:
        writer.drop("visits", "pages")
    outcome = shell("state", "diff", str(shell.folder / "less"), job, "--state", "pages", "--samples", "0")
    assert outcome.out == "visits.pages: 0 same, 0 different, 0 only in A, 21 only in B\n"


def test_export_writes_a_line_for_every_item(shell: Shell) -> None:
    job = filled(shell.folder)
    lines = [json.loads(line) for line in shell("state", "export", job, "--format", "jsonl").out.splitlines()]
    assert len(lines) == 7 * 4 + 21
    assert lines[0] == {"operator": "visits", "state": "count", "key": "user-0", "value": 6}
    assert {"operator": "visits", "state": "pages", "key": ["user-1", "page-2"], "value": 2} in lines
    at = (START + timedelta(minutes=99)).isoformat()
    assert {"operator": "visits", "state": "(timers)", "key": ["user-4", "event", "idle"], "value": at} in lines
    some = shell("state", "export", job, "--operator", "visits", "--state", "last").out.splitlines()
    assert len(some) == 7
    assert json.loads(some[4])["value"] == {"page": "page-0", "number": 6}


def test_a_pipeline_may_be_named_for_its_classes(shell: Shell) -> None:
    job = filled(shell.folder)
    shell.write("app.py", "from tests.evolve.jobs import Outputs, visits\npipeline = visits('log', Outputs())\n")
    outcome = shell("state", "get", job, "visits", "last", "user-4", "--pipeline", "app:pipeline")
    assert json.loads(outcome.out) == {"page": "page-0", "number": 6}


def test_a_closed_pipe_ends_an_export(shell: Shell) -> None:
    """`actorstream state export ... | head` must not end in a traceback."""
    job = filled(shell.folder)
    process = shell.process("state", "export", job)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.wait()


def test_what_is_no_snapshot_is_said(shell: Shell) -> None:
    for command in (
        ["show", "nowhere"],
        ["export", "nowhere"],
        ["diff", "nowhere", "nowhere"],
        ["get", ".", "a", "b", "c"],
    ):
        outcome = shell("state", *command)
        assert (outcome.status, outcome.out) == (1, "")
        assert outcome.err.startswith("actorstream: StoreError: ")


def test_looking_changes_nothing(shell: Shell) -> None:
    job = filled(shell.folder)
    before = contents(shell.folder)
    shell("state", "show", job)
    shell("state", "export", job)
    shell("state", "diff", job, job)
    assert contents(shell.folder) == before


@pytest.mark.parametrize(
    ("text", "like", "key"),
    [
        ('"ann"', "x", "ann"),
        ("ann", "x", "ann"),
        ("5", 1, 5),
        ("5", 1.5, 5.0),
        ("true", False, True),
        ('["ann", 5]', ("x", 1), ("ann", 5)),
        ('"YQ=="', b"x", b"a"),
        (START.isoformat(), START, START),
        ("60", timedelta(1), timedelta(minutes=1)),
        ('"RED"', Color.BLUE, Color.RED),
    ],
)
def test_keys_are_read_as_the_type_that_is_stored(text: str, like: object, key: object) -> None:
    found = key_of_text(text, like)
    assert (found, type(found)) == (key, type(key))


@pytest.mark.parametrize(
    ("text", "like"),
    [
        ("5", "x"),
        ("ann", 1),
        ("true", 1),
        ("1.5", 1),
        ('["a"]', ("x", 1)),
        ('"a"', ("x",)),
        ("GREEN", Color.RED),
        ("x", b""),
    ],
)
def test_a_key_of_another_type_is_refused(text: str, like: object) -> None:
    with pytest.raises(PlanError, match=f"is no {type(like).__name__}, as the keys of this state are"):
        key_of_text(text, like)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("int", "int"),
        ({"maybe": {"record": "Seen", "by": "name", "fields": [["page", "str", True]]}}, "Seen(page) | None"),
        ({"dict": ["str", {"list": "int"}]}, "dict[str, list[int]]"),
        ({"tuple of": ["int", "str"]}, "tuple[int, str]"),
        ({"tuple": "int"}, "tuple[int, ...]"),
        ({"enum": "Color", "values": ["r"]}, "Color"),
        ({"one of": ["int", "str"]}, "int | str"),
        ({"tagged": {"A": "int", "B": "str"}}, "int | str"),
        ({"again": "Tree"}, "{'again': 'Tree'}"),
    ],
)
def test_types_are_said_as_their_author_would(shape: object, words: str) -> None:
    assert schema_text(shape) == words
