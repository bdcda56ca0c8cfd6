"""Iterators are read once: nothing comes twice, and an end by error is never taken for an end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actorstream.connectors.iterables import AsyncIterableSource, IterableSource
from actorstream.connectors.memory import FETCH_RECORDS
from actorstream.errors import PlanError, RestoreError
from actorstream.model.connect import Source
from actorstream.model.world import World
from actorstream.system.current import current_world, use_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator


async def read(source: IterableSource[int] | AsyncIterableSource[int], after: int | None = None) -> list[int]:
    return [value async for fetched in source.read("0", after) for value in fetched.values]


async def collect(source: IterableSource[int], into: list[int], after: int | None = None) -> None:
    async for fetched in source.read("0", after):
        into += fetched.values


async def take(
    source: IterableSource[int] | AsyncIterableSource[int], count: int, after: int | None = None
) -> list[int]:
    """Read as an attempt does that is stopped between two records."""
    got: list[int] = []
    stream = source.read("0", after)
    async for fetched in stream:
        got += fetched.values
        if len(got) >= count:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    return got


async def numbers(stop: int) -> AsyncIterator[int]:
    for number in range(stop):
        yield number


class SlowClock:
    """Each reading is `step` seconds after the one before."""

    def __init__(self, step: float) -> None:
        self.step = step
        self.now = 0.0

    def now_us(self) -> int:
        """Not read by sources."""
        raise NotImplementedError

    def monotonic(self) -> float:
        """Give the time and let it pass."""
        self.now += self.step
        return self.now


def slice_sizes(seconds: float) -> list[int]:
    """Give the sizes of the slices where each takes `seconds`."""
    world = current_world()

    async def run() -> list[int]:
        with use_world(World(SlowClock(seconds), world.files, world.offload, world.random)):
            source = IterableSource(iter(range(2_000)))
            return [len(fetched.values) async for fetched in source.read("0", None)]

    return asyncio.run(run())


def test_they_are_sources() -> None:
    assert isinstance(IterableSource([]), Source)
    assert isinstance(AsyncIterableSource(numbers(0)), Source)


async def test_an_iterator_is_read_to_its_end() -> None:
    assert await read(IterableSource(iter(range(1_500)))) == list(range(1_500))


def test_slices_grow_while_the_iterator_is_quick() -> None:
    """A batch of one record costs a hop; few of them do no harm."""
    sizes = slice_sizes(0.0)
    assert sizes[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, FETCH_RECORDS]
    assert max(sizes) == FETCH_RECORDS


def test_slices_stay_small_while_the_iterator_is_slow() -> None:
    """An iterator that computes must not hold the event loop for 512 records."""
    assert max(slice_sizes(0.004)) == 1


async def test_positions_go_on_counting_after_a_restore() -> None:
    source = IterableSource(iter([1, 2, 3]))
    assert [fetched.position async for fetched in source.read("0", 41)] == [42, 44]


async def test_the_next_attempt_goes_on_where_the_iterator_stands() -> None:
    """Nothing twice; what the failed attempt had in flight is lost, and `describe` says so."""
    source = IterableSource(iter(range(10)))
    first = await take(source, 3)
    assert first == [0, 1, 2]
    assert await read(source, after=0) == [3, 4, 5, 6, 7, 8, 9]


async def test_what_can_be_read_anew_is_read_anew_only_where_nothing_was_recorded() -> None:
    """A set or dict starts again in a run from nothing; after a restore that would double its records."""
    source = IterableSource({1: "a", 2: "b", 3: "c"}.keys())
    assert await take(source, 1) == [1]
    assert await read(source, after=0) == [2, 3]
    assert await read(source) == [1, 2, 3]


def failing() -> Iterator[int]:
    yield from range(2)
    raise ConnectionError("gone")


async def test_what_came_before_an_error_is_not_lost_with_it() -> None:
    """The error cuts a slice short: the records before it wait for the next attempt."""
    source = IterableSource(failing())
    got: list[int] = []
    with pytest.raises(ConnectionError):
        await collect(source, got)
    assert got == [0]
    with pytest.raises(RestoreError):
        await collect(source, got, after=0)
    assert got == [0, 1]


async def test_a_generator_that_an_error_has_ended_is_not_taken_for_finished() -> None:
    """After an error `next` says StopIteration: a restart would end the job as if all had been read."""
    source = IterableSource(failing())
    with pytest.raises(ConnectionError):
        await read(source)
    for _ in range(2):
        with pytest.raises(RestoreError, match="an error or a cancellation has ended it"):
            await read(source, after=1)


class Flaky:
    """An iterator that goes on after an error."""

    def __init__(self) -> None:
        self.calls = 0

    def __iter__(self) -> Iterator[int]:
        """Give itself."""
        return self

    def __next__(self) -> int:
        """Fail at the third call."""
        self.calls += 1
        if self.calls == 3:
            raise ConnectionError("once")
        if self.calls > 5:
            raise StopIteration
        return self.calls


async def test_an_iterator_that_goes_on_after_an_error_is_read_on() -> None:
    source = IterableSource(Flaky())
    first: list[int] = []
    with pytest.raises(ConnectionError):
        await collect(source, first)
    assert first == [1]
    assert await read(source, after=0) == [2, 4, 5]


async def test_an_async_iterable_is_read_to_its_end() -> None:
    source = AsyncIterableSource(numbers(4))
    assert [(fetched.values, fetched.position) async for fetched in source.read("0", None)] == [
        ([0], 0),
        ([1], 1),
        ([2], 2),
        ([3], 3),
    ]


async def test_the_next_attempt_goes_on_where_the_async_iterator_stands() -> None:
    source = AsyncIterableSource(numbers(5))
    assert await take(source, 2) == [0, 1]
    assert await read(source, after=0) == [2, 3, 4]


async def test_a_function_is_called_for_each_attempt_and_its_generator_closed() -> None:
    """Its `finally` lets go of the connection before the next attempt opens one."""
    log: list[str] = []

    async def connect() -> AsyncIterator[int]:
        log.append("open")
        try:
            yield 1
            yield 2
        finally:
            log.append("close")

    source = AsyncIterableSource(connect)
    assert await take(source, 1) == [1]
    assert log == ["open", "close"]
    assert await read(source, after=0) == [1, 2]
    assert log == ["open", "close"] * 2


async def cancel_while_waiting(source: AsyncIterableSource[int]) -> None:
    reading = asyncio.Event()

    async def attempt() -> None:
        async for _ in source.read("0", None):
            reading.set()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(attempt())
        await reading.wait()
        await asyncio.sleep(0)
        task.cancel()


async def one_then_silence() -> AsyncIterator[int]:
    yield 1
    await asyncio.Event().wait()


async def test_an_async_generator_that_a_cancellation_has_ended_is_not_taken_for_finished() -> None:
    """T133: after a cancelled `anext` it says StopAsyncIteration; a restart would end the job as if all were read."""
    source = AsyncIterableSource(one_then_silence())
    await cancel_while_waiting(source)
    with pytest.raises(RestoreError, match="a function that makes a new one"):
        await read(source, after=0)


async def test_a_function_survives_the_cancellation() -> None:
    """T133: the remedy that the error names."""
    source = AsyncIterableSource(one_then_silence)
    await cancel_while_waiting(source)
    assert await take(source, 1, after=0) == [1]


def plain_list() -> Iterable[int]:
    return [1]


@pytest.mark.parametrize("function", [plain_list, lambda: None])
async def test_a_function_that_gives_no_async_iterable_is_named_as_the_mistake(
    function: Callable[[], AsyncIterable[int]],
) -> None:
    with pytest.raises(PlanError, match="which is no async iterable"):
        await read(AsyncIterableSource(function))
