"""Bugs around async handlers of a process: who is called, what they see of each other, when it becomes state."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import patch

from actorstream.model.times import TIME_MIN
from actorstream.operators.awaited_timers import AwaitedTimers
from actorstream.operators.private_states import KeyChanges
from actorstream.operators.private_table import Overlay
from actorstream.runtime.chain_runner import ChainRunner
from actorstream.runtime.key_room import KeyRoom
from actorstream.state.missing import MISSING
from tests.mutations.entering import Area
from tests.mutations.of_async import of
from tests.simulation.key_handlers import AsyncBook
from tests.simulation.test_key_handlers import books, plain_rows, tallied, tallies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from actorstream.runtime.key_call import KeyCall
    from actorstream.state.map_table import MapTable

AREA = Area("key_handlers")
BOOKS = of(books(AsyncBook), plain_rows, lane=lambda row: row[0])
TALLIES = of(tallies, tallied, lane=lambda row: row if row[0] < 0 else row[0])


@AREA.enter("two handlers of a key overlap", TALLIES)
def _overlap() -> Sequence[AbstractContextManager[object]]:
    def next_call(self: KeyRoom) -> KeyCall | None:
        if self.due:
            return self.due[0] if not self.unstored else None
        return self.line[0] if self.line else None

    return [patch.object(KeyRoom, "next_call", next_call)]


@AREA.enter("a handler does not see what the one before it has changed and nobody stored", TALLIES)
def _blind() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(KeyChanges, "put", lambda self, newer: None)]


@AREA.enter("what a handler removes of a map is not removed", BOOKS)
def _kept() -> Sequence[AbstractContextManager[object]]:
    def store(self: Overlay, table: MapTable, key: object) -> None:
        for item, value in self.entries.values():
            if value is not MISSING:
                table.set(key, item, value)

    return [patch.object(Overlay, "store", store)]


@AREA.enter("a timer that was set into the past is told of no time that has passed", BOOKS)
def _untold() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(ChainRunner, "reached_us", property(lambda self: (TIME_MIN, TIME_MIN)))]


@AREA.enter("timers whose handlers run are in no checkpoint", BOOKS)
def _lost_timers() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(AwaitedTimers, "put_back", lambda self: None)]


@AREA.enter("a timer of the clock does not wait for records of its key that are under way", TALLIES)
def _at_once() -> Sequence[AbstractContextManager[object]]:
    def next_call(self: KeyRoom) -> KeyCall | None:
        if self.at_work is not None:
            return None
        return self.due[0] if self.due else self.line[0] if self.line else None

    return [patch.object(KeyRoom, "next_call", next_call)]
