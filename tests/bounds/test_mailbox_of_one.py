"""A mailbox that takes one record: slower, but the same results, in every shape that a pipeline can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from actorstream import Pipeline
from actorstream.operators.windows.assigners import Tumbling
from actorstream.runtime.mailbox import Mailbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actorstream.api.stream import Stream

NUMBERS = list(range(120))


def source(pipeline: Pipeline, name: str = "in") -> Stream[int]:
    return pipeline.source(NUMBERS, name=name)


def timed(pipeline: Pipeline, name: str = "in") -> Stream[int]:
    return source(pipeline, name).assign_timestamps(float, name=f"{name}-times")


def straight(pipeline: Pipeline, out: list[Any]) -> None:
    source(pipeline).rebalance().map(lambda n: n + 1, parallelism=2).rebalance().sink(out.append, parallelism=1)


def keyed(pipeline: Pipeline, out: list[Any]) -> None:
    source(pipeline).key_by(lambda n: n % 7).count(name="counts").changes().sink(out.append, parallelism=1)


def twice_keyed(pipeline: Pipeline, out: list[Any]) -> None:
    sums = source(pipeline).key_by(lambda n: n % 7).sum(lambda n: n, name="sums").changes()
    sums.key_by(lambda pair: pair[0] % 2).count(name="counts").changes().sink(out.append, parallelism=1)


def union(pipeline: Pipeline, out: list[Any]) -> None:
    both = source(pipeline, "left").union(source(pipeline, "right").map(lambda n: -n))
    both.key_by(abs).count(name="counts").changes().sink(out.append, parallelism=1)


def diamond(pipeline: Pipeline, out: list[Any]) -> None:
    numbers = source(pipeline).rebalance().map(lambda n: n, name="top", parallelism=2)
    even = numbers.rebalance().filter(lambda n: n % 2 == 0, name="even", parallelism=2)
    odd = numbers.rebalance().filter(lambda n: n % 2 == 1, name="odd", parallelism=2)
    even.union(odd).key_by(lambda n: n % 3).count(name="counts").changes().sink(out.append, parallelism=1)


def windows(pipeline: Pipeline, out: list[Any]) -> None:
    stream = timed(pipeline).key_by(lambda n: n % 3)
    stream.window(Tumbling(10)).count(name="windows").map(tuple).sink(out.append, parallelism=1)


def joined(pipeline: Pipeline, out: list[Any]) -> None:
    left = timed(pipeline, "left").key_by(lambda n: n % 3)
    right = timed(pipeline, "right").key_by(lambda n: n % 3)
    pairs = left.interval_join(right, before=1, after=1, name="pairs")
    pairs.map(repr).sink(out.append, parallelism=1)


SHAPES = [straight, keyed, twice_keyed, union, diamond, windows, joined]


@pytest.mark.parametrize("parallelism", [1, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=[shape.__name__ for shape in SHAPES])
async def test_one_record_at_a_time_gives_what_thousands_give(
    tmp_path: Path, shape: Callable[[Pipeline, list[Any]], None], parallelism: int
) -> None:
    """With checkpoints as fast as they come: barriers, alignment and the end must get through as well."""

    async def results(name: str) -> list[str]:
        out: list[Any] = []
        pipeline = Pipeline(name)
        shape(pipeline, out)
        await pipeline.run(store=tmp_path / name, parallelism=parallelism, checkpoint_interval=0.001)
        return sorted(map(repr, out))

    usual = await results("usual")
    with patch.object(Mailbox.__init__, "__defaults__", (1,)):
        assert await results("one") == usual
    assert len(usual) > 10
