"""A sink and a source that keep their contracts, and can be told to break any one part of it."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio.lowlevel

from actorstream.errors import FencedError, RestoreError, StoreError
from actorstream.model.connect import Fetched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from actorstream.model.connect import SinkContext


class Shelf:
    """A target that outlives writers: visible rows, what is set aside under a name, and what a commit has marked."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.aside: dict[str, list[str]] = {}
        self.marked: set[str] = set()
        self.fence = 0
        self.newest = 0
        self.down = False

    def reach(self) -> None:
        if self.down:
            raise StoreError("the shelf is out of reach")


class Shelves:
    """All of them by place. `breaks` says which part of the contract the sinks break; "" none."""

    def __init__(self, breaks: str = "") -> None:
        self.by_place: dict[str, Shelf] = {}
        self.breaks = breaks

    def make(self, place: str) -> ShelfSink:
        return ShelfSink(self.by_place.setdefault(place, Shelf()), self.breaks)

    def rows(self, place: str) -> list[str]:
        return list(self.by_place[place].rows)

    @contextmanager
    def down(self, place: str) -> Iterator[None]:
        self.by_place[place].down = True
        yield
        self.by_place[place].down = False


class ShelfSink:
    def __init__(self, shelf: Shelf, breaks: str) -> None:
        self._shelf = shelf
        self._breaks = breaks

    @asynccontextmanager
    async def writer(self, ctx: SinkContext, /) -> AsyncIterator[ShelfWriter]:
        shelf = self._shelf
        shelf.reach()
        await anyio.lowlevel.checkpoint()
        if self._breaks != "no fence":
            if ctx.attempt < shelf.fence:
                raise FencedError("replaced")
            shelf.fence = ctx.attempt
        if ctx.restored < shelf.newest and self._breaks != "goes back":
            raise RestoreError("later output is committed")
        writer = ShelfWriter(shelf, ctx, self._breaks)
        try:
            yield writer
        finally:
            writer.leave()


class ShelfWriter:
    """Sets records aside under "subtask attempt", and at a pre-commit under "subtask attempt checkpoint"."""

    def __init__(self, shelf: Shelf, ctx: SinkContext, breaks: str) -> None:
        self._shelf = shelf
        self._ctx = ctx
        self._breaks = breaks
        self._mine = f"{ctx.subtask} {ctx.attempt}"
        self._own: dict[str, list[str]] = {}
        if breaks == "attempts share what is set aside":
            self._mine = f"{ctx.subtask} 0"

    async def write(self, values: Sequence[str], /) -> None:
        self._shelf.reach()
        self._shelf.aside.setdefault(self._mine, []).extend(values)
        if self._breaks == "shows at once":
            self._shelf.rows += values

    async def pre_commit(self, checkpoint: int, /) -> Any:
        shelf = self._shelf
        shelf.reach()
        if self._breaks == "waits in pre_commit":
            values = shelf.aside.pop(self._mine, [])
            await anyio.lowlevel.checkpoint()
        else:
            values = shelf.aside.pop(self._mine, [])
        if not values or self._breaks == "no token":
            return None
        name = f"{self._mine} {checkpoint}"
        if self._breaks == "keeps it in memory":
            self._own[name] = values
        elif self._breaks == "one token for all":
            name = f"{self._ctx.subtask} 0 0"
            shelf.aside[name] = values
        else:
            shelf.aside[name] = values
        if self._breaks == "shows at pre_commit":
            shelf.rows += values
        if self._breaks == "long token":
            return name.encode() + b" " * 5_000
        return name if self._breaks == "token is a str" else name.encode()

    async def commit(self, token: bytes, /) -> None:
        shelf, name = self._shelf, token.decode()
        if shelf.down and self._breaks == "says it is done":
            return
        shelf.reach()
        if self._breaks == "hangs":
            await anyio.sleep_forever()
        if self._breaks != "no fence" and self._ctx.attempt < shelf.fence:
            raise FencedError("replaced")
        if self._breaks == "commits by its own subtask":
            name = " ".join([str(self._ctx.subtask), *name.split()[1:]])
        if name in shelf.marked and self._breaks not in {"commits again", "one token for all"}:
            return
        values = self._own.get(name, shelf.aside.get(name, []))
        if self._breaks == "takes the next epoch too":
            values = values + shelf.aside.pop(self._mine, [])
        if self._breaks == "marks first":
            shelf.marked.add(name)
            await anyio.lowlevel.checkpoint()
        shelf.rows += values
        if self._breaks == "marks last":
            await anyio.lowlevel.checkpoint()
        shelf.marked.add(name)
        shelf.newest = max(shelf.newest, int(name.split()[-1]))
        if self._breaks == "removes before it is committed for good":
            shelf.marked.discard(name)

    async def abort(self, token: bytes | None, /) -> None:
        shelf = self._shelf
        shelf.reach()
        if token is not None:
            if self._breaks != "abort of a token shows it":
                shelf.aside.pop(token.decode(), None)
            else:
                shelf.rows += shelf.aside.pop(token.decode(), [])
            return
        for name in list(shelf.aside):
            subtask, attempt = map(int, name.split()[:2])
            if self._breaks == "abort takes those of others" or (
                subtask == self._ctx.subtask and attempt < self._ctx.attempt and name not in shelf.marked
            ):
                del shelf.aside[name]

    def leave(self) -> None:
        if self._breaks == "drops what was pre-committed":
            for name in list(self._shelf.aside):
                if name.startswith(f"{self._mine} ") or name == self._mine:
                    del self._shelf.aside[name]
        if self._breaks == "commits what is open as it leaves":
            self._shelf.rows += self._shelf.aside.pop(self._mine, [])
        if self._breaks == "raises as it leaves":
            raise ValueError("leaving is hard")
        self._shelf.aside.pop(self._mine, None)


class BreakingSource:
    """Two splits of numbers in fetches of two; a position is the index of the last record. `breaks`: as above."""

    def __init__(self, breaks: str = "") -> None:
        self._breaks = breaks
        self._read_up_to: dict[str, int] = {}
        self._buffer: list[int] = []
        self._shared: list[int] = [0]

    async def splits(self) -> list[Any]:
        if self._breaks == "splits are new each time":
            return ["a", f"b{id(self)}"]
        return ["a", "b", "a"] if self._breaks == "a split twice" else ["a", "b"]

    def read(self, split: str, after: Any, /) -> Any:
        if self._breaks == "read is no generator":
            return self.splits()
        return self._read(split, after)

    async def _read(self, split: str, after: Any) -> AsyncIterator[Any]:  # noqa: C901  (each way to break it)
        breaks = self._breaks
        numbers = list(range(6)) if split == "a" else list(range(10, 17))
        if breaks == "loses one":
            numbers.pop(3)
        if breaks == "has one twice":
            numbers.insert(3, numbers[3])
        start = 0 if after is None else _index(after) + 1
        if breaks == "gives the last one again" and after is not None:
            start -= 1
        if breaks == "skips one" and after is not None:
            start += 1
        if breaks == "goes on where it stood":
            start = self._read_up_to.get(split, start)
        while start < len(numbers):
            values = numbers[start : start + 2]
            if breaks == "takes before it waits":
                start = max(start, self._read_up_to.get(split, 0))
                values = numbers[start : start + 2]
                self._read_up_to[split] = start + 2 if start + 2 < len(numbers) else 0
            await anyio.lowlevel.checkpoint()
            start += len(values)
            self._read_up_to[split] = start
            position: Any = start - 1
            if breaks == "position of the first":
                position = start - len(values)
            if breaks == "positions stand still":
                position = (start - 1) // 4 * 4
            if breaks == "position has no encoding":
                position = object()
            if breaks == "position is a class of its own":
                position = float("nan")
            if breaks == "one position object":
                self._shared[0] = position
                position = self._shared
            if breaks == "one list of values":
                self._buffer[:] = values
                values = self._buffer
            stamps = [0.0] if breaks == "too few timestamps" else None
            given = iter(values) if breaks == "values are an iterator" else values
            fetched = Fetched(given, position, stamps)  # type: ignore[arg-type]
            yield values if breaks == "no Fetched" else fetched


def _index(after: Any) -> int:
    return int(after[0]) if isinstance(after, list) else int(after)
