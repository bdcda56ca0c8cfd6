"""The alarms of examples/anomalies are those of a plain loop over each sensor's readings, whatever breaks down."""

from __future__ import annotations

import random
import statistics
from typing import Any

import pytest

from actorstream import Pipeline, Stream, collect
from actorstream.testing import harness, simulate
from tests.examples.loading import EXAMPLES, load, run_page

EXAMPLE = load("anomalies", "anomalies")

Row = tuple[str, float, str]


def row_of(alarm: Any) -> Row:
    return alarm.sensor, alarm.at, alarm.kind


def sensor_of(row: Row) -> str:
    return row[0]


def alarms_of(p: Pipeline, readings: list[Any]) -> Stream[Any]:
    alarms: Stream[Any] = EXAMPLE.alarms(p.source(readings))
    return alarms


def by_a_loop(readings: list[Any]) -> list[Row]:
    """Give the alarms, sensor by sensor, from lists and Python's own statistics."""
    rows: list[Row] = []
    for sensor in sorted({reading.sensor for reading in readings}):
        mine = sorted({(r.at, r.value) for r in readings if r.sensor == sensor})
        normal: list[float] = []
        unusual = 0
        for place, (at, value) in enumerate(mine):
            if place and at > mine[place - 1][0] + EXAMPLE.SILENCE:
                rows += [(sensor, mine[place - 1][0] + EXAMPLE.SILENCE, "silent"), (sensor, at, "back")]
            enough = len(normal) >= EXAMPLE.ENOUGH
            deviation = max(EXAMPLE.NOISE, statistics.pstdev(normal)) if enough else 0.0
            if not enough or abs(value - statistics.fmean(normal)) <= EXAMPLE.FAR * deviation:
                normal, unusual = [*normal, value], 0
            elif unusual + 1 < EXAMPLE.CHANGED:
                unusual += 1
                rows.append((sensor, at, "unusual"))
            else:
                normal, unusual = [value], 0
                rows.append((sensor, at, "changed"))
        rows.append((sensor, mine[-1][0] + EXAMPLE.SILENCE, "silent"))
    return rows


def plant(seed: int, length: int) -> list[Any]:
    """Sensors that are odd at times, change, fall silent, send again, and lag behind each other by less than `LAG`."""
    rng = random.Random(seed)
    arrivals: list[tuple[float, Any]] = []
    for sensor in ("boiler", "crane", "drill"):
        at, level = rng.uniform(0, 5), 100.0
        for _ in range(length):
            at += rng.choice([5.0, 5.0, 5.0, 5.0, 60.0, rng.uniform(61, 200)] if rng.random() < 0.2 else [5.0])
            level += rng.choice([0.0] * 30 + [50.0])
            odd = 30.0 if rng.random() < 0.05 else 0.0
            reading = EXAMPLE.Reading(sensor, at, rng.gauss(level, 1.0) + odd)
            arrivals += [(at + rng.uniform(0, EXAMPLE.LAG / 2), reading)] * rng.choice([1, 1, 1, 2])
    return [reading for _, reading in sorted(arrivals, key=lambda arrival: arrival[0])]


@pytest.mark.parametrize("seed", range(4))
async def test_alarms_are_those_of_a_plain_loop(seed: int) -> None:
    readings = plant(seed, 80)
    expected = by_a_loop(readings)
    assert {"unusual", "changed", "silent", "back"} == {kind for _, _, kind in expected}
    found = [row_of(alarm) for alarm in await collect(alarms_of(Pipeline("plant"), readings))]
    assert sorted(found, key=sensor_of) == expected  # a stable sort: those of one sensor stay in order


def test_alarms_are_the_same_whatever_breaks_down() -> None:
    readings = plant(5, 30)

    def pipeline() -> Pipeline:
        p = Pipeline("plant")
        alarms_of(p, readings).map(row_of, name="rows")
        return p

    report = simulate(pipeline, seeds=8, reference=lambda: by_a_loop(readings), in_order_by=sensor_of)
    report.check()
    assert report.recoveries > 0


async def test_a_silence_that_began_before_a_crash_is_told_after_it() -> None:
    """The timer is in the checkpoint, and the readings of others make it fire."""
    p = Pipeline("plant")
    readings: list[Any] = []
    told = alarms_of(p, readings)
    async with harness(p) as h:
        await h.send(readings, EXAMPLE.Reading("crane", 0.0, 1.0), EXAMPLE.Reading("drill", 0.0, 1.0))
        await h.checkpoint()
        await h.crash_and_recover()
        await h.send(readings, EXAMPLE.Reading("drill", 60.0, 1.0))
        assert h.outputs(told) == []
        await h.send(readings, EXAMPLE.Reading("drill", 65.1, 1.0))
        assert list(map(row_of, h.outputs(told))) == [("crane", 60.0, "silent")]
        await h.send(readings, EXAMPLE.Reading("crane", 66.0, 1.0))
        assert list(map(row_of, h.outputs(told))) == [("crane", 66.0, "back")]


def test_the_page_shows_what_the_example_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES / "anomalies")
    run_page("anomalies")
