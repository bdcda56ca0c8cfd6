"""Iterators as sources: read once, so what was in flight at a crash is lost.

    iterator   a b c | d e f        | the newest checkpoint
                           ^ a crash: goes on after f; d, e and f are lost

Nothing comes twice: after a failure the same iterator goes on where it stands.
Positions count records, for error reports. One rule keeps a loss from passing
for an end: an iterator that an error or a cancellation has ended (a generator
always ends so, T133) must not be read as one that has come to its end.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from actorstream.connectors.memory import FETCH_RECORDS, count_before
from actorstream.errors import PlanError, RestoreError
from actorstream.model.connect import Fetched
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

T_co = TypeVar("T_co", covariant=True)

# A slice is made to take about this long, so that an iterator which computes does not hold the loop.
_SLICE_SECONDS = 0.001
_END: Final = object()


class IterableSource(Generic[T_co]):
    """One split, "0", read from an iterator of `values` within the event loop: it must not block.

    Invariant: `_broken` is set while the iterator runs and stays set when it raises.
    """

    def __init__(self, values: Iterable[T_co]) -> None:
        """Take what `iter` accepts; nothing is read yet."""
        self.values = values
        self._iterator: Iterator[T_co] | None = None
        self._pending: list[T_co] = []
        self._broken = False

    async def splits(self) -> Sequence[str]:
        """Name the one split."""
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, T_co]]:
        """Yield what the iterator gives from now on; where nothing was recorded, from the start if it has one.

        Raises:
            RestoreError: An error has ended the iterator: it cannot go on.
        """
        iterator = self._iterator
        if iterator is None or after is None:
            iterator = iter(self.values)
        if iterator is not self._iterator:
            self._iterator, self._pending, self._broken = iterator, [], False
        clock = current_world().clock
        position = count_before(after) - 1
        count = 1
        while True:
            start = clock.monotonic()
            values = self._take(iterator, count)
            seconds = clock.monotonic() - start
            if not values:
                return
            position += len(values)
            yield Fetched(values, position)
            count = min(count * 2, FETCH_RECORDS) if seconds < _SLICE_SECONDS else max(count // 2, 1)

    def _take(self, iterator: Iterator[T_co], count: int) -> list[T_co]:
        if not self._pending:
            broken, self._broken = self._broken, True
            self._pending.extend(islice(iterator, count))  # what comes before an error stays in it
            if broken and not self._pending:
                raise _ended_by_error(self.values)
            self._broken = False
        values, self._pending = self._pending, []
        return values


class AsyncIterableSource(Generic[T_co]):
    """One split, "0", read from `values`: an async iterable, or a function that makes a new one for each attempt."""

    def __init__(self, values: AsyncIterable[T_co] | Callable[[], AsyncIterable[T_co]]) -> None:
        """Take it; nothing is called or read yet."""
        self.values = values
        self._iterator: AsyncIterator[T_co] | None = None
        self._broken = False

    async def splits(self) -> Sequence[str]:
        """Name the one split."""
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, T_co]]:
        """Yield each record as it comes.

        Raises:
            PlanError: The function gave something else than an async iterable.
            RestoreError: An error has ended the iterator: it cannot go on.
        """
        iterator = self._open(after)
        position = count_before(after) - 1
        try:
            while True:
                broken, self._broken = self._broken, True
                value = await anext(iterator, _END)
                if value is _END and broken:
                    raise _ended_by_error(self.values)
                self._broken = False
                if value is _END:
                    return
                position += 1
                yield Fetched([value], position)  # type: ignore[list-item]
        finally:
            if not isinstance(self.values, AsyncIterable):  # ours: nobody else can close it
                await _close(iterator)

    def _open(self, after: int | None) -> AsyncIterator[T_co]:
        iterator = self._iterator
        if isinstance(self.values, AsyncIterable):
            if iterator is None or after is None:
                iterator = aiter(self.values)
        else:
            made = self.values()
            if not isinstance(made, AsyncIterable):
                raise PlanError(
                    f"a source function gave a {type(made).__name__}, which is no async iterable: "
                    "write it as an async generator (`async def` with a `yield`)"
                )
            iterator = aiter(made)
        if iterator is not self._iterator:
            self._iterator, self._broken = iterator, False
        return iterator


async def _close(iterator: AsyncIterator[object]) -> None:
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        await aclose()


def _ended_by_error(values: object) -> RestoreError:
    return RestoreError(
        f"a source read from a {type(values).__name__} cannot go on: an error or a cancellation has ended it, and what "
        "it had still to give is lost; for restarts use an EventLog, @replayable, or a function that makes a new one"
    )
