"""Where a user's code may hold the event loop: pipelines whose operator "slow" does, in each place in turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable  # noqa: TC003  (a process class's annotations are evaluated)
from typing import TYPE_CHECKING, ClassVar

from actorstream import Context, KeyedProcess, OperatorContext, Pipeline, Retry, Timer, ValueState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from actorstream import SinkContext


class Slow(KeyedProcess[bool, int, int]):
    """Holds the loop in the callback `where`, by `hold`."""

    hold: ClassVar[Callable[[], None]]
    where: ClassVar[str]
    seen: ValueState[int] = ValueState(0)

    def hold_in(self, where: str) -> None:
        if self.where == where:
            Slow.hold()

    async def open(self, place: OperatorContext, /) -> None:
        self.hold_in("open")

    async def close(self) -> None:
        self.hold_in("close")

    def on_element(self, value: int, ctx: Context[bool], /) -> list[int]:
        self.hold_in("on_element")
        ctx.set_timer(4e9, domain="processing")
        return [value]

    def on_timer(self, timer: Timer, ctx: Context[bool], /) -> list[int]:
        self.hold_in("on_timer")
        return []


class BlockingSink:
    def __init__(self, hold: Callable[[], None], where: str) -> None:
        self._hold = hold
        self._where = where

    @contextlib.asynccontextmanager
    async def writer(self, ctx: SinkContext, /) -> AsyncIterator[BlockingSink]:
        yield self

    async def write(self, values: Sequence[object], /) -> None:
        self._hold_in("write")

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        self._hold_in("pre_commit")
        return b"token"

    async def commit(self, token: bytes, /) -> None:
        self._hold_in("commit")

    async def abort(self, token: bytes | None, /) -> None:
        """Nothing is open."""

    def _hold_in(self, where: str) -> None:
        if self._where == where:
            self._hold()


NUMBERS = [1, 2, 3]


def in_map(pipeline: Pipeline, hold: Callable[[], None]) -> str:
    def blocks(number: int) -> int:
        hold()
        return number

    numbers = pipeline.source(NUMBERS).map(lambda number: number, name="before")
    numbers.map(blocks, name="slow").filter(bool, name="behind").sink(lambda _: None)
    return "blocks"


def in_a_key(pipeline: Pipeline, hold: Callable[[], None]) -> str:
    def blocks(number: int) -> int:
        hold()
        return number

    numbers = pipeline.source(NUMBERS).map(lambda number: number, name="slow")
    numbers.key_by(blocks).count(name="behind").sink(lambda _: None)
    return "blocks"


def in_fold(pipeline: Pipeline, hold: Callable[[], None]) -> str:
    def blocks(total: int, number: int) -> int:
        hold()
        return total + number

    pipeline.source(NUMBERS).key_by(bool).fold(0, blocks, name="slow").sink(lambda _: None)
    return "blocks"


def in_process(where: str) -> Callable[[Pipeline, Callable[[], None]], str]:
    def build(pipeline: Pipeline, hold: Callable[[], None]) -> str:
        Slow.hold, Slow.where = hold, where
        pipeline.source(NUMBERS).key_by(bool).process(Slow, name="slow").sink(lambda _: None)
        return f"Slow.{where}"

    return build


def in_sink(where: str) -> Callable[[Pipeline, Callable[[], None]], str]:
    def build(pipeline: Pipeline, hold: Callable[[], None]) -> str:
        pipeline.source(NUMBERS).sink(BlockingSink(hold, where), name="slow")
        return f"BlockingSink.{where}"

    return build


def in_a_called_function(pipeline: Pipeline, hold: Callable[[], None]) -> str:
    pipeline.source(NUMBERS).sink(lambda number: hold(), name="slow")
    return "<lambda>"


def in_an_awaited_function(pipeline: Pipeline, hold: Callable[[], None]) -> str:
    async def blocks(number: int) -> None:
        hold()

    pipeline.source(NUMBERS).sink(blocks, name="slow")
    return "blocks"


def in_a_source(pipeline: Pipeline, hold: Callable[[], None]) -> str:
    async def reads() -> AsyncIterator[int]:
        yield 1
        hold()
        yield 2

    pipeline.source(reads, name="slow").sink(lambda _: None)
    return "reads"


def in_an_async(kind: str) -> Callable[[Pipeline, Callable[[], None]], str]:
    def build(pipeline: Pipeline, hold: Callable[[], None]) -> str:
        async def blocks(number: int) -> int:
            await asyncio.sleep(0)
            hold()
            return number

        async def gives(number: int) -> AsyncIterator[int]:
            yield await blocks(number)

        async def blocks_with_all(numbers: Sequence[int]) -> list[int]:
            return [await blocks(number) for number in numbers]

        def blocks_at_once(numbers: Sequence[int]) -> Sequence[int]:
            hold()
            return numbers

        numbers = pipeline.source(NUMBERS).map(lambda number: number, name="before")
        slow = {
            "map": lambda: numbers.map(blocks, name="slow"),
            "map that is tried again": lambda: numbers.map(blocks, retry=Retry(2), name="slow"),
            "flat_map": lambda: numbers.flat_map(gives, ordered=False, name="slow"),
            "map_batches": lambda: numbers.map_batches(blocks_with_all, name="slow"),
            "map_batches of a plain one": lambda: numbers.map_batches(blocks_at_once, name="slow"),
        }[kind]()
        slow.filter(bool, name="behind").sink(lambda _: None)
        return "blocks_at_once" if kind == "map_batches of a plain one" else "blocks"

    return build


class SlowAsync(KeyedProcess[bool, int, int]):
    """Holds the loop in an async handler, by `hold`."""

    hold: ClassVar[Callable[[], None]]
    seen: ValueState[int] = ValueState(0)

    async def on_element(self, value: int, ctx: Context[bool], /) -> list[int]:
        await asyncio.sleep(0)
        SlowAsync.hold()
        return [value]


def in_an_async_handler(pipeline: Pipeline, hold: Callable[[], None]) -> str:
    SlowAsync.hold = hold
    pipeline.source(NUMBERS).key_by(bool).process(SlowAsync, name="slow").map(abs, name="behind").sink(lambda _: None)
    return "SlowAsync.on_element"


PLACES: dict[str, Callable[[Pipeline, Callable[[], None]], str]] = {
    "map": in_map,
    "key": in_a_key,
    "fold": in_fold,
    "called": in_a_called_function,
    "awaited": in_an_awaited_function,
    "source": in_a_source,
    **{f"process: {where}": in_process(where) for where in ("open", "on_element", "on_timer", "close")},
    **{f"sink: {where}": in_sink(where) for where in ("write", "pre_commit", "commit")},
    **{
        f"async {kind}": in_an_async(kind)
        for kind in ("map", "map that is tried again", "flat_map", "map_batches", "map_batches of a plain one")
    },
    "async handler": in_an_async_handler,
}
