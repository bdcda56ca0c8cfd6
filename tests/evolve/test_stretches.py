"""What a replay is over: what cannot be is refused before anything is read or written, with what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import EventLog, Pipeline
from actorstream.errors import PlanError, StoreError
from actorstream.evolve import replay
from actorstream.evolve.stretches import span_of
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from actorstream.eventlog.view import LogView
    from actorstream.runtime.replay_order import Reading


async def _numbers(root: Path, name: str = "numbers", count: int = 10) -> EventLog[int]:
    log = EventLog(int, root / name, partitions=1, timestamp=lambda number: 1_000.0 + number)
    async with log:
        await log.extend(range(count))
    return log


async def _reading(source: EventLog[int] | LogView[int], start: Any = "earliest", until: Any = "now") -> Reading:
    pipeline = Pipeline("p")
    pipeline.source(source, name="numbers").map(str)
    span = await span_of(current_world(), start, until)
    return (await span.reads_of(pipeline.draft.graph()))["numbers"].readings["0"]


async def test_words_times_and_positions_become_offsets(tmp_path: Path) -> None:
    log = await _numbers(tmp_path)
    assert await _reading(log) == (0, 10)
    assert await _reading(log, 1_003.0, 1_007.5) == (3, 8)
    assert await _reading(log, datetime.fromtimestamp(1_003, UTC), [(0, 5)]) == (3, 5)
    assert await _reading(log, 5_000.0, 6_000.0) == (10, 10)
    assert await _reading(log, until=[(0, 500)]) == (0, 10)


async def test_a_part_of_a_log_is_replayed_as_far_as_it_goes(tmp_path: Path) -> None:
    """Where it follows the tail from "latest" on, what is recorded is meant."""
    log = await _numbers(tmp_path)
    assert await _reading(log.view(start=[(0, 2)], stop=1_006.0)) == (2, 6)  # type: ignore[list-item]
    assert await _reading(log.view(start=1_004.0), until=1_002.0) == (4, 4)
    assert await _reading(log.view(start="latest")) == (0, 10)


async def test_a_log_that_two_read_ends_at_the_same_record_for_both(tmp_path: Path) -> None:
    log = await _numbers(tmp_path)
    pipeline = Pipeline("p")
    for name in ("first", "second"):
        pipeline.source(log, name=name).map(str)
    span = await span_of(current_world(), "earliest", "now")
    one = await span.reads_of(pipeline.draft.graph())
    await log.append(99)
    other = await span.reads_of(pipeline.draft.graph())
    assert {reads["0"] for each in (one, other) for reads in [each["first"].readings, each["second"].readings]} == {
        (0, 10)
    }


@pytest.mark.parametrize(
    ("start", "until", "expected"),
    [
        ("earliest", "tomorrow", "until='tomorrow': expected 'now', a time, or positions"),
        ("earliest", [(0, 1), (1, 1)], "name one position for each partition of"),
        (None, "now", "start=None: expected a savepoint or its folder, 'earliest', or a time"),
        (datetime(2026, 1, 1), "now", "has no time zone"),  # noqa: DTZ001
    ],
)
async def test_what_is_no_bound_is_refused(start: Any, until: Any, expected: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=expected):
        await _reading(await _numbers(tmp_path), start, until)


async def test_positions_are_of_one_log(tmp_path: Path) -> None:
    pipeline = Pipeline("p")
    for name in ("a", "b"):
        pipeline.source(await _numbers(tmp_path, name), name=name).map(str)
    with pytest.raises(PlanError, match=r"positions are of one log, and b reads .*/b beside .*/a: give a time"):
        await replay(pipeline, start="earliest", until=[(0, 1)], into=tmp_path / "into")  # type: ignore[list-item]


async def test_a_savepoint_that_is_not_there_and_a_source_without_times_are_refused(tmp_path: Path) -> None:
    async def ticks() -> AsyncIterator[int]:
        yield 1

    pipeline = Pipeline("p")
    pipeline.source(ticks, name="ticks").map(str)
    with pytest.raises(PlanError, match=r"'p' cannot be replayed: ticks .* gives its records once: write them to an"):
        await replay(pipeline, start="earliest", until="now", into=tmp_path / "into")
    with pytest.raises(StoreError, match="missing is not there: expected the folder of a savepoint"):
        await replay(pipeline, start=tmp_path / "missing", until="now", into=tmp_path / "into")
    assert not (tmp_path / "into").exists()
