"""What random topologies have beside their tally: async functions with their dead letters, and the small operators.

    events ──asked──> answers     async, unordered, few slots, with retries: most are answered
              └─────> letters     what raises, after a second try
    answers ──in bulk──>          map_batches, async
    events ──lane──> most, latest, first three, firsts, gauge

Async functions keep no order here: what is fixed is what comes out. The small operators have a lane for a key, whose
order is fixed, so each of their rows is.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003  (annotations of functions are the types of streams)
from typing import TYPE_CHECKING

import anyio

from actorstream.operators.accumulating_declarations import AggregatingState, ReducingState
from actorstream.operators.contexts import OutputTag
from actorstream.operators.failures import Failure  # noqa: TC001  (as above)
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.retry import Retry
from tests.simulation.stages import Event, Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actorstream.api.stream import Stream
    from actorstream.operators.contexts import Context

LETTERS: OutputTag[Failure[Event]] = OutputTag("letters")
_SECONDS = 60.0
"""Longer than the slowest of the simulated worlds lets a call wait: whether one times out is not fixed."""


def answer(event: Event) -> Result:
    """Show an answer: in no order (lanes.lane_of)."""
    return Result(event.key, event, 0, event.amount + 1)


def _raises(event: Event) -> bool:
    return event.amount % 7 == 3


async def ask(event: Event) -> Result:
    """Answer after a while, or refuse."""
    await anyio.sleep(0.001 * (event.amount % 5))
    if _raises(event):
        raise ValueError(f"no answer for {event.amount}")
    return answer(event)


async def in_bulk(results: Sequence[Result]) -> list[Result]:
    """Look at several at once."""
    await anyio.sleep(0.002)
    return [doubled(result) for result in results]


def doubled(result: Result) -> Result:
    """Show that it was there."""
    return Result(result.key, result.event, 0, 2 * result.total)


def letter(failure: Failure[Event]) -> Result:
    """Show what of a failure is the same in every run."""
    assert failure.value is not None
    return Result(failure.error_type, failure.value, 0, failure.attempts)


def ask_all(events: Stream[Event]) -> None:
    """Ask about each event; answers and letters come out of streams without a sink."""
    retry = Retry(2, backoff=0.001)
    asked = events.map(ask, name="asked", ordered=False, concurrency=4, timeout=_SECONDS, retry=retry, errors=LETTERS)
    asked.side_output(LETTERS).map(letter, name="letters")
    bulk = asked.map_batches(in_bulk, name="bulk", max_size=3, max_delay=0.003, concurrency=2)
    bulk.map(same, name="answers")


def same(result: Result) -> Result:
    """Pass."""
    return result


def asked(events: Sequence[Event]) -> Mapping[str, Sequence[object]]:
    """Give what comes of `ask_all`."""
    letters = [Result("ValueError", event, 0, 2) for event in events if _raises(event)]
    answered = [doubled(answer(event)) for event in events if not _raises(event)]
    return {"answers.output": answered, "letters.output": letters}


# ---- the small operators


class Mean:
    """An aggregate whose accumulator is changed in place."""

    def create(self) -> list[int]:
        return [0, 0]

    def add(self, acc: list[int], value: int) -> list[int]:
        acc[0] += value
        acc[1] += 1
        return acc

    def result(self, acc: list[int]) -> int:
        return acc[0] // acc[1]

    def merge(self, left: list[int], right: list[int]) -> list[int]:
        return [left[0] + right[0], left[1] + right[1]]


class Gauge(KeyedProcess[str, Event, tuple[str, tuple[int, int]]]):
    """Least and mean of a lane, by states that are added to."""

    least: ReducingState[int] = ReducingState(min)
    mean: AggregatingState[int, list[int], int] = AggregatingState(Mean())

    def on_element(self, value: Event, ctx: Context[str], /) -> list[tuple[str, tuple[int, int]]]:
        self.least.add(value.amount)
        self.mean.add(value.amount)
        return [(ctx.key, (self.least.get() or 0, self.mean.get() or 0))]


def lane_of_event(event: Event) -> str:
    return event.lane


def amount(event: Event) -> int:
    return event.amount


def number_row(row: tuple[str, int]) -> tuple[str, int]:
    return row


def latest_row(row: tuple[str, Event]) -> tuple[str, int]:
    return row[0], row[1].seq


def ranking_row(row: tuple[str, Sequence[Event]]) -> tuple[str, tuple[int, ...]]:
    return row[0], tuple(event.seq for event in row[1])


def first_row(event: Event) -> tuple[str, int]:
    return event.lane, event.seq


def gauge_row(row: tuple[str, tuple[int, int]]) -> tuple[str, tuple[int, int]]:
    return row


def put_small_ones(events: Stream[Event]) -> None:
    """Put each small operator behind the events, by lane."""
    seen = events.inspect(amount).throttle(5_000, name="slower")
    lanes = seen.key_by(lane_of_event)
    lanes.max(amount, name="max").map(number_row, name="most")
    lanes.min_by(amount, name="min_by").map(latest_row, name="least")
    lanes.top_n(3, amount, name="top").map(ranking_row, name="ranks")
    lanes.distinct(name="distinct").map(first_row, name="firsts")
    lanes.process(Gauge, name="gauge").map(gauge_row, name="gauges")


def small_rows(events: Iterable[Event]) -> Mapping[str, Sequence[object]]:
    """Give what comes of `put_small_ones`."""
    rows: dict[str, list[object]] = {name: [] for name in ("most", "least", "ranks", "firsts", "gauges")}
    lanes: dict[str, list[Event]] = {}
    ranks: dict[str, tuple[int, ...]] = {}
    for event in events:
        lane = event.lane
        so_far = lanes.setdefault(lane, [])
        so_far.append(event)
        amounts = [each.amount for each in so_far]
        rows["most"].append((lane, max(amounts)))
        rows["least"].append((lane, min(so_far, key=amount).seq))
        top = tuple(each.seq for each in sorted(so_far, key=amount, reverse=True)[:3])
        if ranks.get(lane) != top:
            ranks[lane] = top
            rows["ranks"].append((lane, top))
        if len(so_far) == 1:
            rows["firsts"].append((lane, event.seq))
        rows["gauges"].append((lane, (min(amounts), sum(amounts) // len(amounts))))
    return {f"{name}.output": given for name, given in rows.items()}
