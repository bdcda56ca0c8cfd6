"""Where a user's code may hold the event loop: pipelines whose operator "slow" does, in each place in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable  # noqa: TC003  (a process class's annotations are evaluated)
from typing import TYPE_CHECKING, ClassVar

from actorstream import Context, KeyedProcess, OperatorContext, Pipeline, Timer, ValueState

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


PLACES: dict[str, Callable[[Pipeline, Callable[[], None]], str]] = {
    "map": in_map,
    "key": in_a_key,
    "fold": in_fold,
    "called": in_a_called_function,
    "awaited": in_an_awaited_function,
    "source": in_a_source,
    **{f"process: {where}": in_process(where) for where in ("open", "on_element", "on_timer", "close")},
    **{f"sink: {where}": in_sink(where) for where in ("write", "pre_commit", "commit")},
}
