"""The conformance suite passes connectors that keep their contract, and finds each way to break it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream.connectors.iterables import IterableSource
from actorstream.connectors.memory import SequenceSource
from actorstream.errors import PlanError
from actorstream.eventlog.log import EventLog
from actorstream.model.connect import replayable
from actorstream.testing import conformance_calls
from actorstream.testing.conformance import ConformanceError, check_sink, check_source
from actorstream.testing.ledger import Ledger
from tests.testing.breaking_connectors import BreakingSource, Shelves

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

RECORDS = [f"record {number}" for number in range(12)]


# ---- connectors of ours


async def test_sequences_conform() -> None:
    report = await check_source(lambda: SequenceSource(list(range(1_100))), list(range(1_100)))

    assert report.trials["from every position"] == 6
    assert report.trials["in memory"] == 4


async def test_a_replayable_generator_conforms() -> None:
    @replayable
    async def numbers(after: int | None) -> AsyncIterator[tuple[int, str]]:
        for number in range(0 if after is None else after + 1, 20):
            yield number, RECORDS[number % 12]

    await check_source(lambda: numbers, {"0": [RECORDS[number % 12] for number in range(20)]})


async def test_an_iterator_does_not_conform_for_it_cannot_be_read_again() -> None:
    with pytest.raises(ConformanceError, match="gave 0 records, expected 3"):
        await check_source(lambda: IterableSource(iter([1, 2, 3])), [1, 2, 3])


async def test_the_event_log_conforms_as_a_source(tmp_path: Path) -> None:
    """It has no end: what is written is read, and nobody waits for more."""
    log = EventLog(int, tmp_path / "log", partitions=2, key=lambda number: number % 2)
    positions = [await log.append(number) for number in range(30)]
    await log.aclose()
    by_split: dict[str, list[int]] = {"0": [], "1": []}
    for number, position in enumerate(positions):
        by_split[str(position.partition)].append(number)

    report = await check_source(lambda: EventLog(int, tmp_path / "log", partitions=2), by_split, endless=True)
    assert report.trials["cancelled at every await"] > 4


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_the_event_log_conforms_as_a_sink() -> None:
    async def read_back(place: str) -> list[str]:
        log = EventLog(str, place)
        values = [record.value async for record in log.records(stop="now")]
        await log.aclose()
        return values

    report = await check_sink(lambda place: EventLog(str, place), read_back, RECORDS[:8])
    assert report.trials["cancelled at every call"] > 50
    assert report.trials["killed at every call"] > 40


async def test_the_ledger_conforms_but_does_not_know_what_it_has_committed() -> None:
    ledgers: dict[str, Ledger] = {}
    await check_sink(
        lambda place: ledgers.setdefault(place, Ledger(place)),
        lambda place: [str(row) for row in ledgers[place].rows],
        RECORDS,
        without=["going back"],
    )


# ---- sinks that break their contract


async def test_a_sink_that_keeps_its_contract_passes() -> None:
    shelves = Shelves()
    report = await check_sink(shelves.make, shelves.rows, RECORDS, down=shelves.down)

    assert report.trials["outage"] == 1
    assert sum(report.trials.values()) == len(shelves.by_place) > 50


BROKEN_SINKS = {
    "shows at once": "visible, but its commit was never asked for",
    "shows at pre_commit": "visible, but its commit was never asked for",
    "commits again": "is there twice",
    "takes the next epoch too": "its commit was never asked for",
    "keeps it in memory": "is missing",
    "drops what was pre-committed": "is missing",
    "commits what is open as it leaves": "its commit was never asked for",
    "raises as it leaves": "leaving the writer's block raised ValueError: leaving is hard",
    "attempts share what is set aside": "is there twice|never asked for|is missing",
    "abort takes those of others": "is missing",
    "abort of a token shows it": "never asked for",
    "no fence": "never asked for|is there twice",
    "goes back": "what lies between comes twice",
    "commits by its own subtask": "is missing",
    "says it is done": "is missing",
    "no token": "gave no token",
    "long token": "a token of 5",
    "token is a str": "gave a str, expected bytes",
    "one token for all": "the token .* for other records before",
    "marks first": "is missing",
    "marks last": "is there twice",
    "removes before it is committed for good": "is there twice",
    "hangs": "did not end within",
}


@pytest.mark.parametrize(("breaks", "said"), BROKEN_SINKS.items())
async def test_a_broken_sink_is_found(breaks: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance_calls, "CALL_SECONDS", 0.5)
    shelves = Shelves(breaks)
    with pytest.raises(ConformanceError, match=said) as found:
        await check_sink(shelves.make, shelves.rows, RECORDS, down=shelves.down)

    lines = str(found.value).splitlines()
    assert lines[0].startswith("ShelfSink, '")
    assert lines[1].strip() == "attempt 1: subtask 0: open"


async def test_what_a_sink_promises_less_can_be_left_out() -> None:
    shelves = Shelves("no fence")
    report = await check_sink(shelves.make, shelves.rows, RECORDS, without=["zombie", "going back"])
    assert "zombie" not in report.trials


async def test_arguments_that_make_no_sense_are_refused() -> None:
    shelves = Shelves()
    with pytest.raises(PlanError, match="expected at least 8"):
        await check_sink(shelves.make, shelves.rows, RECORDS[:7])
    with pytest.raises(PlanError, match="'record 3' is there twice"):
        await check_sink(shelves.make, shelves.rows, [*RECORDS, "record 3"])
    with pytest.raises(PlanError, match="no scenario 'zombies'"):
        await check_sink(shelves.make, shelves.rows, RECORDS, without=["zombies"])  # type: ignore[list-item]
    with pytest.raises(PlanError, match="by split"):
        await check_source(BreakingSource, [1], endless=True)


# ---- sources that break theirs

NUMBERS = {"a": list(range(6)), "b": list(range(10, 17))}


async def test_a_source_that_keeps_its_contract_passes() -> None:
    report = await check_source(BreakingSource, NUMBERS)
    assert await check_source(BreakingSource, [*NUMBERS["b"], *NUMBERS["a"]]) == report
    assert report.trials["cancelled at every await"] > 20


BROKEN_SOURCES = {
    "splits are new each time": "and of a new source",
    "a split twice": "expected names that differ",
    "read is no generator": "expected an async generator",
    "loses one": "gave 5 records, expected 6",
    "has one twice": "the first difference is record 4: 3, expected 4",
    "gives the last one again": "behind 1 gave 5 records, expected 4",
    "skips one": "behind 1 gave 3 records, expected 4",
    "goes on where it stood": "gave 0 records",
    "takes before it waits": "gave . records, expected",
    "position of the first": "gave .* expected",
    "positions stand still": "gave .* expected",
    "position has no encoding": "cannot be stored",
    "position is a class of its own": "comes back from a checkpoint as another value",
    "one position object": "was changed afterwards",
    "one list of values": "was changed afterwards",
    "too few timestamps": "1 timestamps came with 2 values",
    "values are an iterator": "expected a list",
    "no Fetched": "gave a list, expected a Fetched",
}


@pytest.mark.parametrize(("breaks", "said"), BROKEN_SOURCES.items())
async def test_a_broken_source_is_found(breaks: str, said: str) -> None:
    def make() -> Any:
        return BreakingSource(breaks)

    with pytest.raises(ConformanceError, match=said) as found:
        await check_source(make, NUMBERS)
    assert str(found.value).startswith("BreakingSource, '")
