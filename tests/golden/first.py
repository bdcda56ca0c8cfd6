"""The program whose stores and logs are kept: classes and states as they were first. Nothing here ever changes."""

from __future__ import annotations

from collections.abc import Iterable  # noqa: TC003  (annotations of states are resolved at run time)
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from actorstream.api.pipeline import Pipeline
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ListState, MapState, ValueState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.operators.contexts import Context

LONG_KEY = "k" * 250
FAR = timedelta(days=100 * 365)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
Event = tuple[str, int]
"""A key, and what to add; 0 only looks."""


class Kind(Enum):
    """Kept by value."""

    PRIVATE = "p"
    TRADE = "t"


class Point(NamedTuple):
    """Kept by position."""

    x: int
    y: int


@dataclass(frozen=True)
class Order:
    """In a union."""

    id: str
    price: Decimal
    at: datetime


@dataclass(frozen=True)
class Refund:
    """In a union."""

    id: str
    reason: str | None = None


@dataclass
class Line:
    """In a list."""

    item: str
    count: int
    colour: str = "red"


@dataclass
class Total:
    """A value."""

    euros: int
    lines: int


@dataclass(frozen=True)
class Click:
    """A record of a log."""

    user: str
    page: int


@dataclass(frozen=True)
class TimedClick:
    """The same, with a field more."""

    user: str
    page: int
    seconds: float = 0.0


class Ledger(KeyedProcess[str, Event, dict[str, Any]]):
    """Keeps a little of everything for each key, and shows it."""

    total: ValueState[Total] = ValueState(factory=lambda: Total(0, 0))
    aging: ValueState[Total | None] = ValueState(None, ttl=FAR)
    kind: ValueState[Kind] = ValueState(Kind.PRIVATE)
    place: ValueState[Point] = ValueState(Point(0, 0))
    number: ValueState[int] = ValueState(0)
    anything: ValueState[object] = ValueState(None)
    parts: MapState[str, Order | Refund] = MapState()
    lines: ListState[Line] = ListState()

    def on_element(self, value: Event, ctx: Context[str], /) -> Iterable[dict[str, Any]]:
        """Add where there is something to add, then show all of it."""
        if value[1]:
            self.add(value[1])
        names = ("total", "aging", "kind", "place", "number", "anything")
        shown = {name: getattr(self, name) for name in names}
        return [{"key": value[0], **shown, "parts": dict(self.parts), "lines": list(self.lines)}]

    def add(self, number: int) -> None:
        """Change every state."""
        self.total = Total(number, 1)
        self.aging = Total(number, 2)
        self.kind = Kind.TRADE
        self.place = Point(number, -number)
        self.number = number
        self.anything = (number, {"order": Order("any", Decimal("1.50"), NOON)}, Kind.TRADE)
        self.parts[f"order {number}"] = Order(f"o{number}", Decimal(number) / 4, NOON)
        self.parts[f"refund {number}"] = Refund(f"r{number}", "late")
        self.lines.append(Line(f"item {number}", number))


def pipeline(owner: Callable[[], Any], source: Any, sink: Any, *, start: float = 0) -> Pipeline:
    """Give the pipeline: the ledger, and a sum beside it."""
    made = Pipeline("golden")
    keyed = made.source(source, name="in").key_by(lambda event: event[0])
    keyed.process(owner, name="ledger").sink(sink, name="out")
    keyed.fold(start, lambda total, event: total + event[1], name="sum").changes().map(tuple).sink(sink, name="sums")
    return made


EVENTS: Sequence[Event] = [("ada", 5), ("bob", 6), (LONG_KEY, 7), ("bob", 8)]
CLICKS: Sequence[Click] = [Click("ada", 1), Click("bob", 2)]
