"""Records in one fixed order, whatever the layout and the pieces they are read in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.eventlog.inside import RecordStream, at_place, look_inside, place_of, record_at
from actorstream.eventlog.log import EventLog
from tests.eventlog.setting import SMALL

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("partitions", [1, 2, 7])
async def test_a_log_without_a_key_gives_its_records_as_they_were_appended(tmp_path: Path, partitions: int) -> None:
    values = [f"{i} {'x' * 200}" for i in range(9_000)]
    log = EventLog(str, tmp_path / "log", partitions=partitions, settings=SMALL)
    for start in range(0, len(values), 999):
        await log.extend(values[start : start + 999])
    assert (await log.summary()).segments > 1
    inside = await look_inside(log)
    found: list[str] = []
    places: list[int] = []
    with RecordStream(inside.log, [0] * partitions, (await log.summary()).next) as stream:
        while (piece := await stream.next_piece()) is not None:
            found += map(inside.schemas.read, piece.payloads)
            places += map(piece.place, range(len(piece.payloads)))
    assert found == values
    assert places == sorted(places)
    for index in (0, 1, 5_000, 8_999):
        assert await record_at(inside, places[index]) == values[index]


async def test_partitions_of_any_length_are_given_in_turn_as_long_as_they_have_some(tmp_path: Path) -> None:
    log = EventLog(tuple[int, int], tmp_path / "log", partitions=3, key=lambda pair: pair[0])
    await log.extend([(key, n) for key in range(20) for n in range(50 * key)])
    inside = await look_inside(log)
    summary = await log.summary()
    assert len(set(summary.next)) == 3
    places: list[int] = []
    with RecordStream(inside.log, [5, 0, 7], summary.next) as stream:
        while (piece := await stream.next_piece()) is not None:
            places += map(piece.place, range(len(piece.payloads)))
    firsts = [5, 0, 7]
    expected = [
        (offset - firsts[p], p, offset) for p, end in enumerate(summary.next) for offset in range(firsts[p], end)
    ]
    assert [at_place(place) for place in places] == [(p, offset) for _, p, offset in sorted(expected)]


def test_places_compare_by_offset_then_partition() -> None:
    assert at_place(place_of(1_023, 1 << 50)) == (1_023, 1 << 50)
    assert place_of(1_023, 4) < place_of(0, 5) < place_of(1, 5)
