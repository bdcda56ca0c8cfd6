"""The job of `state`: a million keys, each with a text of 100 characters that is rewritten at each of its records.

    source of numbers ──> key_by ──> map_with_state ──> sink (checks)
                                     text = "<key> <visits> ....", new at each visit

The key of a record is its number times a stride, modulo the number of keys: a row of
as many records as there are keys touches each once, in an order that has nothing to
do with that of the files.
"""

from __future__ import annotations

import asyncio
from array import array
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias, Unpack

from actorstream import Fetched, Pipeline, Restart
from benchmarks.errors import WrongOutputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from actorstream import Run, RunOptions

Visit: TypeAlias = tuple[int, int]
"""A key, and how often it has come."""

TEXT_CHARACTERS = 100
FETCH_RECORDS = 512
_STRIDE = 1_000_003  # prime, and above every number of keys but multiples of itself


def key_of(number: int, keys: int) -> int:
    """Give the key of record `number`."""
    return number * _STRIDE % keys


def rewrite(text: str, key: int) -> tuple[str, Visit]:
    """Read the number of visits out of the key's text, and write it anew."""
    if not text:
        visits = 1
    else:
        before, visits_before = text.split(maxsplit=2)[:2]
        if before != str(key):
            raise WrongOutputError(f"the state of key {key} says that it is of key {before}")
        visits = int(visits_before) + 1
    return f"{key} {visits} ".ljust(TEXT_CHARACTERS, "."), (key, visits)


def start(source: Numbers, put: Callable[[Visit], object], **options: Unpack[RunOptions]) -> Run:
    """Give a run of the job; a failure ends it."""
    pipeline = Pipeline("state")
    keys = pipeline.source(source, name="keys")
    keys.key_by(itself).map_with_state("", rewrite, name="texts").sink(put, name="check")
    chosen: RunOptions = {"restart": Restart.never(), **options}
    return pipeline.run(**chosen)


def itself(key: int) -> int:
    """Give the key of a record, which is the record."""
    return key


class Numbers:
    """A source of keys that never ends, so that its split is still open when the job is restored.

    Args:
        keys: Makes the keys of the records from a position on; where they end, the source waits for ever.
    """

    def __init__(self, keys: Callable[[int], Iterable[int]]) -> None:
        """Read nothing yet."""
        self._keys = keys

    async def splits(self) -> Sequence[str]:
        """Name the one split."""
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, int]]:
        """Yield what follows `after`."""
        position = -1 if after is None else after
        keys = iter(self._keys(position + 1))
        while batch := list(islice(keys, FETCH_RECORDS)):
            position += len(batch)
            yield Fetched(batch, position)
        await asyncio.Event().wait()


def each_once(keys: int) -> Callable[[int], Iterator[int]]:
    """Give a maker for `Numbers`: every key once, then nothing."""
    return lambda first: (key_of(number, keys) for number in range(first, keys))


class Check:
    """The sink: compares each visit with the number of those before it, and wakes who waits for so many."""

    def __init__(self, keys: int, visited: int = 0) -> None:
        """Expect every key to have been visited `visited` times."""
        self._visits = array("I", bytes(4 * keys)) if not visited else array("I", [visited]) * keys
        self._reached: dict[int, asyncio.Event] = {}
        self.records = 0

    def take(self, visit: Visit) -> None:
        """Hear of one result.

        Raises:
            WrongOutputError: The key's state was lost, or doubled, or is older than it should be.
        """
        key, visits = visit
        self._visits[key] += 1
        if visits != self._visits[key]:
            raise WrongOutputError(
                f"key {key} came with visit {visits}, expected was {self._visits[key]}; "
                "measure nothing before this is mended"
            )
        self.records += 1
        if self.records in self._reached:
            self._reached.pop(self.records).set()

    async def wait(self, records: int) -> None:
        """Wait until so many records have come."""
        if self.records < records:
            await self._reached.setdefault(records, asyncio.Event()).wait()
