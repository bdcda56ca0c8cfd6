"""What encoders share: 2,000 of them hold the loop no longer, and no more memory, than a few."""

from __future__ import annotations

import asyncio
from collections import Counter

import anyio

from actorstream.state.encoding_share import HELD_ENTRIES_MAX, SLICE_SECONDS, EncodingShare
from actorstream.system.current import SystemClock
from actorstream.system.offload import ThreadOffload


class StepClock(SystemClock):
    """A tenth of a slice passes between two looks at it."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += SLICE_SECONDS / 10
        return self.now


async def test_all_encoders_of_a_loop_share_one_slice_a_turn() -> None:
    share = EncodingShare(StepClock(), ThreadOffload())
    turn = 0
    encoded: Counter[int] = Counter()

    async def encode(pieces: int) -> None:
        for _ in range(pieces):
            await share.wait_turn()
            encoded[turn] += 1

    async def count_turns() -> None:
        nonlocal turn
        while sum(encoded.values()) < 400:
            await asyncio.sleep(0)
            turn += 1

    async with anyio.create_task_group() as group:
        group.start_soon(count_turns)
        for _ in range(100):
            group.start_soon(encode, 4)
    # A slice may begin in one count of turns and end in the next: it depends on who asks first.
    assert max(encoded.values()) <= 20
    assert len(encoded) >= 20


async def test_slice_that_was_not_used_up_is_not_saved() -> None:
    share = EncodingShare(StepClock(), ThreadOffload())
    assert share.time_left()
    await asyncio.sleep(0)
    assert sum(share.time_left() for _ in range(30)) == 10
    assert not share.time_left()


async def test_who_wants_to_begin_waits_while_much_is_held() -> None:
    """What one disk cannot take must not pile up in memory."""
    share = EncodingShare(StepClock(), ThreadOffload())
    begun: list[int] = []

    async def begin(number: int) -> None:
        await share.wait_to_begin()
        begun.append(number)
        share.hold(HELD_ENTRIES_MAX)

    share.hold(1)
    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(begin, number)
            await anyio.wait_all_tasks_blocked()
        for _ in range(2):
            assert len(begun) < 3
            share.let_go(HELD_ENTRIES_MAX)
            await anyio.wait_all_tasks_blocked()
    assert sorted(begun) == [0, 1, 2]


async def test_row_goes_on_when_those_in_it_are_cancelled() -> None:
    """In the row, called out of it, and looking: nobody behind them waits for ever."""
    share = EncodingShare(StepClock(), ThreadOffload())
    done = 0

    async def encode() -> None:
        nonlocal done
        for _ in range(3):
            await share.wait_turn()
        done += 1

    async with anyio.create_task_group() as group, anyio.create_task_group() as cancelled:
        for _ in range(100):
            cancelled.start_soon(encode)
        for _ in range(100):
            group.start_soon(encode)
        for _ in range(3):
            await asyncio.sleep(0)
        assert share._row
        cancelled.cancel_scope.cancel()
    assert done >= 100
    assert not share._row
    assert share._looking == 0


async def test_one_encoder_gets_a_slice_in_every_turn() -> None:
    """Beside actors that work 5 ms a turn each turn that it misses costs 5 ms."""
    share = EncodingShare(StepClock(), ThreadOffload())
    turn = slices = 0

    async def encode() -> None:
        nonlocal slices
        for _ in range(20):
            await share.wait_turn()
            while share.time_left():
                pass
            slices += 1

    async def count_turns() -> None:
        nonlocal turn
        while slices < 20:
            await asyncio.sleep(0)
            turn += 1

    async with anyio.create_task_group() as group:
        group.start_soon(encode)
        group.start_soon(count_turns)
    assert turn <= 21
