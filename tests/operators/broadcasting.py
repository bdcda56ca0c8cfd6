"""A `BroadcastProcess` whose records say what its handlers do, and a job of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream import (
    BroadcastContext,
    BroadcastProcess,
    BroadcastState,
    Context,
    JobFailed,
    ListState,
    MapState,
    Pipeline,
    Timer,
    ValueState,
)
from actorstream.testing.harness import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorstream import Stream

Word = tuple[str, Any]
"""A key or the name of a rule, and what to do."""


class Scores(BroadcastProcess[str, Word, Word, Any]):
    """Does what records say: a handler is looked up by the name in them."""

    rules: BroadcastState[str, Any] = BroadcastState()
    count: ValueState[int] = ValueState(0)
    seen: ListState[int] = ListState()
    days: MapState[int, int] = MapState()
    aged: ValueState[int] = ValueState(0, ttl=60)

    def on_element(self, value: Word, ctx: Context[str], /) -> list[Any]:
        """Call what came, or count."""
        if callable(value[1]):
            return [value[1](self, ctx)]
        self.count += 1
        self.seen.append(self.count)
        self.days[self.count] = 1
        self.aged = self.count
        return [(ctx.key, self.count, list(self.rules.items()))]

    def on_broadcast(self, value: Word, ctx: BroadcastContext, /) -> list[Any]:
        """Call what came, or write it."""
        if callable(value[1]):
            return [value[1](self, ctx)]
        ctx.writable(self.rules)[value[0]] = value[1]
        return []

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> Iterator[Any]:
        """Tell what is there."""
        self.count += 100
        yield "timer", ctx.key, self.count, list(self.rules)


class Job:
    """A pipeline of it, and its two inputs."""

    def __init__(self, *, timed: bool = False) -> None:
        self.pipeline = Pipeline("p", max_parallelism=8)
        self.words: list[Word] = []
        self.rules: list[Word] = []
        words, rules = self.pipeline.source(self.words, name="words"), self.pipeline.source(self.rules, name="rules")
        if timed:
            words, rules = words.assign_timestamps(_at), rules.assign_timestamps(_at)
        self.out: Stream[Any] = words.key_by(lambda word: word[0]).connect(rules.broadcast()).process(Scores)

    async def fails(self, side: list[Word], call: Callable[[Any, Any], object], kind: type[Exception]) -> str:
        """Let a handler do something that is refused; give what is said."""
        async with harness(self.pipeline) as h:
            await h.send(self.words, ("a", 1))
            with pytest.raises(JobFailed) as failed:
                await h.send(side, ("a", call))
        cause = failed.value.__cause__
        assert cause is not None
        found = cause.__cause__ if isinstance(cause.__cause__, kind) else cause
        assert isinstance(found, kind), repr(cause)
        return str(cause)


def _at(word: Word) -> float:
    return float(word[1]) if isinstance(word[1], int) else 5.0
