"""What the small operators give, as their users see it: in a job, at any parallelism, and after a restart."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import TTL, JobFailed, Pipeline, Process, UserCodeError, collect
from actorstream.testing.harness import harness

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream import ElementContext, KeyedStream, OperatorContext, Stream


class Where(Process[int, int]):
    """Notes which subtask a record came to."""

    def __init__(self, where: list[tuple[int, int]]) -> None:
        self.where = where
        self.subtask = -1

    async def open(self, ctx: OperatorContext, /) -> None:
        """Learn which one this is."""
        self.subtask = ctx.subtask

    def on_element(self, value: int, ctx: ElementContext, /) -> None:
        """Note it."""
        del ctx
        self.where.append((self.subtask, value))


@dataclass(frozen=True)
class Bid:
    """For one article."""

    article: str
    price: int
    by: str


BIDS = [Bid("a", 3, "x"), Bid("b", 9, "x"), Bid("a", 7, "y"), Bid("a", 7, "z"), Bid("b", 2, "y"), Bid("a", 1, "x")]


def of_article(record: Bid) -> str:
    return record.article


def price(record: Bid) -> int:
    return record.price


ROLLING: list[tuple[str, Callable[[KeyedStream[str, Bid]], Stream[Any]], list[Any]]] = [
    ("min", lambda k: k.min(price, name="op"), [3, 3, 3, 1]),
    ("max", lambda k: k.max(attrgetter("price"), name="op"), [3, 7, 7, 7]),
    ("min_by", lambda k: k.min_by(price, name="op"), [BIDS[0], BIDS[0], BIDS[0], BIDS[5]]),
    ("max_by", lambda k: k.max_by(attrgetter("price"), name="op"), [BIDS[0], BIDS[2], BIDS[2], BIDS[2]]),
    (
        "top_n",
        lambda k: k.top_n(2, price, name="op"),
        [(BIDS[0],), (BIDS[2], BIDS[0]), (BIDS[2], BIDS[3])],
    ),
]


@pytest.mark.parametrize(("method", "expected"), [each[1:] for each in ROLLING], ids=[each[0] for each in ROLLING])
async def test_what_a_rolling_operator_gives(
    method: Callable[[KeyedStream[str, Bid]], Stream[Any]], expected: list[Any]
) -> None:
    """One update a record, of equal ones the first; a ranking only where it has changed."""
    given = await collect(method(Pipeline("p").source(BIDS).key_by(of_article)))

    assert [value for key, value in given if key == "a"] == expected


@pytest.mark.parametrize("method", [each[1] for each in ROLLING], ids=[each[0] for each in ROLLING])
async def test_a_rolling_operator_goes_on_after_a_crash(
    method: Callable[[KeyedStream[str, Bid]], Stream[Any]],
) -> None:
    """What was stored is what was there: records, and tuples of them."""
    pipeline = Pipeline("p")
    source = pipeline.source(BIDS, name="bids")
    best = method(source.key_by(of_article))
    async with harness(pipeline) as h:
        await h.send(source, *BIDS[:3])
        before = h.outputs(best)
        await h.checkpoint()
        await h.crash_and_recover()
        await h.send(source, *BIDS[3:])

        assert before + h.outputs(best) == await collect(method(Pipeline("p").source(BIDS).key_by(of_article)))


async def test_changes_of_a_table_by_extremes_have_the_value_before() -> None:
    changes = await collect(Pipeline("p").source([2, 3, 1]).key_by(bool).min(abs).changes())

    assert [(change.old, change.new) for change in changes] == [(None, 2), (2, 2), (2, 1)]


async def test_distinct_lets_the_first_of_each_key_through() -> None:
    assert await collect(Pipeline("p").source([1, 4, 2, 7, 5, 3]).key_by(lambda n: n % 3).distinct()) == [1, 2, 3]


@pytest.mark.parametrize("parallelism", [1, 3])
async def test_distinct_knows_what_it_knew_after_a_crash(parallelism: int) -> None:
    pipeline = Pipeline("p")
    source = pipeline.source([0], name="in")
    once = source.key_by(abs).distinct(name="once")
    async with harness(pipeline, parallelism=parallelism) as h:
        await h.send(source, 1, 2, 1)
        assert sorted(h.outputs(once)) == [1, 2]
        await h.checkpoint()
        await h.crash_and_recover()
        await h.send(source, 2, 3, 1)
        assert h.outputs(once) == [3]


async def test_distinct_forgets_a_key_so_long_after_it_let_a_record_through() -> None:
    """Those it drops move nothing: a key that comes every second comes through every ten."""
    pipeline = Pipeline("p")
    source = pipeline.source([0], name="in")
    once = source.key_by(abs).distinct(ttl=10)
    async with harness(pipeline) as h:
        for second in range(25):
            await h.send(source, 7)
            if second in {0, 10, 20}:
                assert h.outputs(once) == [7]
            else:
                assert h.outputs(once) == []
            await h.advance(clock=1)


async def test_distinct_by_event_time_forgets_when_the_watermark_has_passed() -> None:
    """The watermark before a record is that of the one before it."""
    stream = Pipeline("p").source([1.0, 5.0, 11.5, 12.0, 12.0]).assign_timestamps(float)

    assert await collect(stream.key_by(bool).distinct(ttl=TTL(10, domain="event"))) == [1.0, 12.0]


async def test_inspect_shows_each_record_and_changes_none() -> None:
    seen: list[int] = []

    assert await collect(Pipeline("p").source([1, 2, 3]).inspect(seen.append).map(str)) == ["1", "2", "3"]
    assert seen == [1, 2, 3]


async def test_inspect_that_raises_names_itself() -> None:
    pipeline = Pipeline("p")
    pipeline.source([1, 0]).inspect(lambda n: 1 // n, name="look").sink(print)
    with pytest.raises(JobFailed) as failed:
        await pipeline.run()

    assert isinstance(failed.value.__cause__, UserCodeError)
    assert (failed.value.__cause__.operator, failed.value.__cause__.record) == ("look", 0)


async def test_partition_by_sends_each_record_where_the_function_says() -> None:
    """And where the next operator has another parallelism than the one before."""
    pipeline = Pipeline("p")
    chosen = pipeline.source(range(9), name="in").partition_by(lambda n, count: n % count)
    where: list[tuple[int, int]] = []
    chosen.process(lambda: Where(where), name="where", parallelism=3)
    await pipeline.run()

    assert sorted(where) == sorted((n % 3, n) for n in range(9))


@pytest.mark.parametrize(
    ("fn", "message"), [(lambda n, _: str(n), "expected a subtask's index"), (max, "expected 0 to")]
)
async def test_partition_by_that_gives_no_subtask_fails_with_the_record(fn: Any, message: str) -> None:
    pipeline = Pipeline("p")
    pipeline.source([7], name="in").partition_by(fn).map(abs, parallelism=2).sink(print, parallelism=2)
    with pytest.raises(JobFailed, match=message) as failed:
        await pipeline.run()

    assert isinstance(failed.value.__cause__, UserCodeError)
    assert failed.value.__cause__.record == 7


def test_describe_says_who_chooses() -> None:
    pipeline = Pipeline("p")
    pipeline.source([1], name="in").partition_by(max).map(abs, name="abs")

    assert "=partition_by=> abs" in pipeline.describe()
