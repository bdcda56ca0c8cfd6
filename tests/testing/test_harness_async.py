"""The harness waits for async handlers, as for any call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actorstream import KeyedProcess, Pipeline, ValueState
from actorstream.testing import harness

if TYPE_CHECKING:
    from actorstream import Context, Timer


class Slow(KeyedProcess[int, int, tuple[str, int, int]]):
    count: ValueState[int] = ValueState(0)

    async def on_element(self, value: int, ctx: Context[int]) -> list[tuple[str, int, int]]:
        await asyncio.sleep(0.01)
        self.count += 1
        ctx.set_timer(value + 5)
        ctx.set_timer(ctx.now.timestamp() + 60, domain="processing")
        return [("element", ctx.key, self.count)]

    async def on_timer(self, timer: Timer, ctx: Context[int]) -> list[tuple[str, int, int]]:
        await asyncio.sleep(0.01)
        return [(timer.domain, ctx.key, self.count)]


async def slow(value: int) -> int:
    await asyncio.sleep(0.01)
    return value


@pytest.mark.parametrize("isolate", [False, True])
async def test_what_was_sent_is_processed_also_by_async_handlers_and_timers(*, isolate: bool) -> None:
    numbers: list[int] = []
    pipeline = Pipeline("slow")
    rows = pipeline.source(numbers).assign_timestamps(float).map(slow).key_by(lambda value: value % 3).process(Slow)
    rows.sink(lambda row: None)
    async with harness(pipeline, isolate=isolate) as h:
        await h.send(numbers, 1, 2, 3, 4)
        assert h.outputs(rows) == [("element", 1, 1), ("element", 2, 1), ("element", 0, 1), ("element", 1, 2)]
        await h.send(numbers, 30)
        assert h.outputs(rows) == [("element", 0, 2), ("event", 2, 1), ("event", 1, 2)]
        await h.advance(clock=61)
        assert h.outputs(rows) == [("processing", 0, 2), ("processing", 1, 2), ("processing", 2, 1)]
