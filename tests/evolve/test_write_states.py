"""States that expire, change their type, or belong to windows, in savepoints that are written offline."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import EventLog, KeyedProcess, Pipeline, RestoreError, Session, Sliding, Tumbling
from actorstream.checkpoints.manifest import seal
from actorstream.evolve import open_snapshot, write_savepoint
from actorstream.evolve.snapshot_diff import differences
from actorstream.state.entries import BORDER
from actorstream.system.current import current_world, use_world
from tests.evolve.jobs import START, Outputs, Record, append, manifest_of, records, run_until
from tests.evolve.state_kinds import (
    Aged,
    Aging,
    Color,
    Colors,
    Lasting,
    OldAged,
    OldProfiles,
    People,
    Person,
    Profile,
    Profiles,
    Stateless,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOUR_US = 3_600_000_000


class LaterClock:
    """The clock of a world that is so much later."""

    def __init__(self, later_us: int) -> None:
        self._clock = current_world().clock
        self._later_us = later_us

    def now_us(self) -> int:
        return self._clock.now_us() + self._later_us

    def monotonic(self) -> float:
        return self._clock.monotonic()


def ignore(value: object) -> None:
    """Take a result."""


def later(us: int) -> Any:
    return use_world(replace(current_world(), clock=LaterClock(us)))


def pipeline_of(process: type[KeyedProcess[Any, Any, Any]], values: Any, into: Any) -> Pipeline:
    pipeline = Pipeline("t")
    timed = pipeline.source(values, name="in").assign_timestamps(lambda _: START, name="times")
    timed.key_by(lambda value: value).process(process, name="op").sink(into, name="out")
    return pipeline


async def test_values_expire_offline_as_of_the_moment_of_the_snapshot(tmp_path: Path) -> None:
    """Not as of now: a snapshot of last year holds what it held then. The domain that is taken away hides nothing."""
    log = EventLog(str, tmp_path / "log")
    for value, later_us in (("a", 0), ("b", HOUR_US + 60_000_000)):
        async with EventLog(str, tmp_path / "log") as opened:
            await opened.append(value)
        into = Outputs()
        with later(later_us):
            await run_until(pipeline_of(Aging, log, into.take), into, 1, tmp_path)
    with open_snapshot(tmp_path / "t" / "checkpoints" / "1") as snapshot:
        assert dict(snapshot.state("op", "by_clock").items()) == {"a": 1}
    with open_snapshot(tmp_path / "t") as snapshot:
        assert dict(snapshot.state("op", "by_clock").items()) == {"b": 1}
        assert dict(snapshot.state("op", "stays").items()) == {"a": 1, "b": 1}
        assert snapshot.state("op", "by_clock").get("a") is None
    with open_snapshot(tmp_path / "t", pipeline=pipeline_of(Lasting, [], ignore)) as snapshot:
        assert dict(snapshot.state("op", "by_clock").items()) == {"a": 1, "b": 1}


async def test_event_time_says_what_has_expired_by_it(tmp_path: Path) -> None:
    """The watermark of the snapshot, not any clock; what is put gets its time from there."""
    log, into = tmp_path / "log", Outputs()
    pipeline = Pipeline("t")
    read = pipeline.source(EventLog(tuple[str, str, int], log), name="in")
    timed = read.assign_timestamps(lambda record: START + timedelta(minutes=record[2]), name="times")
    timed.map(lambda record: record[1]).key_by(str).process(Aging, name="op").sink(into.take, name="out")
    await append(log, [("", "a", 0), ("", "b", 30), ("", "c", 70)])
    await run_until(pipeline, into, 3, tmp_path / "store")
    with write_savepoint(pipeline, tmp_path / "new", base=tmp_path / "store") as writer:
        writer.put("op", "by_event", [(("d", "d"), 4)])
    with open_snapshot(tmp_path / "store") as snapshot:
        assert {item[0]: value for item, value in snapshot.state("op", "by_event").items()} == {"b": 1, "c": 1}
    with open_snapshot(tmp_path / "new") as snapshot:
        reached = snapshot.event_time("op")
        found = snapshot.state("op", "by_event")
        assert {item[0]: value for item, value in found.items()} == {"b": 1, "c": 1, "d": 4}
        assert found.get("a") == {}
        expiries = {each.item[0]: each.expiry for each in found.found()}  # type: ignore[index]
    assert reached is not None
    assert expiries["d"] == (2 * BORDER + reached + HOUR_US).to_bytes(8)


@pytest.mark.parametrize("transformed", [False, True])
async def test_what_is_put_ages_from_now_on_and_what_was_there_goes_on_aging(
    *, transformed: bool, tmp_path: Path
) -> None:
    await pipeline_of(Aging, ["a"], ignore).run(store=tmp_path / "old")
    pipeline = pipeline_of(Aging, ["b"], ignore)
    with later(HOUR_US // 2), write_savepoint(pipeline, tmp_path / "new", base=tmp_path / "old" / "t") as writer:
        if transformed:
            writer.transform("op", "by_clock", lambda key, count: (key, count))
        writer.put("op", "by_clock", [("b", 10)])
    for minutes, expected in ((59, {"a": 1, "b": 10}), (61, {"b": 10}), (91, {})):
        assert held_after(tmp_path, "by_clock", minutes) == expected


async def test_what_expires_keeps_its_time_where_its_type_becomes_another(tmp_path: Path) -> None:
    await pipeline_of(OldAged, ["ann"], ignore).run(store=tmp_path / "old")
    with write_savepoint(pipeline_of(Aged, [], ignore), tmp_path / "new", base=tmp_path / "old" / "t") as writer:
        writer.put("op", "visits", [("bob", 1)])
    assert held_after(tmp_path, "profile", 59) == {"ann": {"name": "ann", "age": 30}}
    assert held_after(tmp_path, "profile", 61) == {}


def held_after(folder: Path, state: str, minutes: int) -> dict[str, Any]:
    """Read the savepoint as if its base had been taken so much later."""
    manifest = manifest_of(folder / "new")
    place = folder / f"after-{minutes}"
    place.mkdir(exist_ok=True)
    (place / "layers").symlink_to(folder / "new" / "layers")
    later_on = replace(manifest, created_us=manifest.created_us + minutes * 60_000_000, digest="")
    (place / "manifest.json").write_bytes(seal(later_on))
    with open_snapshot(place) as snapshot:
        return dict(snapshot.state("op", state).items())


async def test_a_type_that_can_be_read_as_it_is_becomes_the_new_one_when_its_operator_is_written(
    tmp_path: Path,
) -> None:
    await pipeline_of(OldProfiles, ["ann", "bob"], ignore).run(store=tmp_path)
    pipeline = pipeline_of(Profiles, [], ignore)
    with write_savepoint(pipeline, tmp_path / "new", base=tmp_path / "t") as writer:
        writer.transform("op", "visits", lambda key, count: (key, count * 2))
        writer.put("op", "profile", [("cid", Profile("cid", 3, "Rome"))])
    manifests = [manifest_of(tmp_path / "new")]
    with open_snapshot(tmp_path / "t") as snapshot:
        manifests.append(snapshot.manifest)
        assert snapshot.state("op", "profile").get("ann") == {"name": "ann", "age": 30}
    new, old = [manifest.operators["op"].states["profile"].fingerprint for manifest in manifests]
    assert new != old
    with open_snapshot(tmp_path / "new", pipeline=pipeline) as snapshot:
        profiles = snapshot.state("op", "profile")
        assert [profiles.get(name) for name in ("bob", "cid")] == [Profile("bob", 30), Profile("cid", 3, "Rome")]


async def test_a_type_that_cannot_be_read_is_refused_until_it_is_transformed_from_plain_values(tmp_path: Path) -> None:
    await pipeline_of(OldProfiles, ["ann", "bob"], ignore).run(store=tmp_path)
    pipeline = pipeline_of(People, [], ignore)
    with (
        pytest.raises(RestoreError, match=r"op\.profile changed its type"),
        write_savepoint(pipeline, tmp_path / "new", base=tmp_path / "t") as writer,
    ):
        writer.put("op", "profile", [("cid", Person("Cid"))])
    with write_savepoint(pipeline, tmp_path / "new", base=tmp_path / "t") as writer:
        writer.transform("op", "profile", lambda key, old: (key, Person(old["name"].upper())))
    with open_snapshot(tmp_path / "new", pipeline=pipeline) as snapshot:
        assert dict(snapshot.state("op", "profile").items()) == {"ann": Person("ANN"), "bob": Person("BOB")}
        assert snapshot.state("op", "visits").get("ann") == 1


@pytest.mark.parametrize("wide", [9, 128, 300])
async def test_an_operator_without_state_goes_along(wide: int, tmp_path: Path) -> None:
    """Its key groups are listed all the same, and must be those of the result."""
    await pipeline_of(Stateless, ["a"], ignore).run(store=tmp_path)
    with write_savepoint(
        pipeline_of(Stateless, [], ignore), tmp_path / "new", base=tmp_path / "t", max_parallelism=wide
    ):
        pass
    operator = manifest_of(tmp_path / "new").operators["op"]
    assert (operator.states, [run[:2] for run in operator.stacks]) == ({}, [(0, wide)])


async def test_enums_are_keys_offline_too(tmp_path: Path) -> None:
    await pipeline_of(Colors, [Color.RED, Color.BLUE, Color.RED], ignore).run(store=tmp_path)
    pipeline = pipeline_of(Colors, [], ignore)
    with write_savepoint(pipeline, tmp_path / "new", base=tmp_path / "t", max_parallelism=9) as writer:
        writer.transform("op", "count", lambda color, count: (color, count + 1))
    with open_snapshot(tmp_path / "new") as snapshot:
        assert dict(snapshot.state("op", "count").items()) == {Color.RED: 3, Color.BLUE: 2}


# ---- windows ---------------------------------------------------------------------------------------------------------


def sliding(records: Any, _: Any) -> Any:
    return records.key_by(user).window(Sliding(timedelta(minutes=20), slide=timedelta(minutes=5))).count(name="op")


def sessions(records: Any, _: Any) -> Any:
    return records.key_by(user).window(Session(timedelta(minutes=6))).apply(pages, name="op")


def joined(records: Any, also: Any) -> Any:
    left, right = records.key_by(user), also.key_by(user)
    return left.window_join(right, Tumbling(timedelta(minutes=20)), name="op")


def user(record: Record) -> str:
    return record[0]


def pages(window: Sequence[Record]) -> str:
    return " ".join(record[1] for record in window)


def windows(source: Any, into: Any, define: Any, wide: int = 128) -> Pipeline:
    pipeline = Pipeline("t", max_parallelism=wide)
    timed = pipeline.source(source, name="in").assign_timestamps(at, name="times")
    again = timed.map(lambda record: record)
    define(timed, again).sink(into, name="out")
    return pipeline


def at(record: Record) -> datetime:
    return START + timedelta(minutes=record[2])


async def ended_by(minute: int, values: list[Record], define: Any) -> list[Any]:
    """Give the results of all windows that end by a minute, if these are the records."""
    results: list[Any] = []
    await windows(values, results.append, define).run()
    return [text_of(result) for result in results if result.end <= START + timedelta(minutes=minute)]


def text_of(result: Any) -> str:
    return f"{result.key} {result.start} {result.end} {result.value}"


@pytest.mark.parametrize("wide", [128, 17])
@pytest.mark.parametrize("define", [sliding, sessions, joined])
async def test_windows_go_on_in_other_key_groups(define: Any, wide: int, tmp_path: Path) -> None:
    """Slices, panes, records and their timers: what was begun before ends as if nothing had been done."""
    log = EventLog(tuple[str, str, int], tmp_path / "log")
    more = [*records(40, 60), ("user-0", "page-0", 340)]
    expected = await ended_by(340, [*records(0, 40), *more], define)
    first = await ended_by(39, records(0, 40), define)
    assert len(expected) > len(first) > 0

    await append(tmp_path / "log", records(0, 40))
    into = Outputs()
    await run_until(windows(log, into.take, define), into, len(first), tmp_path / "store")
    assert sorted(map(text_of, into)) == sorted(first)
    with write_savepoint(windows(log, into.take, define, wide), tmp_path / "new", base=tmp_path / "store"):
        pass
    with open_snapshot(tmp_path / "new") as snapshot, open_snapshot(tmp_path / "store") as before:
        assert all(differences(before, snapshot))
        assert sum(1 for state in snapshot.states("op") for _ in snapshot.state("op", state).items()) > 5
    await append(tmp_path / "log", more)
    later_on = Outputs()
    await run_until(
        windows(log, later_on.take, define, wide),
        later_on,
        len(expected) - len(first),
        tmp_path / "next",
        restore=tmp_path / "new",
        parallelism=2,
    )
    assert sorted([*map(text_of, into), *map(text_of, later_on)]) == sorted(expected)
