"""A chain in an actor: pieces that fit a burst, and errors with a name and a place."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import anyio

from actorstream.errors import UserCodeError
from actorstream.model.batch import Batch
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ValueState
from actorstream.runtime.piece_sizes import (
    FIRED_FIRST,
    FIRED_MAX,
    FIRED_STREAMED,
    SLICE_RECORDS_FIRST,
    SLICE_RECORDS_MAX,
    SLICE_RECORDS_STREAMED,
)
from tests.runtime.doubles import settle
from tests.runtime.running_chain import Running, fail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from actorstream.api.stream import Stream
    from actorstream.operators.contexts import Context
    from actorstream.operators.process_timers import Timer


FAR_AHEAD_US = 10**16


async def test_batch_is_cut_to_what_fits_a_burst() -> None:
    """The first piece is small because nothing is known yet; after that, what was measured decides."""

    def slow(value: int) -> int:
        running.clock.seconds += 0.001
        return value

    running = Running(lambda s: s.map(slow).key_by(abs).count(new_chain=True))
    await running.work(range(60))

    sizes = [len(values) for values in running.sent()]
    assert sizes[0] == SLICE_RECORDS_FIRST
    assert all(4 <= size <= 5 for size in sizes[1:-1]), "5 ms at 1 ms a record"
    assert [value for values in running.sent() for value in values] == list(range(60))


async def test_cheap_records_get_large_pieces_up_to_a_bound() -> None:
    running = Running(lambda s: s.map(abs).rebalance().map(abs))
    for _ in range(4):
        await running.work(range(2_000))

    assert max(len(values) for values in running.sent()) == SLICE_RECORDS_MAX


async def test_expensive_record_is_a_piece_of_its_own() -> None:
    """There is no less than one record."""

    def slow(value: int) -> int:
        running.clock.seconds += 1
        return value

    running = Running(lambda s: s.map(slow).rebalance().map(abs))
    await running.work(range(20))

    assert [len(values) for values in running.sent()] == [16, 1, 1, 1, 1]


async def test_pieces_of_a_chain_that_keeps_no_list_grow_beyond_that() -> None:
    """Nothing is in flight behind them: only the burst bounds them, and a tap brings the other bound back."""
    running = Running(lambda s: s.key_by(abs).count().sink(str))
    for _ in range(8):
        await running.work(range(20_000))
    assert running.runner.slice == SLICE_RECORDS_STREAMED

    async def tap(values: Sequence[object]) -> None:
        """Take a list."""

    running.runner.taps[running.rig.chain.nodes[0].id, ""] = [tap]
    running.runner.compile()
    assert running.runner.slice == SLICE_RECORDS_MAX


class Alarms(KeyedProcess[int, int, int]):
    """A timer of the clock for each record; what each costs when it fires, the test says."""

    def __init__(self, fired: Callable[[], object]) -> None:
        self.fired = fired

    def on_element(self, value: int, ctx: Context[int], /) -> None:
        """Set one."""
        ctx.set_timer(ctx.now, str(value), domain="processing")

    def on_timer(self, timer: Timer, ctx: Context[int], /) -> list[int]:
        """Take a while."""
        self.fired()
        return [int(timer.name)]


def alarms(stream: Stream[int], fired: Callable[[], object] = int) -> Stream[int]:
    return stream.key_by(abs).process(lambda: Alarms(fired), name="alarms", new_chain=True)


async def rounds_of(running: Running, count: int) -> AsyncIterator[None]:
    """Set so many timers, all due long ago, and fire them round by round."""
    await running.work(range(count), [0] * count)
    while running.runner.clock_due_us < FAR_AHEAD_US:
        await running.runner.fire(FAR_AHEAD_US)
        yield


async def test_round_of_timers_is_cut_to_what_fits_a_burst() -> None:
    """As pieces are: a handler that takes a millisecond must not hold the loop for a quarter of a second."""

    def takes_a_while() -> None:
        running.clock.seconds += 0.001

    running = Running(lambda s: alarms(s, takes_a_while).rebalance().map(abs), "alarms")
    sizes = [len(running.sent()[-1]) async for _ in rounds_of(running, 300)]

    assert sizes[0] == FIRED_FIRST
    assert all(4 <= size <= 5 for size in sizes[1:-1]), "5 ms at 1 ms a timer"
    assert sum(sizes) == 300


async def test_rounds_of_few_timers_do_not_say_that_many_would_be_cheap() -> None:
    """A storm after a quiet time: what one timer took says nothing of five hundred, until so many were tried."""

    def takes_a_while() -> None:
        running.clock.seconds += 0.001

    running = Running(lambda s: alarms(s, takes_a_while).rebalance().map(abs), "alarms")
    for _ in range(6):
        assert [len(running.sent()[-1]) async for _ in rounds_of(running, 1)] == [1]
    sizes = [len(running.sent()[-1]) async for _ in rounds_of(running, 300)]
    assert sizes[0] == FIRED_FIRST


async def test_one_slow_round_of_few_timers_makes_the_next_one_small() -> None:
    cost = 0.0

    def takes_a_while() -> None:
        running.clock.seconds += cost

    running = Running(lambda s: alarms(s, takes_a_while).rebalance().map(abs), "alarms")
    assert max([len(running.sent()[-1]) async for _ in rounds_of(running, 2_000)]) == FIRED_MAX
    cost = 0.005
    assert [len(running.sent()[-1]) async for _ in rounds_of(running, 2)] == [2]
    assert {len(running.sent()[-1]) async for _ in rounds_of(running, 20)} == {1}


async def test_cheap_timers_come_in_large_rounds_up_to_a_bound() -> None:
    """What travels is bounded by what may be in flight; where a step keeps no list, by the burst alone."""
    running = Running(lambda s: alarms(s).rebalance().map(abs), "alarms")
    sizes = [len(running.sent()[-1]) async for _ in rounds_of(running, 2_000)]
    assert sizes[:5] == [FIRED_FIRST, 4 * FIRED_FIRST, 16 * FIRED_FIRST, FIRED_MAX, FIRED_MAX]
    assert max(sizes) == FIRED_MAX

    fired: list[int] = []
    streamed = Running(lambda s: alarms(s).sink(fired.append), "alarms")
    told = [len(fired) async for _ in rounds_of(streamed, 10_000)]
    sizes = [after - before for before, after in pairwise([0, *told])]
    assert sizes[2:5] == [16 * FIRED_FIRST, 64 * FIRED_FIRST, FIRED_STREAMED]
    assert max(sizes) == FIRED_STREAMED


async def test_others_run_between_two_pieces_but_not_within_one() -> None:
    """A step is atomic; a batch need not be, once its turn is over."""

    def slow(value: int) -> int:
        running.clock.seconds += 0.001
        return value

    running = Running(lambda s: s.map(slow).rebalance().map(abs))
    turns = 0

    async def heartbeat() -> None:
        nonlocal turns
        while True:
            turns += 1
            await settle(1)

    async with anyio.create_task_group() as group:
        group.start_soon(heartbeat)
        await settle()
        before = turns
        await running.work(range(16))
        assert turns == before
        await running.work(range(100))
        assert turns > before
        group.cancel_scope.cancel()


async def test_counters_tell_records_and_seconds() -> None:
    def slow(value: int) -> int:
        running.clock.seconds += 0.5
        return value

    running = Running(lambda s: (s.map(slow).filter(lambda v: v > 0).rebalance().map(abs), s.sink(str)))
    await running.work([0, 1, 2])

    statistics = running.statistics
    assert (statistics.records_in, statistics.records_out, statistics.records_delivered) == (3, 2, 3)
    assert (statistics.busy_seconds, statistics.backpressured_seconds) == (1.5, 0)


# ---- errors


async def test_error_of_a_users_function_names_operator_subtask_record_and_position() -> None:
    running = Running(lambda s: s.map(abs).map(fail, name="bad").rebalance().map(abs))
    error = await running.blamed([1, 2, 3])

    assert isinstance(error, UserCodeError)
    where = "at record 3 of a batch, of type int, read from split 's' up to position 41"
    assert str(error) == f"bad (subtask 0) raised ValueError: three {where}"
    assert (error.operator, error.subtask, error.position, error.record) == ("bad", 0, ("s", 41), 3)
    assert isinstance(error.__cause__, ValueError)
    assert error.__cause__.__traceback__ is not None


async def test_record_is_not_in_the_message() -> None:
    """It may be secret."""

    def reveal(value: str) -> str:
        raise ValueError("no")

    error = await Running(lambda s: s.map(reveal).rebalance().map(str)).blamed(["4111-1111"])

    assert "4111" not in str(error)


async def test_async_sink_that_raises_is_named() -> None:
    async def send(value: int) -> None:
        fail(value)

    error = await Running(lambda s: s.sink(send, name="out")).blamed([1, 2, 3, 4])

    assert isinstance(error, UserCodeError)
    assert (error.operator, error.position, error.record) == ("out", ("s", 41), 3)


async def test_state_access_astray_in_a_handler_is_the_users_error() -> None:
    """The handler reads the state of another class."""

    class Other(KeyedProcess[int, int, int]):
        count: ValueState[int] = ValueState(0)

    other = Other()

    class Reader(KeyedProcess[int, int, int]):
        def on_element(self, value: int, ctx: Context[int], /) -> list[int]:
            return [other.count]

    running = Running(lambda s: s.key_by(abs).process(Reader, name="head", new_chain=True), "head")
    error = await running.blamed([1], [1])

    assert isinstance(error, UserCodeError)
    assert error.operator == "head"


async def test_foreign_error_is_left_as_it_is() -> None:
    running = Running(lambda s: s.map(abs).rebalance().map(abs))
    error = OSError("disk")

    assert running.runner.blame(error) is error


# ---- subscriptions


async def test_tap_that_comes_while_the_chain_waits_for_credit_disturbs_nothing() -> None:
    """The step is written anew in the middle of a batch: results must go to the outlets of the step that gave them."""
    running = Running(lambda s: s.map(abs, name="m").rebalance().map(abs))
    (lane,) = running.lanes
    lane.records_max = 100
    while lane.has_credit():
        lane.put(Batch([0]), 1)
    seen: list[Any] = []

    async def tap(values: Sequence[object]) -> None:
        seen.extend(values)

    async with anyio.create_task_group() as group:
        group.start_soon(running.work, [1, 2])
        await settle()
        node = next(node.id for node in running.rig.chain.nodes if node.name == "m")
        running.runner.taps[node, ""] = [tap]
        running.runner.compile()
        while lane.items:
            lane.take()
    assert running.sent() == [[1, 2]]
    assert seen == [1, 2]


async def test_tap_gets_what_its_operator_gives_and_stops_when_it_is_removed() -> None:
    running = Running(lambda s: s.map(abs, name="m").filter(lambda v: v > 1).rebalance().map(abs))
    seen: list[Any] = []

    async def tap(values: Sequence[object]) -> None:
        seen.extend(values)

    node = next(node.id for node in running.rig.chain.nodes if node.name == "m")
    running.runner.taps[node, ""] = [tap]
    running.runner.compile()
    await running.work([-1, -2])
    del running.runner.taps[node, ""]
    running.runner.compile()
    await running.work([-3])

    assert (seen, running.sent()) == ([1, 2], [[2], [3]])
