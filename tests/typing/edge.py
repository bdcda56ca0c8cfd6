"""Corners of inference, and mistakes that must be found: see programs.py for how they are marked."""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, assert_type

from actorstream import (
    AggregatingState,
    Context,
    Fetched,
    KeyedProcess,
    Pipeline,
    ReducingState,
    Sink,
    SinkContext,
    SinkWriter,
    Source,
    Stream,
    Table,
    ValueState,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager


@dataclass
class P:
    n: int


class Scorer:
    async def __call__(self, x: str) -> float:
        return 1.0


def add(k: int, x: str) -> str:
    return x * k


async def agen() -> AsyncIterator[int]:
    yield 1


p = Pipeline("edge")
s = p.source(["a"])
loads: Stream[Any] = s.map(json.loads)
assert_type(s.map(len).map(P), Stream[P])
assert_type(s.map(partial(add, 3)), Stream[str])
assert_type(s.map(lambda x: x.upper()), Stream[str])
assert_type(s.flat_map(lambda x: [x, x]), Stream[str])
assert_type(s.union(p.source(["b"])), Stream[str])
assert_type(s.union(p.source([1])), Stream[str | int])
assert_type(p.source(range(3)), Stream[int])
assert_type(p.source(x for x in "ab"), Stream[str])
assert_type(p.source(agen()), Stream[int])
assert_type(p.source(agen), Stream[int])
assert_type(s.key_by(len).count(), Table[int, int])
assert_type(s.key_by(len).fold([0], lambda counts, x: [*counts, len(x)]), Table[int, list[int]])
assert_type(s.key_by(len).union(p.source([b"b"]).key_by(len)).fold(0, lambda n, x: n + len(x)), Table[int, int])
s.sink(Scorer())
got: list[str] = []
s.sink(got.append)
s.map(lambda x: x.nope)  # type: ignore[attr-defined]  # refused: no such attribute
s.filter(add)  # type: ignore[arg-type]  # refused: two arguments
s.key_by(len).union(p.source([1]).key_by(str))  # type: ignore[arg-type]  # refused: keys of another type


class Bad(KeyedProcess[str, str, int]):
    n: ValueState[int] = ValueState(0)

    def on_element(self, value: str, ctx: Context[str], /) -> list[str]:  # type: ignore[override]  # refused: list[str] is not Emits[int]
        self.n = "x"  # type: ignore[assignment]  # refused: an int
        return [value]


s.key_by(lambda x: 1).process(Bad)  # type: ignore[arg-type]  # refused: the key is an int, not a str


# what users implement
class Polled:
    async def splits(self) -> Sequence[str]:
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterable[Fetched[int, str]]:
        raise NotImplementedError


p.source(Polled())  # type: ignore[call-overload]  # refused: `async def` without a yield gives an awaitable, not an iterable


class Paged:
    async def splits(self) -> Sequence[str]:
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterable[Fetched[int, str]]:
        yield Fetched(["a", "b"], 1)


paged: Source[str, int] = Paged()
assert_type(p.source(paged), Stream[str])
assert_type(p.source(Paged()), Stream[str])


class Upload:
    def writer(self, ctx: SinkContext, /) -> AbstractAsyncContextManager[SinkWriter[str]]:
        raise NotImplementedError


sink: Sink[str] = Upload()
s.sink(Upload())
p.source([1]).sink(Upload())  # type: ignore[arg-type]  # refused: a sink of str


class Mean:
    def create(self) -> tuple[float, int]:
        return 0.0, 0

    def add(self, accumulator: tuple[float, int], value: float, /) -> tuple[float, int]:
        return accumulator[0] + value, accumulator[1] + 1

    def merge(self, left: tuple[float, int], right: tuple[float, int], /) -> tuple[float, int]:
        return left[0] + right[0], left[1] + right[1]

    def result(self, accumulator: tuple[float, int], /) -> float:
        return accumulator[0] / accumulator[1]


class Trips(KeyedProcess[str, float, float]):
    longest: ReducingState[float] = ReducingState(max)
    mean: AggregatingState[float, tuple[float, int], float] = AggregatingState(Mean())

    def on_element(self, value: float, ctx: Context[str], /) -> None:
        self.longest.add(value)
        self.mean.add(value)
        self.mean.add("far")  # type: ignore[arg-type]  # refused: what is added is a number
        assert_type(self.longest.get(), float | None)
        assert_type(self.mean.get(), float | None)


keyed = s.key_by(len)
assert_type(keyed.min(len), Table[int, int])
assert_type(keyed.max_by(len), Table[int, str])
assert_type(keyed.top_n(3, len), "Table[int, Sequence[str]]")
assert_type(keyed.distinct(ttl=5.0), Stream[str])
assert_type(s.inspect(print).partition_by(lambda x, n: len(x) % n), Stream[str])
