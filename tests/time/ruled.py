"""A case beside a broadcast stream: what is broadcast is seen by the records of every key, and changes every key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorstream import BroadcastContext, BroadcastProcess, BroadcastState, Context, MapState, Timer, ValueState
from tests.time.driving import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream import Stream


class Ruled(BroadcastProcess[str, Event, Event, Any]):
    """What is broadcast is shown to every record of every key, and may visit all keys that there are."""

    rules: BroadcastState[str, list[int]] = BroadcastState()
    count: ValueState[int] = ValueState(0)
    visits: MapState[int, int] = MapState()

    def on_element(self, event: Event, ctx: Context[str], /) -> Iterator[Any]:
        self.count += 1
        if event.value > 5:
            self.visits[-event.number] = 1
            ctx.set_timer(event.at + event.value)
        yield ctx.key, event.number, self.count, list(self.visits.items()), self.shown()

    def on_broadcast(self, event: Event, ctx: BroadcastContext, /) -> None:
        rules = ctx.writable(self.rules)
        if event.value % 5 == 0:
            rules.pop(event.key, None)
        else:
            rules.setdefault(event.key, []).append(event.number)
        if event.value % 3 == 0:
            ctx.for_each_key(Ruled.count, lambda key, count: self.visit(event, key, count))
        if event.value % 4 == 0:
            ctx.for_each_key(Ruled.visits, lambda *_: self.visits.clear())

    def visit(self, event: Event, key: str, count: int) -> None:
        self.visits[event.number] = count
        if key > event.key:
            self.count = -event.value

    def shown(self) -> list[tuple[str, list[int]]]:
        return [(key, list(numbers)) for key, numbers in self.rules.items()]

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> Iterator[Any]:
        yield ctx.key, timer, self.count, self.shown()


def ruled(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
    return {"results": left.key_by(lambda event: event.key).connect(right.broadcast()).process(Ruled)}
