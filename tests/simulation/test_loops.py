"""What goes round in a loop when a process dies is in its last checkpoint: nothing is lost, nothing goes round twice.

The pipelines are run by the public simulation, against the plain numbers. A slow call inside the loops lets barriers
and crashes find records on every stretch of the way.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest.mock import patch

import anyio
import pytest

from actorstream import Context, KeyedProcess, Pipeline, Timer, Tumbling, ValueState
from actorstream.runtime import back_lane
from actorstream.runtime.spilling import Spiller
from actorstream.testing import simulate
from tests.simulation.budget import SECONDS, seeds
from tests.simulation.topologies import Topology
from tests.simulation.topology_running import repeat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream import Stream
    from actorstream.runtime.messages import InFlightReport
    from actorstream.runtime.spilling import Segment

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(180 + SECONDS)]

NUMBERS = [(number, 1 + number % 6) for number in range(30)]
Hop = tuple[int, int]


class Step(KeyedProcess[int, Hop, Hop]):
    """Takes one off; counts its visits."""

    visits: ValueState[int] = ValueState(0)

    def on_element(self, value: Hop, ctx: Context[int], /) -> Iterator[Hop]:
        self.visits += 1
        yield value[0], value[1] - 1


async def slowly(_: Hop) -> None:
    await anyio.sleep(0.003)


def counted(out: Stream[Hop]) -> None:
    """Count what leaves, by key: in whatever order it comes, the same."""
    out.key_by(lambda hop: hop[0] % 5).count(name="out")


def stepping() -> Pipeline:
    def body(hops: Stream[Hop]) -> tuple[Stream[Hop], Stream[Hop]]:
        less = hops.key_by(lambda hop: hop[0] % 5).process(Step, name="step").map(lambda hop: hop)
        less.sink(slowly, name="slowly")
        return less.filter(lambda hop: hop[1] > 0), less.filter(lambda hop: hop[1] == 0)

    pipeline = Pipeline("stepping")
    counted(pipeline.source(NUMBERS, name="in").feedback(body, name="loop"))
    return pipeline


def joined_inside() -> Pipeline:
    """Half of the input comes in at the head, the other half in the middle; what goes back is spread."""
    pipeline = Pipeline("joined-inside")
    others = pipeline.source(NUMBERS[15:], name="others")

    def body(hops: Stream[Hop]) -> tuple[Stream[Hop], Stream[Hop]]:
        both = hops.union(others).key_by(lambda hop: hop[0] % 5)
        less = both.process(Step, name="step", parallelism=3)
        less.sink(slowly, name="slowly")
        return less.filter(lambda hop: hop[1] > 0).rebalance(), less.filter(lambda hop: hop[1] == 0)

    counted(pipeline.source(NUMBERS[:15], name="in").feedback(body, name="loop"))
    return pipeline


def fanning_out() -> Pipeline:
    """One becomes two, again and again, and the head is slow: what comes back has to wait."""

    def body(hops: Stream[Hop]) -> tuple[Stream[Hop], Stream[Hop]]:
        hops.sink(slowly, name="slowly")
        twice = hops.rebalance().flat_map(lambda hop: [(hop[0], hop[1] + 1)] * 2)
        return twice.filter(lambda hop: hop[1] < 4), twice.filter(lambda hop: hop[1] == 4)

    pipeline = Pipeline("fanning-out")
    counted(pipeline.source([(number, number % 4) for number in range(12)], name="in").feedback(body, name="loop"))
    return pipeline


class Retry(KeyedProcess[int, Hop, Hop]):
    """Lets a hop wait, the longer the more often it has come."""

    waiting: ValueState[int] = ValueState(0)

    def on_element(self, value: Hop, ctx: Context[int], /) -> Iterator[Hop]:
        if value[1] == 0:
            yield value
        else:
            self.waiting = value[1]
            ctx.set_timer(ctx.now + timedelta(milliseconds=7 * (7 - value[1])), domain="processing")

    def on_timer(self, timer: Timer, ctx: Context[int], /) -> Iterator[Hop]:
        yield ctx.key, self.waiting - 1


def retrying() -> Pipeline:
    def body(hops: Stream[Hop]) -> tuple[Stream[Hop], Stream[Hop]]:
        tried = hops.key_by(lambda hop: hop[0]).process(Retry, name="retry")
        tried.sink(slowly, name="slowly")
        return tried.filter(lambda hop: hop[1] > 0), tried.filter(lambda hop: hop[1] == 0)

    pipeline = Pipeline("retrying")
    counted(pipeline.source(NUMBERS, name="in").feedback(body, name="loop"))
    return pipeline


def windowed() -> Pipeline:
    """Windows behind the loop: they wait for what goes round, in every run and after every restore."""

    def body(hops: Stream[Hop]) -> tuple[Stream[Hop], Stream[Hop]]:
        less = hops.key_by(lambda hop: hop[0] % 5).process(Step, name="step")
        less.sink(slowly, name="slowly")
        return less.filter(lambda hop: hop[1] > 0), less.filter(lambda hop: hop[1] == 0)

    pipeline = Pipeline("windowed")
    hops = pipeline.source(NUMBERS, name="in").assign_timestamps(lambda hop: float(hop[0]), name="times")
    windows = hops.feedback(body, name="loop").key_by(lambda hop: hop[0] % 2).window(Tumbling(6)).count(name="windows")
    windows.map(lambda window: (window.key, window.start.timestamp(), window.value), name="rows")
    return pipeline


JOBS = [stepping, joined_inside, fanning_out, retrying, windowed]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_a_crash_in_the_middle_of_iterating_changes_no_result(job: object) -> None:
    report = simulate(job, seeds=seeds(4, "loops", among=6))  # type: ignore[arg-type]
    report.check()
    assert report.crashes > 0


def test_what_memory_does_not_hold_goes_through_files_and_changes_no_result() -> None:
    """Segments of two records: they are written, listed by checkpoints, read back, and restored."""
    listed = read = 0
    report_of, load = Spiller.report_of, Spiller._read

    async def count_listed(self: Spiller, segment: Segment) -> InFlightReport:
        nonlocal listed
        listed += 1
        return await report_of(self, segment)

    def count_read(self: Spiller, segment: Segment) -> object:
        nonlocal read
        read += 1
        return load(self, segment)

    with ExitStack() as stack:
        for limit in ("FRONT_RECORDS", "SEGMENT_RECORDS"):
            stack.enter_context(patch.object(back_lane, limit, 2))
        stack.enter_context(patch.object(Spiller, "report_of", count_listed))
        stack.enter_context(patch.object(Spiller, "_read", count_read))
        simulate(fanning_out, seeds=seeds(8, "loops", among=6)).check()
    assert listed > 0
    assert read > 0


FOUND = [
    # At another parallelism what was restored came back to other heads, and what was new overtook it.
    "47 policy='fifo' mailbox=1 retained=1 pause=0.128 in_memory=True"
    " | parallelism=3 crash_step=1536 kills=((397,18),) | parallelism=4 power=True",
]


@pytest.mark.parametrize("plan", FOUND)
def test_records_of_a_key_keep_their_order_after_a_restore_and_checkpoints_go_on(
    plan: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The first mending let a barrier wait for what was restored, and that for the barrier: a checkpoint timed out."""
    repeat(Topology(seed=47, shape="loop", tail="none", events=25, wide=4, poison=False), plan)
    assert "timed out" not in caplog.text
