"""A window join whose inputs both come out of its own actor, or over two exchanges: the same results either way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from actorstream import JobFailed, Pipeline, Tumbling
from actorstream.model.connect import Fetched
from actorstream.testing import harness
from tests.runtime.doubles import Splits, Target, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from actorstream import Job, Stream

SIZE = 10


class Seen(NamedTuple):
    """A record of second `at`, none later than three others."""

    at: int
    number: int


RECORDS = [Seen(max(0, number // 4 + (0, -2, 1, -1)[number % 4]), number) for number in range(400)]


def key_of(seen: Seen) -> int:
    return seen.number % 3


def pairs_by_hand(records: Sequence[Seen]) -> list[tuple[int, int]]:
    return sorted(
        (left.number, right.number)
        for left in records
        for right in records
        if left.at // SIZE == right.at // SIZE
        and left.number % 2 == 0
        and right.number % 5 == 0
        and key_of(left) == key_of(right)
    )


def joined(timed: Stream[Seen], **options: Any) -> Stream[tuple[int, int]]:
    left = timed.filter(lambda seen: seen.number % 2 == 0).key_by(key_of)
    right = timed.filter(lambda seen: seen.number % 5 == 0).key_by(key_of)
    pairs = left.window_join(right, Tumbling(SIZE), name="pairs", **options)
    return pairs.map(lambda pair: (pair.value[0].number, pair.value[1].number))


IN_ORDER = sorted(RECORDS)


class WithTimes:
    """A source that knows the times of its records; where nobody says otherwise, they are taken to ascend."""

    async def splits(self) -> Sequence[str]:
        return ["a"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, Seen]]:
        for start in range(0 if after is None else after + 1, len(IN_ORDER), 7):
            some = IN_ORDER[start : start + 7]
            yield Fetched(some, start + len(some) - 1, [seen.at for seen in some])


@pytest.mark.parametrize("parallelism", [1, 3])
async def test_times_may_come_from_the_source(parallelism: int) -> None:
    pipeline = Pipeline("p")
    target = Target()
    joined(pipeline.source(WithTimes(), name="in")).sink(target, name="out", parallelism=1)
    await pipeline.run(parallelism=parallelism)
    assert sorted(target.committed) == pairs_by_hand(RECORDS)


def has_read(job: Job, count: int) -> bool:
    return job.summary().records_in == count


@pytest.mark.parametrize(
    "new_chains", [(False, True, False), (True, False, True)], ids=["one, two, one", "two, one, two"]
)
async def test_state_and_time_follow_it_into_another_actor(tmp_path: Path, new_chains: tuple[bool, ...]) -> None:
    """ADR 004: a checkpoint of either form restores into the other."""
    target = Target()
    before = 0
    for new_chain, upto in zip(new_chains, (110, 250, len(RECORDS)), strict=True):
        halves = {"a": RECORDS[::2], "b": RECORDS[1::2]}
        source = Splits(halves, batch=7, allowed=upto // 2, ended=upto == len(RECORDS))
        pipeline = Pipeline("p")
        timed = pipeline.source(source, name="in").assign_timestamps(lambda seen: seen.at, out_of_orderness=3)
        joined(timed, new_chain=new_chain).sink(target, name="out")
        async with pipeline.run(store=tmp_path, checkpoint_interval=None) as job:
            await until(partial(has_read, job, upto - before))
            before = upto
            if source.ended:
                await job.wait()
    assert sorted(target.committed) == pairs_by_hand(RECORDS)


async def test_an_error_names_the_operator_on_its_way() -> None:
    """The text of what follows the join is written once for each input, and once for what is due."""

    def broken(pair: tuple[int, int]) -> object:
        raise ValueError(pair)

    pipeline = Pipeline("p")
    source: list[Seen] = []
    timed = pipeline.source(source).assign_timestamps(lambda seen: seen.at)
    joined(timed).map(broken, name="broken")
    with pytest.raises(JobFailed, match=r"broken \(subtask 0\) raised ValueError: \(0, 0\) when its time had come"):
        async with harness(pipeline) as h:
            await h.send(source, *RECORDS)
