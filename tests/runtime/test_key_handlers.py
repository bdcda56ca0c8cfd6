"""Async handlers of a process: one at a time of a key, many of others, and state in the order of the records."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import pytest

from actorstream import (
    Failure,
    KeyedCoProcess,
    KeyedProcess,
    MapState,
    OutputTag,
    Pipeline,
    Retry,
    ValueState,
    idempotency_key,
)
from actorstream.errors import StateAccessError
from tests.runtime.awaiting import dying, failure_of, let_run, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actorstream import Context, Timer

FAILED: OutputTag[Failure[int]] = OutputTag("failed")
ASIDE: OutputTag[int] = OutputTag("aside")


class Desk:
    """Where handlers stand until they are called: by key."""

    def __init__(self) -> None:
        self.there: dict[int, list[int]] = defaultdict(list)
        self.most: dict[int, int] = defaultdict(int)
        self.running = 0
        self.together = 0
        self.bells: dict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def wait(self, key: int, value: int) -> None:
        self.there[key].append(value)
        self.running += 1
        self.together = max(self.together, self.running)
        self.most[key] = max(self.most[key], len(self.there[key]))
        try:
            await self.bells[value].wait()
        finally:
            self.running -= 1
            self.there[key].remove(value)


DESK = Desk()


@pytest.fixture(autouse=True)
def desk() -> Desk:
    vars(DESK).update(vars(Desk()))
    return DESK


class Count(KeyedProcess[int, int, tuple[int, int, int]]):
    count: ValueState[int] = ValueState(0)

    async def on_element(self, value: int, ctx: Context[int]) -> list[tuple[int, int, int]]:
        before = self.count
        self.count += 1
        await DESK.wait(ctx.key, value)
        assert self.count == before + 1
        return [(ctx.key, value, self.count)]


def counting(numbers: list[int], keys: int, out: list[Any], **options: Any) -> Pipeline:
    pipeline = Pipeline("p")
    pipeline.source(numbers).key_by(lambda value: value % keys).process(Count, **options).sink(out.append)
    return pipeline


async def test_handlers_of_a_key_never_overlap_those_of_others_do() -> None:
    out: list[tuple[int, int, int]] = []
    async with counting(list(range(12)), 3, out).run() as job:
        await until(lambda: DESK.running == 3)
        await let_run()
        assert {key: list(values) for key, values in DESK.there.items()} == {0: [0], 1: [1], 2: [2]}
        for value in range(12):
            DESK.bells[value].set()
        await job.wait()
    assert out == [(value % 3, value, value // 3 + 1) for value in range(12)]
    assert set(DESK.most.values()) == {1}


async def test_no_more_of_them_run_than_were_allowed() -> None:
    out: list[tuple[int, int, int]] = []
    async with counting(list(range(40)), 40, out, concurrency=7).run() as job:
        await until(lambda: DESK.running == 7)
        await let_run()
        for value in range(40):
            DESK.bells[value].set()
        await job.wait()
    assert DESK.together == 7
    assert out == [(value, value, 1) for value in range(40)]


async def test_what_has_ended_waits_for_its_turn_the_next_of_its_key_goes_on_with_it() -> None:
    out: list[tuple[int, int, int]] = []
    async with counting([0, 1, 3, 5], 2, out).run() as job:
        await until(lambda: DESK.running == 2)
        for value in (1, 3, 5):
            DESK.bells[value].set()
        await until(lambda: DESK.running == 1)
        await let_run()
        assert out == []  # record 0 comes first
        assert await job.get(Count.count, 1) == 0  # nothing of it is state yet
        DESK.bells[0].set()
        await job.wait()
    assert out == [(0, 0, 1), (1, 1, 1), (1, 3, 2), (1, 5, 3)]


class Writer(KeyedProcess[str, int, object]):
    """Tries whatever should be refused."""

    count: ValueState[int] = ValueState(0)
    pages: MapState[int, int] = MapState()
    kept: ClassVar[list[Any]] = []

    async def open(self, ctx: object, /) -> None:
        self.calls = 0

    async def on_element(self, value: int, ctx: Context[str]) -> AsyncIterator[object]:
        self.calls += 1  # no state: shared by all handlers of the subtask
        self.kept.append((self, ctx, self.pages))
        self.pages[value] = 1
        await asyncio.sleep(0)
        if value == 3:
            self.pages = {}  # type: ignore[assignment]
        ctx.emit_to(ASIDE, self.calls)
        yield [len(self.pages), self.calls]


async def test_a_handler_that_has_ended_has_no_state_and_no_context_any_more() -> None:
    Writer.kept.clear()
    out: list[object] = []
    pipeline = Pipeline("p")
    given = pipeline.source([0, 1, 2]).key_by(lambda _: "a").process(Writer)
    given.sink(out.append)
    given.side_output(ASIDE).sink(out.append)
    async with pipeline.run() as job:
        await job.wait()
    assert sorted(out, key=str) == [1, 2, 3, [1, 1], [2, 2], [3, 3]]
    for process, ctx, pages in Writer.kept:
        for attribute in ("count", "pages"):
            with pytest.raises(StateAccessError, match="there is no key"):
                getattr(process, attribute)
        with pytest.raises(StateAccessError, match="there is no key"):
            pages[0]
        with pytest.raises(StateAccessError, match="no key"):
            process.count = 3
        with pytest.raises(StateAccessError, match="no key"):
            del process.count
        with pytest.raises(StateAccessError, match="the handler it was given to has ended"):
            ctx.clear()
        with pytest.raises(StateAccessError, match="the handler it was given to has ended"):
            ctx.emit_to(ASIDE, 1)


async def test_a_map_state_is_not_replaced() -> None:
    pipeline = Pipeline("p")
    pipeline.source([3]).key_by(lambda _: "a").process(Writer).sink(print)
    failure = await failure_of(pipeline)
    assert failure.operator == "Writer"
    assert failure.record == 3
    assert "self.pages.clear()" in str(failure)


class Fragile(KeyedProcess[int, int, tuple[int, int]]):
    """Fails, or takes its time, when it has changed everything."""

    count: ValueState[int] = ValueState(0)
    seen: ValueState[list[int]] = ValueState(factory=list)
    pages: MapState[int, list[int]] = MapState()
    keys: ClassVar[dict[int, list[str]]] = defaultdict(list)

    async def on_element(self, value: int, ctx: Context[int]) -> list[tuple[int, int]]:
        self.keys[value].append(idempotency_key())
        self.count += 1
        self.seen.append(value)
        self.pages.setdefault(0, []).append(value)
        ctx.set_timer(ctx.now.timestamp(), domain="processing")
        ctx.emit_to(ASIDE, value)
        if value == 5:
            raise ValueError("five")
        if value == 7:
            await asyncio.Event().wait()
        if value == 8 and len(self.keys[8]) == 1:
            raise OSError("try again")
        if value == 9:
            raise asyncio.CancelledError
        return [(value, self.count + len(self.seen) + len(self.pages[0]))]

    async def on_timer(self, timer: Timer, ctx: Context[int]) -> list[tuple[int, int]]:
        if self.count > 100:
            raise ValueError(timer.name)
        return []


async def test_what_failed_is_undone_and_goes_aside() -> None:
    """A call that raises, one that never ends, and one that somebody else cancelled (T67, T69)."""
    Fragile.keys.clear()
    out: list[Any] = []
    failed: list[Failure[int]] = []
    aside: list[int] = []
    pipeline = Pipeline("p")
    given = (
        pipeline.source([1, 5, 7, 8, 9, 10])
        .key_by(lambda _: 0)
        .process(Fragile, errors=FAILED, timeout=0.2, retry=Retry(2, on=OSError, backoff=0))
    )
    given.sink(out.append)
    given.side_output(FAILED).sink(failed.append)
    given.side_output(ASIDE).sink(aside.append)
    async with pipeline.run() as job:
        await job.wait()
    assert out == [(1, 3), (8, 6), (10, 9)]  # each of the three states has three
    assert aside == [1, 8, 10]
    assert [(each.value, each.error_type, each.attempts) for each in failed] == [
        (5, "ValueError", 1),
        (7, "TimeoutError", 1),
        (9, "RuntimeError", 1),
    ]
    assert "five" in failed[0].traceback
    assert failed[0].operator == "Fragile"
    assert len(set(Fragile.keys[8])) == 1  # the same key for both attempts


@pytest.mark.parametrize("value", [5, 9])
async def test_what_fails_fails_the_job_and_says_where(value: int) -> None:
    pipeline = Pipeline("p")
    pipeline.source([1, value]).key_by(lambda _: 0).process(Fragile, retry=Retry(2, backoff=0)).sink(print)
    failure = await failure_of(pipeline)
    assert (failure.operator, failure.record) == ("Fragile", value)
    assert failure.__cause__ is not None
    if value == 5:
        assert failure.__cause__.__notes__ == ["after 2 attempts"]


class Two(KeyedCoProcess[int, int, str, str]):
    seen: ValueState[str] = ValueState("")

    async def on_left(self, value: int, ctx: Context[int]) -> list[str]:
        await anyio.sleep(0.001)
        self.seen += str(value)
        return [self.seen]

    def on_right(self, value: str, ctx: Context[int]) -> list[str]:
        self.seen += value
        return [self.seen]


async def test_two_inputs_one_of_them_async() -> None:
    out: list[str] = []
    pipeline = Pipeline("p")
    left = pipeline.source([1, 2, 3]).key_by(lambda _: 0)
    right = pipeline.source(["a", "b"]).key_by(lambda _: 0)
    left.connect(right).process(Two, concurrency=2).sink(out.append)
    async with pipeline.run() as job:
        await job.wait()
    assert [len(each) for each in out] == [1, 2, 3, 4, 5]
    assert sorted(out[-1]) == ["1", "2", "3", "a", "b"]


class Gives(KeyedProcess[int, int, Any]):
    def __init__(self, given: object) -> None:
        self.given = given

    async def on_element(self, value: int, ctx: Context[int]) -> Any:
        return self.given


@pytest.mark.parametrize("given", ["text", b"bytes", 3])
async def test_a_handler_gives_a_list_or_nothing(given: object) -> None:
    pipeline = Pipeline("p")
    pipeline.source([1]).key_by(lambda _: 0).process(lambda: Gives(given), name="gives").sink(print)
    failure = await failure_of(pipeline)
    assert isinstance(failure.__cause__, TypeError)


async def test_one_that_swallows_its_cancellation_does_not_hold_up_the_end() -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    class Stubborn(KeyedProcess[int, int, int]):
        async def on_element(self, value: int, ctx: Context[int]) -> list[int]:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await release.wait()
            return [value]

    pipeline = Pipeline("p")
    pipeline.source([1]).key_by(lambda _: 0).process(Stubborn).sink(print)
    async with dying(pipeline):
        await begun.wait()
        asyncio.get_running_loop().call_later(0.05, release.set)
    assert release.is_set()
