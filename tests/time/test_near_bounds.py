"""Times that lie a fraction of a microsecond from a window's end: exact, though most records' times never are.

The loop makes a time exact only where something depends on it (operators/time_text.py). So here all does.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from actorstream import OutputTag, Pipeline, Tumbling
from actorstream.operators.user_time import datetime_of, time_us
from actorstream.testing import harness

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZE_S, DELAY_S = 10, 3
SIZE_US, DELAY_US = SIZE_S * 1_000_000, DELAY_S * 1_000_000
NONE: tuple[int, ...] = ()
TOO_LATE: OutputTag[Any] = OutputTag("too late")
YEARS = {"1950": -631_152_000, "2026": 1_767_225_600, "9990": 253_086_076_800}


class Seen(NamedTuple):
    """A record, as text so that none is equal to another."""

    number: int
    at: float | datetime

    @property
    def us(self) -> int:
        return time_us(self.at)


def drawn(year: str, seed: int) -> list[Seen]:
    """Draw records close to the ends of windows, and to where the watermark passes them; floats, ints, datetimes."""
    rng = random.Random(f"{year} {seed}")
    at, records = YEARS[year] // SIZE_S * SIZE_S, []
    for number in range(120):
        at += rng.choice((0, 0, 1, SIZE_S)) * rng.choice((1, DELAY_S))
        near = at + rng.choice((0, 0, -DELAY_S, DELAY_S, -SIZE_S))
        time: float | datetime = near + rng.choice((-64, -3, -1, -0.5, -0.3, 0, 0.3, 0.5, 1, 2, 64)) / 1e6
        kind = rng.random()
        if kind < 0.2:
            time = near
        elif kind < 0.4:
            time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=near, microseconds=rng.choice((-1, 0, 1)))
        records.append(Seen(number, time))
    return records


def with_number(held: tuple[int, ...], seen: Seen) -> tuple[int, ...]:
    return (*held, seen.number)


def by_hand(records: Sequence[Seen]) -> tuple[dict[int, list[int]], list[int]]:
    """Say which records each window has, and which are late, in whole microseconds."""
    windows: dict[int, list[int]] = {}
    late, watermark = [], None
    for record in records:
        start = record.us // SIZE_US * SIZE_US
        if watermark is not None and start + SIZE_US - 1 <= watermark:
            late.append(record.number)
        else:
            windows.setdefault(start, []).append(record.number)
        behind = record.us - DELAY_US - 1
        watermark = behind if watermark is None else max(watermark, behind)
    return windows, late


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("batch", [1, 7, 1_000])
async def test_a_join_in_the_chain_that_assigns_times_is_exact_to_the_microsecond(year: str, batch: int) -> None:
    """Both inputs come from filters, so most times are not made exact."""
    for seed in range(4):
        records = drawn(year, seed)
        expected, late = by_hand(records)
        pipeline = Pipeline("p")
        source: list[Seen] = []
        timed = pipeline.source(source).assign_timestamps(lambda seen: seen.at, out_of_orderness=DELAY_S)
        even, odd = timed.filter(lambda seen: seen.number % 2 == 0), timed.filter(lambda seen: seen.number % 2 == 1)
        groups = even.key_by(lambda _: "k").cogroup(
            odd.key_by(lambda _: "k"), Tumbling(SIZE_S), lambda lefts, rights: [[*lefts, *rights]], late=TOO_LATE
        )
        too_late = groups.side_output(TOO_LATE)
        async with harness(pipeline, batch=batch) as h:
            await h.send(source, *records)
            await h.end_input()
            found = [(each.start, [seen.number for seen in each.value]) for each in h.outputs(groups)]
            order = [(each.us, each.number) for each in records]
            assert found == [
                (
                    datetime_of(start),
                    [n for rest in (0, 1) for _, n in sorted(order[n] for n in numbers) if n % 2 == rest],
                )
                for start, numbers in sorted(expected.items())
            ]
            assert [seen.number for seen in h.outputs(too_late)] == late


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("batch", [1, 7, 1_000])
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_windows_and_lateness_are_exact_to_the_microsecond(year: str, batch: int, elsewhere: bool) -> None:
    """In the chain that assigns times, and behind an exchange that a filter feeds."""
    for seed in range(4):
        records = drawn(year, seed)
        expected, late = by_hand(records)
        assert late
        pipeline = Pipeline("p")
        source: list[Seen] = []
        timed = pipeline.source(source).assign_timestamps(lambda seen: seen.at, out_of_orderness=DELAY_S)
        kept = timed.filter(lambda seen: seen.number >= 0, new_chain=False)
        if elsewhere:
            kept = kept.map(lambda seen: seen, new_chain=True)
        windows = kept.key_by(lambda _: "k").window(Tumbling(SIZE_S)).fold(NONE, with_number)
        too_late = windows.late
        async with harness(pipeline, batch=batch) as h:
            await h.send(source, *records)
            await h.end_input()
            assert [(each.start, list(each.value)) for each in h.outputs(windows)] == [
                (datetime_of(start), numbers) for start, numbers in sorted(expected.items())
            ]
            assert [seen.number for seen in h.outputs(too_late)] == late
