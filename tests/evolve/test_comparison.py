"""`compare`: counts as defined, whatever the layout; examples in order; truth."""

from __future__ import annotations

import random
import tempfile
from collections import namedtuple
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import TYPE_CHECKING

import pytest

from actorstream.errors import CodecError, PlanError, StoreError
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.untyped import open_untyped
from actorstream.evolve import Comparison, compare
from actorstream.evolve.comparison import compare_within
from actorstream.model.world import World
from actorstream.system.current import current_world, use_world
from actorstream.testing.faults import Fault, FaultyFiles
from tests.eventlog.setting import SMALL
from tests.evolve.naive import Reading, counts, log_of

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path


def sensor(reading: Reading) -> str:
    return reading.sensor


def readings(count: int, sensors: int = 5) -> list[Reading]:
    return [Reading(f"s{i % sensors}", i) for i in range(count)]


async def test_a_log_equals_itself_and_is_true(tmp_path: Path) -> None:
    a = await log_of(tmp_path / "a", readings(3_000))
    for key in (None, sensor):
        found = await compare(a, a, key=key)
        assert found == Comparison(0, 0, 0, 3_000, [])
        assert found


async def test_two_empty_logs_are_equal(tmp_path: Path) -> None:
    assert await compare(await log_of(tmp_path / "a", []), await log_of(tmp_path / "b", [], 3)) == (0, 0, 0, 0, [])


async def test_without_a_key_records_count_as_often_as_they_come(tmp_path: Path) -> None:
    x, y, z = Reading("x", 1), Reading("y", 2), Reading("z", 3)
    a = await log_of(tmp_path / "a", [x, x, x, y])
    b = await log_of(tmp_path / "b", [z, x, y, y])
    found = await compare(a, b)
    assert found == Comparison(2, 2, 0, 2, [(None, x, None), (None, x, None), (None, None, z), (None, None, y)])
    assert not found


async def test_with_a_key_the_kth_record_meets_the_kth(tmp_path: Path) -> None:
    a = [Reading("x", 1), Reading("x", 2), Reading("y", 5), Reading("x", 3)]
    b = [Reading("y", 6), Reading("x", 1), Reading("x", 7), Reading("z", 9)]
    found = await compare(await log_of(tmp_path / "a", a), await log_of(tmp_path / "b", b), key=sensor)
    assert found[:4] == (1, 1, 2, 1)
    assert found.samples == [
        ("x", Reading("x", 2), Reading("x", 7)),
        ("y", Reading("y", 5), Reading("y", 6)),
        ("x", Reading("x", 3), None),
        ("z", None, Reading("z", 9)),
    ]


async def test_at_most_so_many_samples_are_given_those_of_a_first(tmp_path: Path) -> None:
    a = await log_of(tmp_path / "a", readings(500))
    b = await log_of(tmp_path / "b", [Reading("t", -i) for i in range(500)])
    found = await compare(a, b, samples=3)
    assert found.samples == [(None, reading, None) for reading in readings(3)]
    assert (await compare(a, b, samples=0)).samples == []
    with pytest.raises(PlanError, match="samples=-1"):
        await compare(a, b, samples=-1)


async def test_any_two_logs_give_what_the_definition_says_in_every_layout(tmp_path: Path) -> None:
    """The partitions' interleaving and the memory there is change nothing."""
    rng = random.Random(7)
    for number in range(6):
        a = [Reading(f"s{rng.randrange(6)}", rng.randrange(8)) for _ in range(rng.randrange(200, 800))]
        b = [reading for reading in a if rng.random() < 0.97]
        for _ in range(rng.randrange(5)):
            b.insert(rng.randrange(len(b)), Reading("s1", rng.randrange(20)))
        if number % 3 == 0:
            rng.shuffle(b)
        for key in (None, sensor):
            expected = counts(a, b, key)
            seen = []
            for layout, (of_a, of_b) in enumerate([(1, 1), (1, 3), (4, 2)]):
                folder = tmp_path / f"{number}-{layout}-{key}"
                log_a = await log_of(folder / "a", a, of_a, keyed=of_a > 2)
                log_b = await log_of(folder / "b", b, of_b, keyed=of_b > 2)
                for room in (4, 50, 100_000):
                    found = await compare_within(log_a, log_b, key, (), 5, room=room)
                    assert found[:4] == expected
                    seen.append((layout, found.samples))
            assert len({repr(sample) for sample in seen}) == 3, "one list of samples a layout, whatever the memory"


async def test_records_of_a_key_dealt_to_partitions_keep_the_order_they_were_appended_in(tmp_path: Path) -> None:
    """Without a key a log deals its records in turn: three partitions hold the same order as one."""
    values = readings(2_000, sensors=3)
    a, b = await log_of(tmp_path / "a", values), await log_of(tmp_path / "b", values, 7)
    assert await compare(a, b, key=sensor) == Comparison(0, 0, 0, 2_000, [])


async def test_ignored_fields_do_not_count(tmp_path: Path) -> None:
    a = await log_of(tmp_path / "a", [Reading("x", i, "old") for i in range(10)])
    b = await log_of(tmp_path / "b", [Reading("x", i, "new") for i in range(10)])
    assert (await compare(a, b, key=sensor)).different == 10
    assert await compare(a, b, ignore=["note"])
    assert await compare(open_untyped(a.path), open_untyped(b.path), ignore=["note"])
    with pytest.raises(PlanError, match=r"\['nota'\]: no record has a field"):
        await compare(a, b, ignore=["note", "nota"])
    with pytest.raises(PlanError, match="give a list"):
        await compare(a, b, ignore="note")


Point = namedtuple("Point", "x at")  # noqa: PYI024  (a kind that users have)


async def test_values_are_compared_as_values_not_as_bytes(tmp_path: Path) -> None:
    """Dicts in another order, the same instant in another zone, NaN beside itself; 1 is not 1.0, nor True (T137)."""
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    pairs: list[tuple[object, object, bool]] = [
        ({"a": 1, "b": {"c": 2, "d": [3]}}, {"b": {"d": [3], "c": 2}, "a": 1}, True),
        ({1: "x", (2, 3): {4}}, {(2, 3): {4}, 1: "x"}, True),
        (noon, noon.astimezone(timezone(timedelta(hours=2))), True),
        ([float("nan")], [float("nan")], True),
        (Point(1, {"a": 1, "b": 2}), Point(1, {"b": 2, "a": 1}), True),
        ({"a": 1}, {"a": 1.0}, False),
        ([True], [1], False),
        ([1, 2], (1, 2), False),
        ({"a": None}, {}, False),
        (Reading("x", 1), {"sensor": "x", "value": 1, "note": ""}, False),
    ]
    for number, (left, right, same) in enumerate(pairs):
        a, b = (EventLog(object, tmp_path / f"{name}{number}") for name in "ab")
        await a.append(left)
        await b.append(right)
        assert bool(await compare(a, b)) is same, (left, right)


async def test_what_is_appended_after_the_call_is_not_waited_for(tmp_path: Path) -> None:
    a, b = await log_of(tmp_path / "a", readings(10)), await log_of(tmp_path / "b", readings(9))
    assert (await compare(a, b)).only_a == 1
    await b.append(readings(10)[9])
    assert await compare(a, b)


async def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    a = await log_of(tmp_path / "a", readings(3))
    b = await log_of(tmp_path / "b", readings(2))

    def no_key(reading: Reading) -> Hashable:
        return None if reading.value == 2 else reading.sensor

    with pytest.raises(CodecError, match="None"):
        await compare(a, b, key=no_key)


async def test_temporary_files_are_removed_also_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    a = await log_of(tmp_path / "a", readings(600))
    b = await log_of(tmp_path / "b", reversed(readings(600)))
    seen: list[int] = []

    def fails(reading: Reading) -> object:
        seen.append(len(list(temporary.iterdir())))
        if len(seen) == 1_000:
            raise ValueError("a user's own error")
        return reading.sensor, reading.value

    with pytest.raises(ValueError, match="own error"):
        await compare_within(a, b, fails, (), 5, room=10)
    assert seen[-1] == 1, "it was there"
    assert list(temporary.iterdir()) == []
    assert await compare_within(a, b, None, (), 5, room=10) == Comparison(0, 0, 0, 600, [])
    assert list(temporary.iterdir()) == []


async def test_a_full_disk_for_temporary_files_is_an_error_that_says_so(tmp_path: Path) -> None:
    """Not half a comparison: nothing is given."""
    a = await log_of(tmp_path / "a", readings(30))
    b = await log_of(tmp_path / "b", reversed(readings(30)))
    world = current_world()
    for nth in count(1):
        files = FaultyFiles(world.files, Fault(nth, "short write", frozenset(("write",))))
        with use_world(World(world.clock, files, world.offload, world.random)):
            found: object = None
            with suppress(StoreError):
                found = await compare_within(a, b, None, (), 5, room=20)
        assert (files.fired is None) == (found == Comparison(0, 0, 0, 30, []))
        if files.fired is None:
            break
    assert nth > 30


def test_the_words_for_people_say_counts_and_show_both_sides() -> None:
    found = Comparison(1, 0, 1, 4, [("x", Reading("x", 1), Reading("x", 2)), ("x", Reading("x", 3), None)])
    assert str(found).splitlines() == [
        "4 the same, 1 different, 1 only in A, 0 only in B",
        "  'x': Reading(sensor='x', value=1, note='') | Reading(sensor='x', value=2, note='')",
        "  'x': Reading(sensor='x', value=3, note='') | —",
    ]
    assert str(Comparison(0, 0, 0, 5, [])) == "equal: 5 records in both"
    assert len(str(Comparison(1, 0, 0, 0, [(None, "y" * 500, None)])).splitlines()[1]) < 80


async def test_several_segments_are_read_through(tmp_path: Path) -> None:
    values = [Reading("x" * 500, i) for i in range(6_000)]
    a, b = await log_of(tmp_path / "a", values), await log_of(tmp_path / "b", values, 4)
    assert (await a.summary()).segments > 1
    assert SMALL.segment_bytes < (await a.summary()).bytes
    assert await compare(a, b) == Comparison(0, 0, 0, 6_000, [])
