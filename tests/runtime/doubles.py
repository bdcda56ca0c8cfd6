"""The outside world of the runtime tests: a source that can be held and broken, a sink that keeps score."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from actorstream.model.connect import Fetched

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

    from actorstream.model.connect import SinkContext

T = TypeVar("T")


async def settle(turns: int = 20) -> None:
    """Let every ready task run for some turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until a condition holds: real threads and timers are at work, so there is nothing to wait *for*."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  (what holds is no one event)
            await asyncio.sleep(0.001)


class Splits(Generic[T]):
    """A replayable source of lists; positions are indexes.

    Each split gives `batch` records at a time, and no more than `allow` lets through. `ended`: a split whose list is
    out has ended, else it waits for more. What was read after which position is in `reads`.
    """

    def __init__(
        self, splits: Mapping[str, Sequence[T]], *, batch: int = 3, allowed: int | None = None, ended: bool = True
    ) -> None:
        self.records = {name: list(records) for name, records in splits.items()}
        self.reads: list[tuple[str, int | None]] = []
        self.cancelled = 0
        self.closed = 0
        self.ended = ended
        self.fail_at: dict[tuple[str, int], Exception] = {}
        self._batch = batch
        self._allowed = allowed
        self._change = asyncio.Condition()

    def allow(self, count: int | None) -> None:
        """Let each split go on up to `count` records in all; None: to its end."""
        self._allowed = count

    async def splits(self) -> Sequence[str]:
        """Name the splits."""
        return list(self.records)

    async def read(self, split: str, after: int | None, /) -> AsyncGenerator[Fetched[int, T]]:
        """Give what follows `after`."""
        self.reads.append((split, after))
        records = self.records[split]
        start = 0 if after is None else after + 1
        try:
            while True:
                if (failure := self.fail_at.get((split, start))) is not None:
                    raise failure
                limit = len(records) if self._allowed is None else min(self._allowed, len(records))
                stop = min(start + self._batch, limit)
                if start < stop:
                    yield Fetched(records[start:stop], stop - 1)
                    start = stop
                elif self.ended and start == len(records):
                    return
                else:
                    await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.closed += 1


class Target:
    """An in-memory sink that holds every rule of `SinkWriter` to be one, and breaks the job where one is broken.

    It outlives runs, as an outside system does. `committed` is what a reader of that system sees.
    """

    def __init__(self) -> None:
        self.committed: list[Any] = []
        self.attempts: list[tuple[int, int]] = []
        self.repeats = 0
        self.dropped = 0
        self.closed = 0
        self.crash_before_commit: Exception | None = None
        self._staged: dict[bytes, list[Any]] = {}
        self._done: set[bytes] = set()
        self._highest: dict[tuple[str, int], int] = defaultdict(int)

    @asynccontextmanager
    async def writer(self, ctx: SinkContext, /) -> AsyncIterator[Writer]:
        """Open the writer of one subtask."""
        place = (ctx.operator, ctx.subtask)
        assert ctx.attempt >= self._highest[place], f"attempt {ctx.attempt} comes after {self._highest[place]}"
        self._highest[place] = ctx.attempt
        self.attempts.append((ctx.subtask, ctx.attempt))
        try:
            yield Writer(self, ctx)
        finally:
            await asyncio.sleep(0)  # letting go takes a turn of the loop, as closing a connection does
            self.closed += 1

    def stage(self, token: bytes, records: list[Any]) -> None:
        """Keep records under a token."""
        assert token not in self._staged
        self._staged[token] = records

    def commit(self, token: bytes) -> None:
        """Show them, once."""
        if token in self._done:
            self.repeats += 1
            return
        self._done.add(token)
        self.committed += self._staged.pop(token)

    def drop(self, prefix: bytes) -> None:
        """Forget what is staged under tokens with this beginning."""
        for token in [token for token in self._staged if token.startswith(prefix)]:
            del self._staged[token]
            self.dropped += 1


class Writer:
    """One subtask's end."""

    def __init__(self, target: Target, ctx: SinkContext) -> None:
        self._target = target
        self._ctx = ctx
        self._prefix = f"{ctx.operator}/{ctx.subtask}/".encode()
        self._open: list[Any] = []
        self._ready = False
        self._busy = False
        self._newest = 0
        self._last_committed = 0

    async def write(self, values: Sequence[Any], /) -> None:
        """Take records."""
        self._enter()
        assert self._ready, "write before abort(None)"
        self._open += values
        self._busy = False

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        """Stage them."""
        self._enter()
        assert self._ready
        assert checkpoint > self._newest, "checkpoints grow"
        self._newest = checkpoint
        records, self._open = self._open, []
        await asyncio.sleep(0)
        self._busy = False
        if not records:
            return None
        token = self._prefix + f"{checkpoint}/{self._ctx.attempt}".encode()
        self._target.stage(token, records)
        return token

    async def commit(self, token: bytes, /) -> None:
        """Show them; in order of checkpoints, after the barrier of each."""
        self._enter()
        checkpoint = int(token.split(b"/")[2])
        if self._ready:
            assert self._last_committed < checkpoint <= self._newest
        self._last_committed = checkpoint
        if self._target.crash_before_commit is not None:
            failure, self._target.crash_before_commit = self._target.crash_before_commit, None
            raise failure
        await asyncio.sleep(0)
        self._target.commit(token)
        self._busy = False

    async def abort(self, token: bytes | None, /) -> None:
        """Drop what was left open; comes once, after the commits of a restore."""
        self._enter()
        assert token is None
        assert not self._ready
        self._ready = True
        self._target.drop(self._prefix)
        self._busy = False

    def _enter(self) -> None:
        assert not self._busy, "calls overlap"
        self._busy = True
