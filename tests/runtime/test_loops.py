"""A loop at work: it ends when nothing goes round, event time waits for what does, and nobody waits for himself."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import pytest

from actorstream import (
    Context,
    JobFailed,
    KeyedProcess,
    OutputTag,
    Pipeline,
    Settings,
    Timer,
    Tumbling,
    ValueState,
    collect,
)
from actorstream.testing.harness import harness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream import Stream

R = TypeVar("R")
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


async def given(pipeline: Pipeline, out: Stream[R], parallelism: int) -> list[R]:
    """Run to the end, and give what came out."""
    found: list[R] = []
    out.sink(found.append)
    await pipeline.run(parallelism=parallelism)
    return found


def countdown(numbers: Stream[int]) -> Stream[int]:
    def body(n: Stream[int]) -> tuple[Stream[int], Stream[int]]:
        less = n.map(lambda x: x - 1)
        return less.filter(lambda x: x > 0), less.filter(lambda x: x == 0)

    return numbers.feedback(body, name="countdown")


async def test_what_goes_back_comes_in_again_until_it_leaves() -> None:
    assert await collect(countdown(Pipeline("t").source([3, 5, 2_000]))) == [0, 0, 0]


async def test_a_loop_without_input_ends() -> None:
    assert await collect(countdown(Pipeline("t").source([]))) == []


class Hop(KeyedProcess[int, tuple[int, int], tuple[int, int]]):
    """Sends (key, left) to the next key, and counts its visits."""

    visits: ValueState[int] = ValueState(0)

    def on_element(self, value: tuple[int, int], ctx: Context[int], /) -> Iterator[tuple[int, int]]:
        self.visits += 1
        key, left = value
        yield (key + 1) % 7, left - 1


@pytest.mark.parametrize("parallelism", [1, 2, 3])
async def test_a_keyed_loop_ends_at_any_parallelism(parallelism: int) -> None:
    def body(hops: Stream[tuple[int, int]]) -> tuple[Stream[tuple[int, int]], Stream[tuple[int, int]]]:
        hopped = hops.key_by(lambda hop: hop[0]).process(Hop)
        return hopped.filter(lambda hop: hop[1] > 0), hopped.filter(lambda hop: hop[1] == 0)

    pipeline = Pipeline("t")
    out = pipeline.source([(n % 7, n) for n in range(1, 60)]).feedback(body, name="hops")
    got = await given(pipeline, out, parallelism)
    assert Counter(got) == Counter(((n % 7 + n) % 7, 0) for n in range(1, 60))


async def test_several_edges_lead_back_and_one_from_a_side_output() -> None:
    again: OutputTag[int] = OutputTag("again")

    class Halve(KeyedProcess[int, int, int]):
        def on_element(self, value: int, ctx: Context[int], /) -> Iterator[int]:
            if value % 2:
                yield value
            else:
                ctx.emit_to(again, value // 2)

    def body(n: Stream[int]) -> tuple[Stream[int], Stream[int]]:
        odd = n.key_by(lambda x: x % 3).process(Halve)
        threefold = odd.filter(lambda x: x > 1 and x < 100).map(lambda x: 3 * x + 1)
        return odd.side_output(again).union(threefold), odd.filter(lambda x: x == 1 or x >= 100)

    pipeline = Pipeline("t")
    got = await given(pipeline, pipeline.source([1, 6, 8, 12, 27]).feedback(body, name="collatz"), 2)
    assert sorted(got) == [1, 1, 1, 1, 107]


async def test_what_comes_from_elsewhere_may_enter_in_the_middle() -> None:
    pipeline = Pipeline("t")
    others = pipeline.source([10, 20])

    def body(n: Stream[int]) -> tuple[Stream[int], Stream[int]]:
        less = n.union(others).map(lambda x: x - 1)
        return less.filter(lambda x: x > 0), less.filter(lambda x: x == 0)

    assert await collect(pipeline.source([3]).feedback(body, name="down")) == [0, 0, 0]


async def test_more_goes_round_than_a_mailbox_holds() -> None:
    """Each record becomes two, twelve times: with credit, the head would wait for a member that waits for the head."""

    def body(n: Stream[int]) -> tuple[Stream[int], Stream[int]]:
        twice = n.rebalance().flat_map(lambda x: [x + 1, x + 1])
        return twice.filter(lambda x: x < 12), twice.filter(lambda x: x == 12)

    pipeline = Pipeline("t")
    got = await given(pipeline, pipeline.source([0] * 40).feedback(body, name="doubling"), 2)
    assert len(got) == 40 * 2**12


class Retry(KeyedProcess[str, tuple[str, int], tuple[str, int]]):
    """Lets what has failed wait for twice as long as the last time."""

    failed: ValueState[int] = ValueState(0)

    def on_element(self, value: tuple[str, int], ctx: Context[str], /) -> Iterator[tuple[str, int]]:
        _, attempt = value
        if attempt >= 3:
            yield value
            return
        self.failed = attempt + 1
        ctx.set_timer(ctx.now + timedelta(seconds=2**attempt), domain="processing")

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> Iterator[tuple[str, int]]:
        yield ctx.key, self.failed


def retried(calls: Stream[str]) -> Stream[tuple[str, int]]:
    def body(tries: Stream[tuple[str, int]]) -> tuple[Stream[tuple[str, int]], Stream[tuple[str, int]]]:
        tried = tries.key_by(lambda each: each[0]).process(Retry)
        return tried.filter(lambda each: each[1] < 3), tried.filter(lambda each: each[1] >= 3)

    return calls.map(lambda call: (call, 0)).feedback(body, name="retry")


async def test_a_timer_of_the_clock_holds_the_loop_up() -> None:
    """A timer stands for a record of the loop: it is waited for, also where others are fired at the end."""
    pipeline = Pipeline("t")
    calls: list[str] = []
    out = retried(pipeline.source(calls))
    async with harness(pipeline) as h:
        await h.send(calls, "a", "b")
        await h.advance(clock=1.5)
        assert h.outputs(out) == []
        await h.checkpoint()
        await h.crash_and_recover()
        await h.advance(clock=2)
        assert h.outputs(out) == []
        await h.send(calls, "c")
        await h.advance(clock=4)
        assert h.outputs(out) == [("a", 3), ("b", 3)]
        await h.end_input()
        assert h.outputs(out) == [("c", 3)]


async def test_timers_that_are_dropped_at_the_end_hold_nothing_up() -> None:
    pipeline = Pipeline("t")
    calls: list[str] = []
    out = retried(pipeline.source(calls))
    async with harness(pipeline, settings=Settings(timers_at_end="drop")) as h:
        await h.send(calls, "a")
        await h.end_input()
        assert h.outputs(out) == []


@pytest.mark.parametrize("parallelism", [1, 2])
async def test_event_time_waits_for_what_goes_round(parallelism: int) -> None:
    """A window behind the loop has what came out of its records, however often they went round."""
    pipeline = Pipeline("t")

    def body(n: Stream[tuple[int, int]]) -> tuple[Stream[tuple[int, int]], Stream[tuple[int, int]]]:
        less = n.key_by(lambda x: x[1] % 3).map_with_state(0, lambda seen, x: (seen + 1, (x[0], x[1] - 1)))
        return less.filter(lambda x: x[1] > 0), less.filter(lambda x: x[1] == 0)

    numbers = [(second, 1 + 7 * (second % 4)) for second in range(40)]
    out = pipeline.source(numbers).assign_timestamps(lambda x: at(x[0])).feedback(body, name="timed")
    windows = out.window_all(Tumbling(10)).count().map(lambda window: window.value)
    assert await given(pipeline, windows, parallelism) == [10, 10, 10, 10]


async def test_an_event_timer_in_a_loop_fires_at_the_end_and_what_it_gives_goes_round() -> None:
    class AtItsTime(KeyedProcess[int, tuple[int, int], tuple[int, int]]):
        left: ValueState[int] = ValueState(0)

        def on_element(self, value: tuple[int, int], ctx: Context[int], /) -> Iterator[tuple[int, int]]:
            self.left = value[1]
            if value[1]:
                ctx.set_timer(at(1000))
            else:
                yield value

        def on_timer(self, timer: Timer, ctx: Context[int], /) -> Iterator[tuple[int, int]]:
            yield ctx.key, self.left - 1

    def body(n: Stream[tuple[int, int]]) -> tuple[Stream[tuple[int, int]], Stream[tuple[int, int]]]:
        timed = n.key_by(lambda x: x[0]).process(AtItsTime)
        return timed.filter(lambda x: x[1] > 0), timed.filter(lambda x: x[1] == 0)

    pipeline = Pipeline("t")
    source = pipeline.source([(n, n) for n in range(5)]).assign_timestamps(lambda x: at(x[0]))
    got = await given(pipeline, source.feedback(body, name="timed"), 2)
    assert sorted(got) == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]


async def test_a_record_that_cannot_be_stored_fails_with_the_name_of_the_loop() -> None:
    def body(n: Stream[object]) -> tuple[Stream[object], Stream[object]]:
        same = n.map(lambda x: x)
        return same, same.filter(lambda _: False)

    pipeline = Pipeline("t")
    source: list[object] = [lambda: 1]
    pipeline.source(source).feedback(body, name="endless").sink(print)
    with pytest.raises(JobFailed, match=r"endless.* cannot be stored"):
        async with pipeline.run(checkpoint_interval=None) as job:
            await job.checkpoint()


async def test_loops_work_where_nothing_is_shared() -> None:
    """Each operator an actor of its own, records through the codec, and a crash after each call."""
    pipeline = Pipeline("t")
    numbers: list[int] = []
    out = countdown(pipeline.source(numbers))
    async with harness(pipeline, isolate=True, parallelism=2) as h:
        await h.send(numbers, 3, 5)
        assert h.outputs(out) == [0, 0]
        await h.end_input()
