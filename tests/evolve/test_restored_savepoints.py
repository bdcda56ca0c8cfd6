"""Savepoints that were written offline, restored: a running job goes on from each as if nothing had been done."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.evolve import open_snapshot, write_savepoint
from tests.evolve.jobs import (
    START,
    Outputs,
    Record,
    Seen,
    append,
    job_with_state,
    manifest_of,
    number_all,
    records,
    run_until,
    same,
    visits,
)

if TYPE_CHECKING:
    from pathlib import Path


def user_number(record: Record) -> int:
    return int(record[0][5:])


async def go_on(
    folder: Path, savepoint: Path, more: list[Record], outputs: int, *, name: str = "visits", **options: Any
) -> list[Any]:
    """Restore a savepoint into an empty store, and run it over more records; give what comes out."""
    await append(folder / "log", more)
    into = Outputs()
    wide = manifest_of(savepoint).max_parallelism
    pipeline = visits(folder / "log", into, name=name, wide=wide)
    await run_until(pipeline, into, outputs, folder / "next", restore=savepoint, **options)
    return sorted(into)


async def uninterrupted(folder: Path, all_records: list[Record], outputs: int) -> list[Any]:
    """Run a job over everything at once; give what comes out."""
    await append(folder / "all", all_records)
    into = Outputs()
    await run_until(visits(folder / "all", into), into, outputs, folder / "alone")
    return sorted(into)


LATER = [*records(40, 60), ("user-0", "page-9", 40 + 300)]
"""The last one makes everybody else's timer fire."""


LATER_OUTPUTS = [
    *[(f"user-{at % 7}", at // 7 + 1) for at in range(40, 60)],
    ("user-0", 10),
    *[(f"user-{at} went", 9 if at < 4 else 8) for at in range(1, 7)],
]
"""What they give after records 0 to 39."""


async def expected_later(folder: Path) -> list[Any]:
    """Give what records 40 on give, with what was before: 21 counts, and six users who go."""
    everything = await uninterrupted(folder, [*records(0, 40), *LATER], 40 + 21 + 6)
    first = Outputs()
    await run_until(visits(folder / "log", first), first, 40, folder / "again")
    for value in first:
        everything.remove(value)
    return everything


async def test_a_job_begins_with_state_that_was_put_from_an_iterable(tmp_path: Path) -> None:
    pipeline = visits(tmp_path / "log", Outputs())
    with write_savepoint(pipeline, tmp_path / "seed") as writer:
        writer.put("visits", "count", ((f"user-{at}", 100 * at) for at in reversed(range(7))))
        writer.put("visits", "last", [("user-1", Seen("home", 7))])
        writer.put("visits", "pages", [(("user-1", "page-1"), 50), (("user-1", "home"), 1)])
        writer.put("visits", "history", [("user-1", ["home"])])
        writer.put("visits", "(timers)", [(("user-1", "event", "idle"), START - timedelta(days=1))])

    with open_snapshot(tmp_path / "seed", pipeline=pipeline) as snapshot:
        assert snapshot.state("visits", "count").get("user-3") == 300
        assert snapshot.state("visits", "last").get("user-1") == Seen("home", 7)

    came = await go_on(tmp_path, tmp_path / "seed", records(0, 7), 7 + 1)
    assert came == sorted([*[(f"user-{at}", 100 * at + 1) for at in range(7)], ("user-1 went", 100)])
    with open_snapshot(tmp_path / "next" / "t") as snapshot:
        assert snapshot.state("visits", "pages").get("user-1") == {"home": 1, "page-1": 51}
        assert snapshot.state("visits", "history").get("user-1") == ["home", "page-1"]


@pytest.mark.parametrize("wide", [128, 60, 1, 500])
async def test_a_job_goes_on_from_a_copy_as_if_nothing_had_been_done(wide: int, tmp_path: Path) -> None:
    """T123: a restore refuses another max_parallelism; this is what changes it, with positions, times and timers."""
    job = await job_with_state(tmp_path, parallelism=2)
    pipeline = visits(tmp_path / "log", Outputs(), wide=wide)
    expected = await expected_later(tmp_path)

    with write_savepoint(pipeline, tmp_path / "copy", base=job):
        pass

    assert same(job, tmp_path / "copy")
    manifest = manifest_of(tmp_path / "copy")
    assert manifest.max_parallelism == wide
    linked = {os.stat(path).st_ino for path in (tmp_path / "copy" / "layers").iterdir()}
    assert linked == {os.stat(path).st_ino for path in (job / "layers").iterdir()} or wide != 128
    assert sorted(os.listdir(tmp_path / "copy" / "layers")) == sorted(layer.name for layer in manifest.layers)
    assert await go_on(tmp_path, tmp_path / "copy", LATER, len(expected), parallelism=min(wide, 3)) == expected


async def test_a_job_goes_on_with_keys_of_another_type(tmp_path: Path) -> None:
    """Under the same names, by the same process: counts and timers are found under the new keys."""
    job = await job_with_state(tmp_path)
    pipeline = visits(tmp_path / "log", Outputs(), key=user_number)
    with write_savepoint(pipeline, tmp_path / "new", base=job) as writer:
        number_all(writer, ("count", "last", "pages", "history", "(timers)"))
    expected = [(user if " went" not in user else f"{user[5:6]} went", count) for user, count in LATER_OUTPUTS]
    await append(tmp_path / "log", LATER)
    into = Outputs()
    pipeline = visits(tmp_path / "log", into, key=user_number)
    await run_until(pipeline, into, len(expected), tmp_path / "next", restore=tmp_path / "new")
    assert sorted(into) == sorted(expected)


async def test_a_job_goes_on_under_another_name_without_what_was_dropped(tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    with write_savepoint(visits(tmp_path / "log", Outputs(), name="views"), tmp_path / "new", base=job) as writer:
        writer.rename("visits", "views")
        writer.drop("views", "pages")
    came = await go_on(tmp_path, tmp_path / "new", LATER, len(LATER_OUTPUTS), name="views")
    assert came == sorted(LATER_OUTPUTS)
    with open_snapshot(tmp_path / "next" / "t") as snapshot:
        assert sum(seen for _, seen in snapshot.state("views", "pages").items()) == len(LATER)
        assert snapshot.state("views", "history").get("user-1")[:3] == ["page-1", "page-2", "page-0"]


async def test_a_job_goes_on_from_what_was_transformed(tmp_path: Path) -> None:
    job = await job_with_state(tmp_path)
    with write_savepoint(visits(tmp_path / "log", Outputs()), tmp_path / "new", base=job) as writer:
        writer.transform("visits", "count", lambda user, count: (user, count + 1000))
    came = await go_on(tmp_path, tmp_path / "new", LATER, len(LATER_OUTPUTS))
    assert came == sorted((user, count + 1000) for user, count in LATER_OUTPUTS)
