"""Outside systems in memory, which outlive every simulated process as a bank or a broker does.

Ledger          takes output in step with checkpoints: what the simulation puts behind a stream that has no sink
outside(Bank)   a double of your own: made once a run, and there again for the next process of that run

process 1   outside(Bank) ─> made          x dies
process 2   outside(Bank) ─> the same one  ── goes on
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from actorstream.errors import FencedError, PlanError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from actorstream.model.connect import SinkContext

T = TypeVar("T")


@runtime_checkable
class ReadableSink(Protocol):
    """A sink whose target can be looked into."""

    def committed(self) -> Sequence[object]:
        """Give all that is visible in the target by now, in the order in which it became so."""
        ...


class Ledger:
    """A target that takes what a job commits, once, and refuses those who were replaced.

    Attributes:
        rows: What is committed, in the order of commits.
        broken: What replaced attempts have tried to commit; the library has to keep them from it.
        asked: How often somebody has come to commit.
        forks: Those beside it that forks of the job write to, by name.
    """

    def __init__(self, name: str) -> None:
        """Start empty."""
        self.name = name
        self.rows: list[object] = []
        self.broken: list[str] = []
        self.asked = 0
        self.forks: dict[str, Ledger] = {}
        self._pending: dict[bytes, list[object]] = {}
        self._highest = 0

    def committed(self) -> Sequence[object]:
        """Give what is visible."""
        return list(self.rows)

    def forked(self, name: str, /) -> Ledger:
        """Give the one beside this that a fork of this name writes to."""
        return self.forks.setdefault(name, Ledger(f"{self.name}@{name}"))

    @asynccontextmanager
    async def writer(self, ctx: SinkContext, /) -> AsyncIterator[_LedgerWriter]:
        """Open the writer of one subtask."""
        self._highest = max(self._highest, ctx.attempt)
        yield _LedgerWriter(self, ctx)

    def take_in(self, token: bytes, attempt: int, values: list[object]) -> None:
        """Keep what a token stands for."""
        self.check(attempt)
        self._pending[token] = values

    def show(self, token: bytes, attempt: int) -> None:
        """Make visible what a token stands for; a second time it does nothing."""
        self.check(attempt)
        self.rows += self._pending.pop(token, ())

    def check(self, attempt: int) -> None:
        """Refuse a writer of an attempt that another one has replaced, and remember it."""
        self.asked += 1
        if attempt < self._highest:
            self.broken.append(f"{self.name!r}: attempt {attempt} writes after attempt {self._highest} has begun")
            raise FencedError(self.broken[-1])


class _LedgerWriter:
    def __init__(self, ledger: Ledger, ctx: SinkContext) -> None:
        self._ledger = ledger
        self._ctx = ctx
        self._values: list[object] = []

    async def write(self, values: Sequence[object], /) -> None:
        self._values += values

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        if not self._values:
            return None
        values, self._values = self._values, []
        ctx = self._ctx
        token = f"{ctx.job} {ctx.operator} {ctx.attempt} {ctx.holder} {ctx.subtask} {checkpoint}".encode()
        self._ledger.take_in(token, ctx.attempt, values)
        return token

    async def commit(self, token: bytes, /) -> None:
        self._ledger.show(token, self._ctx.attempt)

    async def abort(self, token: bytes | None, /) -> None:
        if token is not None:
            self._ledger._pending.pop(token, None)  # noqa: SLF001


class Outside:
    """All outside systems of one run, by what makes them and the order in which they were asked for."""

    def __init__(self) -> None:
        """Start with none."""
        self._made: dict[object, list[Any]] = {}
        self._asked: dict[object, int] = {}

    def begin(self) -> None:
        """A new process asks again, from the first one on."""
        self._asked.clear()

    def get(self, make: Callable[[], T]) -> T:
        """Give the next one that was made by `make`, or make it."""
        by = _place_of(make)
        number = self._asked[by] = self._asked.get(by, 0) + 1
        made = self._made.setdefault(by, [])
        if number > len(made):
            made.append(make())
        found: T = made[number - 1]
        return found


_RUNNING: ContextVar[Outside | None] = ContextVar("actorstream_outside", default=None)


def outside(make: Callable[[], T], /) -> T:
    """Give a double of an outside system, which outlives the simulated process; a new run begins with a new one.

    For the function that `simulate` is given: its first call with `make` in a run calls `make`; in each later process
    of that run the same call gives what was made then.

    Raises:
        PlanError: No simulation runs.
    """
    running = _RUNNING.get()
    if running is None:
        raise PlanError("outside(...) is for the function that simulate() is given: no simulation runs here")
    return running.get(make)


def _place_of(make: object) -> object:
    """Give where it is written: each process makes its lambdas, partials and local classes anew."""
    while isinstance(make, partial):
        make = make.func
    kind = make if isinstance(make, type) else type(make)
    return getattr(make, "__code__", (kind.__module__, kind.__qualname__))


@contextmanager
def running_in(systems: Outside) -> Iterator[None]:
    """Run the block as the beginning of a new process beside these systems."""
    systems.begin()
    token = _RUNNING.set(systems)
    try:
        yield
    finally:
        _RUNNING.reset(token)
