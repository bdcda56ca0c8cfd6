"""What queries see of states that expire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ListState, MapState, ValueState
from actorstream.operators.ttl import TTL
from actorstream.state.memtable import MISSING
from tests.operators.ttl_rig import Hands, Keeper

if TYPE_CHECKING:
    from actorstream.operators.contexts import Context
    from tests.state.rig import Shelf


class Both(KeyedProcess[Any, Any, Any]):
    """Writes in both clocks, and without any."""

    seen: ValueState[int] = ValueState(0, ttl=10e-6)
    words: ListState[int] = ListState(ttl=TTL(10e-6, domain="event"))
    days: MapState[int, int] = MapState(ttl=10e-6)
    total: ValueState[int] = ValueState(0)

    def on_element(self, value: int, ctx: Context[Any], /) -> None:
        """Write, or not."""
        if value:
            self.seen = self.total = self.days[1] = value
            self.words.append(value)


def seen_of(keeper: Keeper) -> list[object]:
    """Ask as a query does, without a handler."""
    shown = keeper.binding.aging.shown
    row: Any = keeper.state.rows.peek("a")
    names = keeper.binding.values
    (entry,) = (pair for _, pair in keeper.state.maps["days"].peek("a"))
    return [*(shown(name, stored) for name, stored in zip(names, row, strict=True)), shown("days", entry)]


def test_query_sees_what_a_handler_would(shelf: Shelf) -> None:
    """The clock has gone on since the last record, event time has not."""
    keeper = Keeper(Both, shelf, Hands(100))
    keeper.feed(("a", 7), times=[50], marks=[40])
    assert seen_of(keeper) == [7, [7], 7, 7]
    keeper.clock.now = 110
    assert seen_of(keeper) == [MISSING, [7], 7, MISSING]
    keeper.clock.now = 100
    keeper.feed(("b", 0), times=[60], marks=[60])
    assert seen_of(keeper) == [MISSING, MISSING, 7, MISSING]


def test_query_writes_nothing(shelf: Shelf) -> None:
    keeper = Keeper(Both, shelf, Hands(100))
    keeper.feed(("a", 7), times=[50], marks=[40])
    keeper.checkpoint()
    keeper.clock.now = 200
    seen_of(keeper)
    assert keeper.state.freeze() is None
