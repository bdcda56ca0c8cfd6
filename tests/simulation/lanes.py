"""Operators of random topologies whose output hangs on nothing but the records themselves, and their models.

    LaneTally   counts each lane of a key apart: whatever comes between two records of a lane changes nothing
    Pairs       two inputs: each record of one with each of the other, once, whichever comes first
    windows     sums by key and window; what is late hangs on the order of one source alone
    poison      raises when it is first met, and once more: a service that is away for a while

The models are plain Python over the lists of the inputs; they share the records and the results with the operators,
and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actorstream.operators.keyed_process import KeyedCoProcess, KeyedProcess
from actorstream.operators.state_declarations import ListState, MapState, ValueState
from tests.simulation.stages import Event, Result

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from actorstream.operators.contexts import Context
    from actorstream.operators.windows.results import WindowResult

WINDOW = 6
DELAY = 2
POISON_MET = 2


class LaneTally(KeyedProcess[str, Event, Result]):
    """Count and sum of each lane of a key."""

    seen: ValueState[dict[str, int]] = ValueState(factory=dict)
    bag: ListState[int] = ListState()
    totals: MapState[str, list[int]] = MapState()

    def on_element(self, value: Event, ctx: Context[str], /) -> Iterator[Result]:
        lane = value.lane
        self.seen[lane] = self.seen.get(lane, 0) + 1
        yield self.rest(value, ctx.key, self.seen[lane])

    def rest(self, value: Event, key: str, count: int) -> Result:
        """Do what is the same in every version."""
        totals = self.totals.get(value.lane)
        if totals is None:
            self.totals[value.lane] = totals = [0]
        totals[0] += value.amount
        if value.amount % 2:
            self.bag.append(value.seq)
        return Result(key, value, count, totals[0])


@dataclass
class LaneTallyModel:
    """`LaneTally` in plain Python."""

    seen: dict[str, int] = field(default_factory=dict)
    bag: list[int] = field(default_factory=list)
    totals: dict[str, list[int]] = field(default_factory=dict)

    def step(self, key: str, event: Event) -> Result:
        lane = event.lane
        self.seen[lane] = self.seen.get(lane, 0) + 1
        total = self.totals.get(lane, [0])[0] + event.amount
        self.totals[lane] = [total]
        if event.amount % 2 == 1:
            self.bag.append(event.seq)
        return Result(key, event, self.seen[lane], total)

    def states(self) -> Mapping[str, object]:
        return vars(self)


class Pairs(KeyedCoProcess[str, Event, Event, Result]):
    """Every pair of a key."""

    ours: ListState[int] = ListState()
    theirs: ListState[int] = ListState()

    def on_left(self, value: Event, ctx: Context[str], /) -> list[Result]:
        self.ours.append(value.seq)
        return [pair(ctx.key, value.seq, other) for other in self.theirs]

    def on_right(self, value: Event, ctx: Context[str], /) -> list[Result]:
        self.theirs.append(value.seq)
        return [pair(ctx.key, other, value.seq) for other in self.ours]


def pair(key: str, left: int, right: int) -> Result:
    """Show a pair as a result."""
    return Result(key, Event("pair", key, left, 0), right, 0)


def time_of(event: Event) -> int:
    """Give an event's time in seconds: two in a row are equal, some come late, some far too late."""
    return max(0, event.seq // 2 - (event.amount % 5 == 0) * (1 + event.amount % 11))


def window_row(result: WindowResult[str, int]) -> Result:
    """Show a window's result."""
    start = round(result.start.timestamp())
    return Result(result.key, Event("window", result.key, start, 0), 0, result.value)


def late_row(event: Event) -> Result:
    """Show what was too late."""
    return Result(event.key, event, -1, 0)


def poisoned(met: Counter[Event], probe: Probe, *, is_on: bool) -> Callable[[Event], Event]:
    """Give a function that some records make raise, as long as `met` has not seen them often enough."""

    def fn(event: Event) -> Event:
        if is_on and event.amount % 23 == 7 and met[event] < POISON_MET:
            met[event] += 1
            probe.poisoned += 1
            raise OSError(f"the service is away for {event}")
        return event

    return fn


@dataclass
class Probe:
    """What a table has surely seen: a floor and a ceiling for every answer.

    Attributes:
        entered: The records that were ever given to the job's first function.
        emitted: By key, the newest count that the running attempt has emitted.
        poisoned: How often a record has made a function raise.
    """

    entered: set[Event] = field(default_factory=set)
    emitted: dict[str, int] = field(default_factory=dict)
    poisoned: int = 0

    def forget(self) -> None:
        """Begin anew, with another run."""
        self.entered.clear()
        self.emitted.clear()
        self.poisoned = 0

    def enter(self, event: Event) -> Event:
        self.entered.add(event)
        return event

    def emit(self, row: tuple[str, int]) -> tuple[str, int]:
        self.emitted[row[0]] = row[1]
        return row


def lane_of(result: Result | tuple[str, int]) -> Hashable:
    """Give the lane of a tally's result, or a count's; a pair, a window, what is late: in no order."""
    if isinstance(result, tuple):
        return result[0]
    ordered = result.event.source not in {"pair", "window"} and result.count > 0
    return (result.key, result.event.lane) if ordered else result


# ---- the models


def tallied(events: Iterable[Event], key: Callable[[Event], str]) -> list[Result]:
    """Give what a tally gives for all records, in any order that keeps lanes."""
    models: dict[str, LaneTallyModel] = {}
    return [models.setdefault(key(event), LaneTallyModel()).step(key(event), event) for event in events]


def paired(lefts: Iterable[Event], rights: Sequence[Event]) -> list[Result]:
    """Give all pairs."""
    return [pair(left.key, left.seq, right.seq) for left in lefts for right in rights if left.key == right.key]


def windowed(events: Sequence[Event], delay: int, passes: Callable[[Event], bool]) -> tuple[list[Result], list[Result]]:
    """Give the results of all windows, and what is late, for one source in its order; all records move its time."""
    sums: dict[tuple[str, int], int] = {}
    late: list[Result] = []
    highest: int | None = None
    for event in events:
        time = time_of(event)
        end = time // WINDOW * WINDOW + WINDOW
        if passes(event):
            # The watermark is just below highest - delay, the window's last instant just below its end.
            if highest is not None and end <= highest - delay:
                late.append(late_row(event))
            else:
                at = (event.key, end - WINDOW)
                sums[at] = sums.get(at, 0) + event.amount
        highest = time if highest is None else max(highest, time)
    return [Result(key, Event("window", key, start, 0), 0, value) for (key, start), value in sums.items()], late
