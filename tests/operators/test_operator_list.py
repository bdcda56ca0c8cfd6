"""`OperatorListState` in a job: what an operator holds that belongs to no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream import (
    Context,
    ElementContext,
    JobFailed,
    KeyedProcess,
    OperatorContext,
    OperatorListState,
    Pipeline,
    Process,
    ValueState,
)
from actorstream.testing.harness import harness

if TYPE_CHECKING:
    from collections.abc import Iterator


class Batches(Process[int, list[int]]):
    """Three at a time."""

    waiting: OperatorListState[int] = OperatorListState()
    life: list[str]

    async def open(self, ctx: OperatorContext, /) -> None:
        """Note who this is."""
        self.life = LIFE
        self.life.append(f"open {ctx.name} {ctx.subtask} of {ctx.parallelism}, {list(self.waiting)}")

    def on_element(self, value: int, ctx: ElementContext, /) -> Iterator[list[int]]:
        """Gather."""
        self.waiting.append(value)
        if len(self.waiting) == 3:
            yield list(self.waiting)
            self.waiting.clear()

    async def close(self) -> None:
        """Say so."""
        self.life.append(f"close {list(self.waiting)}")


LIFE: list[str] = []


async def test_a_process_without_key_keeps_a_list() -> None:
    """From `open` to `close`, over a crash too."""
    LIFE.clear()
    pipeline, numbers = Pipeline("p"), list[int]()
    out = pipeline.source(numbers).process(Batches, name="batches")
    async with harness(pipeline) as h:
        await h.send(numbers, 1, 2, 3, 4, 5)
        await h.checkpoint()
        await h.send(numbers, 6)
        await h.crash_and_recover()
        await h.send(numbers, 7)
        assert h.outputs(out) == [[1, 2, 3], [4, 5, 6]]
    assert LIFE == [
        "open batches 0 of 1, []",
        "close []",
        "open batches 0 of 1, [4, 5]",
        "close [7]",
    ]


async def test_a_list_cannot_be_replaced() -> None:
    """It is changed in place."""

    class Replaces(Process[int, int]):
        waiting: OperatorListState[int] = OperatorListState()

        def on_element(self, value: int, ctx: ElementContext, /) -> None:
            self.waiting = [value]  # type: ignore[assignment]

    pipeline, numbers = Pipeline("p"), list[int]()
    pipeline.source(numbers).process(Replaces)
    async with harness(pipeline) as h:
        with pytest.raises(JobFailed, match=r"Replaces.waiting was .*: an operator list state .* self.waiting\[:\] = "):
            await h.send(numbers, 1)


async def test_any_operator_may_have_a_list() -> None:
    """Beside its states by key."""

    class Both(KeyedProcess[int, int, tuple[int, int]]):
        count: ValueState[int] = ValueState(0)
        all: OperatorListState[int] = OperatorListState()

        def on_element(self, value: int, ctx: Context[int], /) -> list[tuple[int, int]]:
            self.count += 1
            self.all.append(value)
            return [(self.count, len(self.all))]

    pipeline, numbers = Pipeline("p"), list[int]()
    out = pipeline.source(numbers).key_by(lambda value: value % 2).process(Both)
    async with harness(pipeline) as h:
        await h.send(numbers, 1, 2, 3)
        await h.checkpoint()
        await h.crash_and_recover()
        await h.send(numbers, 5)
        assert h.outputs(out) == [(1, 1), (1, 2), (2, 3), (3, 4)]
