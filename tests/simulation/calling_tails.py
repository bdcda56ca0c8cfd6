"""What random topologies have beside their tally: async operators that keep an order, and what else is small.

    events ──asked whether──> each in two ──> parts      async filter, async flat_map, in order
           ──stuck──> calls that never end ──> overdue   timeouts that fire, which holds for all tries
           ──lane──> a visit, awaited ──> visits         async handlers over state by key
                        └───────────────> refused        what they raise
           ──lane──> lowest, highest                     min, max_by
           ──by hand──> in bulk ──> bulk                 partition_by, map_batches that does not await

Every lane keeps its order through all of these, so each row is fixed; of dead letters what comes out is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence  # noqa: TC003  (annotations of functions are the types of streams)
from typing import TYPE_CHECKING

import anyio

from actorstream.operators.contexts import Context, OutputTag
from actorstream.operators.failures import Failure  # noqa: TC001  (as above)
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.retry import Retry
from actorstream.operators.state_declarations import ValueState
from tests.simulation.small_tails import amount, lane_of_event, latest_row, number_row
from tests.simulation.stages import Event, Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actorstream.api.stream import Stream

OVERDUE: OutputTag[Failure[Event]] = OutputTag("overdue")
REFUSED: OutputTag[Failure[Event]] = OutputTag("refused")
LATER = frozenset({"parts.output", "overdue.output", "visited.output", "refused.output", "in-bulk.output"})
"""What may be in flight, or held until there are enough, where a snapshot is taken."""
_TWICE = Retry(2, backoff=0.001)


def is_stuck(event: Event) -> bool:
    """Tell who never gets an answer."""
    return event.amount % 13 == 5


def is_even(event: Event) -> bool:
    """Tell who passes."""
    return event.amount % 2 == 0


async def passes(event: Event) -> bool:
    """Tell it later."""
    await anyio.sleep(0.001 * (event.amount % 4))
    return is_even(event)


async def in_two(event: Event) -> list[tuple[str, tuple[int, int]]]:
    """Give two parts of each."""
    await anyio.sleep(0.001 * (event.amount % 3))
    return [(event.lane, (event.seq, part)) for part in (0, 1)]


async def never(event: Event) -> Event:
    """Give no answer."""
    await anyio.sleep_forever()
    return event


def letter(failure: Failure[Event]) -> Result:
    """Show what of a failure is the same in every run: in no order (lanes.lane_of)."""
    assert failure.value is not None
    return Result(failure.error_type, failure.value, 0, failure.attempts)


def is_refused(event: Event) -> bool:
    """Tell whose visit fails, after it has counted."""
    return event.amount % 6 == 1


class Visits(KeyedProcess[str, Event, tuple[str, tuple[int, int]]]):
    """Counts by lane; what is refused has not been there."""

    count: ValueState[int] = ValueState(0)

    async def on_element(self, value: Event, ctx: Context[str], /) -> AsyncIterator[tuple[str, tuple[int, int]]]:
        await anyio.sleep(0.001 * (value.amount % 3))
        self.count += 1
        if is_refused(value):
            raise ValueError(f"no visit for {value.amount}")
        yield ctx.key, (value.seq, self.count)


def by_hand(event: Event, subtasks: int) -> int:
    """Keep a lane at one subtask."""
    return sum(event.lane.encode()) % subtasks


def in_bulk(events: Sequence[Event]) -> list[tuple[str, int]]:
    """Show each of several."""
    return [(event.lane, event.seq) for event in events]


def part_row(row: tuple[str, tuple[int, int]]) -> tuple[str, tuple[int, int]]:
    return row


def call_all(events: Stream[Event]) -> None:
    """Put each of them behind the events."""
    even = events.filter(passes, name="asked-whether", concurrency=3)
    even.flat_map(in_two, name="in-two", concurrency=5).map(part_row, name="parts")
    stuck = events.filter(is_stuck).map(never, name="never", timeout=0.01, retry=_TWICE, errors=OVERDUE, concurrency=2)
    stuck.side_output(OVERDUE).map(letter, name="overdue")
    lanes = events.key_by(lane_of_event)
    visits = lanes.process(Visits, name="visits", concurrency=4, errors=REFUSED)
    visits.map(part_row, name="visited")
    visits.side_output(REFUSED).map(letter, name="refused")
    lanes.min(amount, name="min").map(number_row, name="lowest")
    lanes.max_by(amount, name="max_by").map(latest_row, name="highest")
    events.partition_by(by_hand).map_batches(in_bulk, name="bulk", max_size=3, max_delay=0.003).map(
        number_row, name="in-bulk"
    )


def called(events: Iterable[Event]) -> Mapping[str, Sequence[object]]:
    """Give what comes of `call_all`."""
    names = ("parts", "never", "overdue", "visited", "refused", "lowest", "highest", "in-bulk")
    rows: dict[str, list[object]] = {name: [] for name in names}
    visits: Counter[str] = Counter()
    lanes: dict[str, list[Event]] = {}
    for event in events:
        lane, so_far = event.lane, lanes.setdefault(event.lane, [])
        so_far.append(event)
        if is_even(event):
            rows["parts"] += [(lane, (event.seq, part)) for part in (0, 1)]
        if is_stuck(event):
            rows["overdue"].append(Result("TimeoutError", event, 0, 1))
        if is_refused(event):
            rows["refused"].append(Result("ValueError", event, 0, 1))
        else:
            visits[lane] += 1
            rows["visited"].append((lane, (event.seq, visits[lane])))
        rows["lowest"].append((lane, min(each.amount for each in so_far)))
        rows["highest"].append((lane, max(so_far, key=amount).seq))
        rows["in-bulk"].append((lane, event.seq))
    return {f"{name}.output": given for name, given in rows.items()}
