"""`for_each_key`: a broadcast record visits every key that has something of a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream import (
    KeyedProcess,
    ValueState,
)
from actorstream.errors import StateAccessError
from actorstream.testing.harness import harness

if TYPE_CHECKING:
    from collections.abc import Callable

from tests.operators.broadcasting import Job, Scores


def _visited(state: Any, change: Callable[[Any], object] | None = None) -> Callable[[Any, Any], object]:
    def visit(self: Any, ctx: Any) -> list[Any]:
        found: list[Any] = []

        def one(key: str, value: Any) -> None:
            found.append((key, dict(value) if state == Scores.days else value if isinstance(value, int) else [*value]))
            if change is not None:
                change(self)

        ctx.for_each_key(state, one)
        return found

    return visit


@pytest.mark.parametrize("recovers", [False, True], ids=["in memory", "from layers"])
async def test_every_key_that_has_something_of_a_state_is_visited(*, recovers: bool) -> None:
    """In the order of the keys; a key that never wrote, or has deleted it, has nothing."""
    job = Job()
    async with harness(job.pipeline) as h:
        await h.send(job.words, ("b", 0), ("a", 0), ("c", 0), ("b", 0), ("c", lambda _, ctx: ctx.clear()))
        if recovers:
            await h.checkpoint()
            await h.crash_and_recover()
        await h.send(job.words, ("d", lambda self, _: len(self.days)), ("e", 0))
        h.outputs(job.out)
        for state, right in (
            (Scores.count, [("a", 1), ("b", 2), ("e", 1)]),
            (Scores.seen, [("a", [1]), ("b", [1, 2]), ("e", [1])]),
            (Scores.days, [("a", {1: 1}), ("b", {1: 1, 2: 1}), ("e", {1: 1})]),
            (Scores.aged, [("a", 1), ("b", 2), ("e", 1)]),
        ):
            await h.send(job.rules, ("r", _visited(state)))
            assert h.outputs(job.out) == [right]
        await h.advance(clock=61)
        await h.send(job.words, ("a", lambda *_: None))  # time is looked at with each piece of a batch
        await h.send(job.rules, ("r", _visited(Scores.aged)))
        assert h.outputs(job.out)[-1] == [], "expired"


async def test_a_visit_may_change_every_state_of_the_key() -> None:
    """As a handler may: what it writes is stored, and in the next checkpoint."""

    def change(self: Any) -> None:
        self.count += 10
        self.seen.append(7)
        self.days.clear()
        if self.count == 12:
            del self.seen
        self.aged = 5

    job = Job()
    async with harness(job.pipeline, parallelism=3) as h:
        await h.send(job.words, ("a", 0), ("b", 0), ("b", 0))
        await h.checkpoint()
        await h.send(job.rules, ("r", _visited(Scores.count, change)))
        await h.checkpoint()
        await h.crash_and_recover()
        h.outputs(job.out)

        def tell(self: Any, _: Any) -> object:
            return self.count, [*self.seen], dict(self.days), self.aged

        await h.send(job.words, ("a", tell), ("b", tell), ("z", tell))
        assert sorted(h.outputs(job.out)) == [(0, [], {}, 0), (11, [1, 7], {}, 5), (12, [], {}, 5)]


def _each_in_each(self: Any, ctx: Any) -> None:
    ctx.for_each_key(Scores.count, lambda *_: ctx.for_each_key(Scores.count, lambda *_: None))


async def test_for_each_key_takes_a_state_by_key_of_the_class() -> None:
    """Not of another one, not one without key; and not inside of itself."""

    class Other(KeyedProcess[str, int, int]):
        other: ValueState[int] = ValueState(0)

    job = Job()
    for state in (Other.other, Scores.rules, "count"):
        said = await job.fails(job.rules, lambda _, ctx, s=state: ctx.for_each_key(s, print), StateAccessError)  # type: ignore[misc]
        assert "give it a state by key of this class" in said
    said = await job.fails(job.rules, _each_in_each, StateAccessError)
    assert "inside of for_each_key" in said
