"""Events, the operators that the simulated jobs put them through, and each operator's model in plain Python.

    lane     (source, key): its order is kept wherever an event goes
    model    is fed in any order that keeps the lanes, so what it remembers is compared after `settled`, which forgets
             the order between lanes

Models are written apart from the operators: they share the records and nothing else.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ListState, MapState, ValueState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorstream.operators.contexts import Context


_KEYS = ("k0", "k1", "k2", "k3", "k4", "k5")
STATE_KEYS = (*_KEYS, "m0", "m1", "m2")
"""Every key that a stage can have."""

_WEIGHTS = (12, 6, 4, 3, 2, 1)


@dataclass(frozen=True)
class Event:
    """One record of an input."""

    source: str
    key: str
    seq: int
    amount: int
    pad: str = field(default="", repr=False)

    @property
    def lane(self) -> str:
        """Whose order is kept."""
        return f"{self.source}:{self.key}"


@dataclass(frozen=True)
class Result:
    """What a stage gives for one event."""

    key: str
    event: Event
    count: int
    total: int


def make_events(source: str, number: int, seed: int, pad: int = 0) -> list[Event]:
    """Draw the input of one source: skewed keys; `pad` characters make a record large."""
    rng = random.Random(f"{seed} {source}")
    keys = rng.choices(_KEYS, _WEIGHTS, k=number)
    return [Event(source, key, seq, rng.randrange(100), "." * pad) for seq, key in enumerate(keys)]


# -- the operators under test, and their models ------------------------------------------------------------------------


class Model(Protocol):
    """What one key of a stage must remember."""

    def step(self, key: str, event: Event) -> Result:
        """Take one event, give what the stage gives."""
        ...

    def states(self) -> Mapping[str, object]:
        """Give every state by its name."""
        ...


class Tally(KeyedProcess[str, Event, Result]):
    """Every kind of state, values changed in place among them; nothing depends on the order between lanes."""

    count: ValueState[int] = ValueState(0)
    total: ValueState[int] = ValueState(0)
    last: ValueState[dict[str, int]] = ValueState(factory=dict)
    bag: ListState[int] = ListState()
    lanes: MapState[str, list[int]] = MapState()

    def on_element(self, value: Event, ctx: Context[str], /) -> Iterator[Result]:
        self.count += 1
        self.total += value.amount
        self.last[value.lane] = value.seq
        if value.amount % 2:
            self.bag.append(value.seq)
        if value.seq % 3 == 0:
            seen = self.lanes.get(value.lane)
            if seen is None:
                self.lanes[value.lane] = [value.seq]
            else:
                seen.append(value.seq)
        yield Result(ctx.key, value, self.count, self.total)


@dataclass
class TallyModel:
    """`Tally` in plain Python."""

    count: int = 0
    total: int = 0
    last: dict[str, int] = field(default_factory=dict)
    bag: list[int] = field(default_factory=list)
    lanes: dict[str, list[int]] = field(default_factory=dict)

    def step(self, key: str, event: Event) -> Result:
        self.count, self.total = self.count + 1, self.total + event.amount
        self.last[event.lane] = event.seq
        if event.amount % 2 == 1:
            self.bag.append(event.seq)
        if event.seq % 3 == 0:
            self.lanes.setdefault(event.lane, []).append(event.seq)
        return Result(key, event, self.count, self.total)

    def states(self) -> Mapping[str, object]:
        return vars(self)


class Forgetful(KeyedProcess[str, Event, Result]):
    """Deletes: a whole key at each sixth event, map entries and a value before that. One lane a key only."""

    count: ValueState[int] = ValueState(0)
    note: ValueState[str] = ValueState("")
    amounts: MapState[int, int] = MapState()

    def on_element(self, value: Event, ctx: Context[str], /) -> list[Result]:
        self.count += 1
        self.note = f"seen {value.seq}"
        self.amounts[value.seq] = value.amount
        if self.count % 3 == 0:
            del self.note
            oldest = next(iter(self.amounts))
            del self.amounts[oldest]
        result = Result(ctx.key, value, self.count, sum(self.amounts.values()))
        if self.count == 6:
            ctx.clear()
        return [result]


@dataclass
class ForgetfulModel:
    """`Forgetful` in plain Python."""

    count: int = 0
    note: str = ""
    amounts: dict[int, int] = field(default_factory=dict)

    def step(self, key: str, event: Event) -> Result:
        self.count, self.note = self.count + 1, f"seen {event.seq}"
        self.amounts[event.seq] = event.amount
        if self.count % 3 == 0:
            self.note = ""
            del self.amounts[min(self.amounts)]
        result = Result(key, event, self.count, sum(self.amounts.values()))
        if self.count == 6:
            self.count, self.note, self.amounts = 0, "", {}
        return result

    def states(self) -> Mapping[str, object]:
        return vars(self)


class Notebook(KeyedProcess[str, Event, Result]):
    """Changes what it remembers in place and nothing else (T135)."""

    bag: ListState[int] = ListState()
    last: ValueState[dict[str, int]] = ValueState(factory=dict)

    def on_element(self, value: Event, ctx: Context[str], /) -> list[Result]:
        if value.seq % 4:
            self.bag.append(value.amount)
        self.last[value.lane] = value.seq
        return [Result(ctx.key, value, len(self.bag), sum(self.bag))]


@dataclass
class NotebookModel:
    """`Notebook` in plain Python."""

    bag: list[int] = field(default_factory=list)
    last: dict[str, int] = field(default_factory=dict)

    def step(self, key: str, event: Event) -> Result:
        if event.seq % 4:
            self.bag.append(event.amount)
        self.last[event.lane] = event.seq
        return Result(key, event, len(self.bag), sum(self.bag))

    def states(self) -> Mapping[str, object]:
        return vars(self)


def write_down(value: list[int], event: Event) -> list[int]:
    """Fold in place."""
    value.append(event.seq)
    return value


@dataclass
class DiaryModel:
    """`write_down` in plain Python."""

    value: list[int] = field(default_factory=list)

    def step(self, key: str, event: Event) -> Result:
        self.value.append(event.seq)
        return Result(key, event, 0, 0)

    def states(self) -> Mapping[str, object]:
        return vars(self)


def add_up(value: tuple[int, int, Event | None], event: Event) -> tuple[int, int, Event | None]:
    """Fold: how many, how much, the newest."""
    return value[0] + 1, value[1] + event.amount, event


@dataclass
class FoldModel:
    """`add_up` in plain Python."""

    value: tuple[int, int, Event | None] = (0, 0, None)

    def step(self, key: str, event: Event) -> Result:
        count, total = self.value[0] + 1, self.value[1] + event.amount
        self.value = (count, total, event)
        return Result(key, event, count, total)

    def states(self) -> Mapping[str, object]:
        return {"value": self.value if self.value[0] else None}


@dataclass
class LatestModel:
    """The newest event of a key, unless it deletes."""

    value: Event | None = None

    def step(self, key: str, event: Event) -> Result:
        self.value = event if event.seq % 5 else None
        return Result(key, event, 0, 0)

    def states(self) -> Mapping[str, object]:
        return vars(self)


@dataclass
class NoModel:
    """No operator: an event passes."""

    def step(self, key: str, event: Event) -> Result:
        return Result(key, event, 0, 0)

    def states(self) -> Mapping[str, object]:
        return {}


def settled(state: str, value: object) -> object:
    """Forget what may differ between two orders of the lanes, and between a default and nothing."""
    if not value:
        return None
    return sorted(value) if state == "bag" and isinstance(value, list) else value
