"""One process, written with plain handlers and with async ones that await between any two steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import anyio
import anyio.lowlevel

from actorstream import TTL, KeyedProcess, MapState, ReducingState, ValueState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from actorstream import Context, Timer


class Row(NamedTuple):
    """What a handler saw: what was there, the maps, times."""

    key: int
    what: str
    counted: int
    seen: list[int]


class _Kept(KeyedProcess[int, int, Row]):
    """What both keep, and do."""

    count: ValueState[int] = ValueState(0)
    last: ValueState[list[int]] = ValueState(factory=list)
    pages: MapState[int, list[int]] = MapState()
    recent: ValueState[int] = ValueState(0, ttl=TTL(6, domain="event"))
    shelf: MapState[int, int] = MapState(ttl=TTL(9, domain="event", refresh="read"))
    total: ReducingState[int] = ReducingState(lambda left, right: left + right)

    def _first(self, value: int, ctx: Context[int]) -> None:
        self.count += 1
        self.last.append(value)
        del self.last[:-3]
        self.total.add(value % 5)
        if value % 11 == 0:
            del self.count
        if value % 13 == 0:
            ctx.clear()
        if value % 17 == 0:
            self.pages.clear()

    def _second(self, value: int, ctx: Context[int]) -> None:
        self.pages.setdefault(value % 7, []).append(value)
        if value % 5 == 0:
            self.pages.pop(next(iter(self.pages)))
        self.shelf[value % 3] = self.shelf.get(value % 3, 0) + 1
        self.recent += 1
        ctx.set_timer(ctx.timestamp.timestamp() + 4, "idle")
        if value % 3 == 0:
            ctx.cancel_timer("idle")
        if value % 4 == 0:
            ctx.set_timer(ctx.timestamp.timestamp() - 30, "past")
        if value % 6 == 0:
            ctx.set_timer(ctx.timestamp.timestamp() + 9, f"at {value}")

    def _row(self, ctx: Context[int], what: str) -> Row:
        pages = [page * 1000 + sum(values) for page, values in self.pages.items()]
        shelf = [10 * book + count for book, count in self.shelf.scan(reverse=True)]
        told = int(ctx.watermark.timestamp()) if ctx.watermark.year > 1 else -1
        rest = [self.recent, self.total.get() or 0, int(ctx.timestamp.timestamp()), told]
        return Row(ctx.key, what, self.count, [*self.last, *pages, *shelf, *rest])

    def _fired(self, timer: Timer, ctx: Context[int]) -> None:
        self.count += 100
        self.pages[len(self.pages)] = [self.count]
        if timer.name == "idle" and self.count % 2:
            ctx.set_timer(timer.at.timestamp() + 0.5, "again")
        if timer.name.startswith("at"):
            ctx.cancel_timer("idle")
            ctx.set_timer(timer.at, "now")


class Book(_Kept):
    """Does to its states whatever may be done, depending on the record."""

    def on_element(self, value: int, ctx: Context[int]) -> Iterator[Row]:
        """Take a number."""
        self._first(value, ctx)
        yield self._row(ctx, str(value))
        self._second(value, ctx)
        yield self._row(ctx, f"{value}!")

    def on_timer(self, timer: Timer, ctx: Context[int]) -> Iterator[Row]:
        """Take a timer."""
        self._fired(timer, ctx)
        yield self._row(ctx, timer.name)


class AsyncBook(_Kept):
    """The same, awaiting."""

    async def on_element(self, value: int, ctx: Context[int]) -> AsyncIterator[Row]:
        """Take a number."""
        await anyio.sleep(0.001 * (value % 4))
        self._first(value, ctx)
        await anyio.sleep(0.001 * (value % 3))
        yield self._row(ctx, str(value))
        await anyio.lowlevel.checkpoint()
        self._second(value, ctx)
        await anyio.sleep(0.001)
        yield self._row(ctx, f"{value}!")

    async def on_timer(self, timer: Timer, ctx: Context[int]) -> list[Row]:
        """Take a timer."""
        await anyio.sleep(0.001 * (timer.at.second % 3))
        self._fired(timer, ctx)
        await anyio.sleep(0.002)
        return [self._row(ctx, timer.name)]
