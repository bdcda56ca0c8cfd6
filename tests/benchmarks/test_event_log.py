"""`log` compares what it reads with what it wrote."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from actorstream import EventLog, LogPosition
from benchmarks import event_log
from benchmarks.__main__ import app
from benchmarks.errors import WrongOutputError
from benchmarks.event_log import LoggedBid, check_same, measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

ONE, OTHER = LoggedBid(1, 1, 5, 10), LoggedBid(2, 1, 5, 11)
LATER = LoggedBid(1, 1, 9, 12)


def test_partitions_may_come_in_any_order() -> None:
    """Only the order of one auction's bids is promised."""
    check_same([OTHER, ONE, LATER], [ONE, OTHER, LATER], "nobody")


@pytest.mark.parametrize("found", [[ONE, OTHER], [ONE, ONE, OTHER, LATER], [LATER, OTHER, ONE], [ONE, OTHER, ONE]])
def test_lost_doubled_or_turned_records_raise(found: list[LoggedBid]) -> None:
    """Whatever was measured then means nothing."""
    with pytest.raises(WrongOutputError, match="other records than were written"):
        check_same(found, [ONE, OTHER, LATER], "the source")


def test_log_that_loses_a_record_stops_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From end to end: a log that drops what it was given last."""

    class Losing(EventLog[LoggedBid]):
        async def extend(self, values: Iterable[LoggedBid], /) -> Sequence[LogPosition]:
            kept = list(values)[:-1]
            return [*await super().extend(kept), LogPosition(0, len(kept))]

    monkeypatch.setattr(event_log, "EventLog", Losing)
    with pytest.raises(WrongOutputError, match="the source gave 49 records"):
        asyncio.run(measure(records=50, appends=2, runs=1, disk=tmp_path, tell=lambda _: None))


def test_command_measures_each_way_and_writes_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once through, small."""
    monkeypatch.chdir(tmp_path)
    arguments = ["log", "--records", "3000", "--appends", "70", "--runs", "2", "--json", "log.json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)

    assert result.exit_code == 0
    document = json.loads((tmp_path / "log.json").read_text())
    aims = {figure["name"]: figure["aim"] for figure in document["figures"] if figure["aim"]}
    assert aims == {
        "extend, 1 partition": ">= 300,000",
        "read, 1 partition": ">= 500,000",
        "extend, 8 partitions": ">= 300,000",
        "read, 8 partitions": ">= 500,000",
    }
    assert {len(figure["values"]) for figure in document["figures"]} == {2}
    assert all(value > 0 for figure in document["figures"] for value in figure["values"])
    assert [path.name for path in tmp_path.iterdir()] == ["log.json"], "logs are removed"
