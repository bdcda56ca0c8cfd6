"""Writing a savepoint: what is refused, with what is said, and what is left in the folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import PlanError, StoreError
from actorstream.errors import CodecError, StoreInUseError
from actorstream.evolve import open_snapshot, write_savepoint
from tests.evolve.jobs import (
    START,
    Outputs,
    contents,
    job_with_state,
    numbered,
    visits,
)

if TYPE_CHECKING:
    from pathlib import Path


# ---- what is refused -------------------------------------------------------------------------------------------------


def put_twice(writer: Any) -> None:
    writer.put("visits", "count", [("user-0", 1), ("user-1", 1), ("user-0", 2)])


def put_in_two_parts(writer: Any) -> None:
    writer.put("visits", "pages", [(("user-0", "a"), 1)])
    writer.put("visits", "pages", [(("user-0", "b"), 1), (("user-0", "a"), 1)])


def fold(writer: Any) -> None:
    writer.transform("visits", "count", lambda user, count: ("user-0", count))


def timers_twice(writer: Any) -> None:
    writer.transform("visits", "(timers)", lambda item, at: (("user-0", *item[1:]), at))


@pytest.mark.parametrize("write", [put_twice, put_in_two_parts, fold, timers_twice])
async def test_an_item_that_is_given_twice_is_an_error_that_names_it(write: Any, tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    with (
        pytest.raises(CodecError, match=r"state visits\..*user-0.* was given twice"),
        write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "new", base=job) as writer,
    ):
        write(writer)
    assert not (tmp_path / "new").exists()


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "unknown operator": (
        lambda w: w.put("views", "count", []),
        PlanError,
        "no operator 'views' .*rename what the base",
    ),
    "unknown state": (lambda w: w.put("visits", "n", []), PlanError, "has no state 'n'"),
    "wrong value": (lambda w: w.put("visits", "count", [("a", "1")]), CodecError, r"state visits\.count, 'a': "),
    "wrong key": (lambda w: w.put("visits", "count", [(None, 1)]), CodecError, r"state visits\.count, None: "),
    "mixed keys": (lambda w: w.put("visits", "count", [("a", 1), (1, 1)]), CodecError, "All states and timers"),
    "no map item": (lambda w: w.put("visits", "pages", [("a", 1)]), CodecError, r"expected a tuple \(key, map key\)"),
    "no timer": (lambda w: w.put("visits", "(timers)", [(("a", "e", "n"), START)]), CodecError, "the domain is 'e'"),
    "not in the base": (lambda w: w.transform("views", "count", numbered), PlanError, "no operator 'views'"),
    "twice": (
        lambda w: [w.transform("visits", "count", lambda k, v: (k, v)) for _ in range(2)],
        PlanError,
        "having been transformed already",
    ),
    "no pair": (lambda w: w.transform("visits", "count", lambda k, v: v), CodecError, r"fn gave \d, expected"),
    "fn raises": (lambda w: w.transform("visits", "count", lambda k, v: v / 0), ZeroDivisionError, "by zero"),
    "rename what is not there": (
        lambda w: w.rename("a", "b"),
        PlanError,
        r"no operator or source 'a' .*\['in', 'visits'",
    ),
    "rename to what is there": (lambda w: w.rename("visits", "in"), PlanError, "which is there too"),
    "drop what is not there": (lambda w: w.drop("a"), PlanError, "no operator or source 'a' to drop"),
    "drop a state that is not there": (lambda w: w.drop("visits", "n"), PlanError, "no state 'n'"),
    "drop what was written": (
        lambda w: (w.put("visits", "count", [("a", 1)]), w.drop("visits", "count")),
        PlanError,
        "was written in this block",
    ),
    "go on after a failure": (
        lambda w: ignoring(w.put, "visits", "count", [("a", "")]),
        StoreError,
        "has failed, a part",
    ),
}


def ignoring(call: Any, *arguments: Any) -> None:
    with pytest.raises(CodecError):
        call(*arguments)


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_said_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    before = contents(job)
    do, kind, said = WRONG[case]
    with (
        pytest.raises(kind, match=said),
        write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "new", base=job) as writer,
    ):
        do(writer)
    assert not (tmp_path / "new").exists()
    assert contents(job) == before


def test_nothing_is_taken_after_the_block(tmp_path: Path) -> None:
    with write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "new") as writer:
        pass
    with pytest.raises(StoreError, match="is over"):
        writer.put("visits", "count", [])


async def test_without_a_base_there_is_nothing_to_transform_rename_or_drop(tmp_path: Path) -> None:
    with write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "new") as writer:
        with pytest.raises(PlanError):
            writer.transform("visits", "count", numbered)
        with pytest.raises(PlanError):
            writer.rename("visits", "a")
        with pytest.raises(PlanError):
            writer.drop("visits")


# ---- the folder ------------------------------------------------------------------------------------------------------


def test_a_folder_with_anything_else_in_it_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    pipeline = visits(tmp_path / "log", Outputs())
    with write_savepoint(pipeline, tmp_path / "taken"):
        pass
    (tmp_path / "mine" / "layers").mkdir(parents=True)
    (tmp_path / "mine" / "layers" / "thesis.txt").write_text("years of work")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    before = contents(tmp_path)
    for name, said in (("taken", "is a savepoint already"), ("mine", "thesis.txt"), ("other", "thesis.txt")):
        with pytest.raises(StoreError, match=said), write_savepoint(pipeline, tmp_path / name):
            raise AssertionError
    assert contents(tmp_path) == before


def test_a_folder_that_was_there_stays_when_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with pytest.raises(KeyError), write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "new"):
        raise KeyError
    assert os.listdir(tmp_path / "new") == []


def test_two_who_write_one_savepoint_do_not_meet(tmp_path: Path) -> None:
    pipeline = visits(tmp_path / "log", Outputs())
    with write_savepoint(pipeline, tmp_path / "new") as writer:
        writer.put("visits", "count", [("a", 1)])
        with (
            pytest.raises(StoreInUseError, match="being written by another"),
            write_savepoint(pipeline, tmp_path / "new"),
        ):
            raise AssertionError
    with open_snapshot(tmp_path / "new") as snapshot:
        assert snapshot.state("visits", "count").get("a") == 1
