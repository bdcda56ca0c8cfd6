"""How long records were on their way to each actor, by a sample that travels with them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actorstream import Pipeline
from actorstream.codec.frames import decode_item, encode_item
from actorstream.model.batch import Batch, SampledOrigin
from tests.api.explained import clock_by_hand, move
from tests.runtime.awaiting import let_run, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actorstream import Job


def latencies(job: Job) -> dict[str, float]:
    return {
        name.split(".")[0]: round(value, 1)
        for name, value in job.metrics().items()
        if name.endswith(".latency_seconds")
    }


async def test_it_holds_all_that_a_record_has_waited_for() -> None:
    """A slow sink counts for itself, a call of an async function for whoever comes behind it, too."""
    asked, answer = asyncio.Event(), asyncio.Event()
    at_sink, taken = asyncio.Event(), asyncio.Event()
    more = asyncio.Queue[int]()

    async def read() -> AsyncIterator[int]:
        while True:
            yield await more.get()

    async def ask(number: int) -> int:
        asked.set()
        await answer.wait()
        return number

    async def put(number: int) -> None:
        at_sink.set()
        await taken.wait()

    pipeline = Pipeline("p")
    asking = pipeline.source(read, name="in").map(ask, name="ask")
    asking.map(abs, name="behind", new_chain=True).sink(put, name="out")
    with clock_by_hand() as clock:
        async with pipeline.run(checkpoint_interval=None) as job:
            await let_run()
            assert latencies(job) == {}
            more.put_nowait(1)
            await asked.wait()
            assert latencies(job) == {"in": 0}
            move(clock, 3)
            answer.set()
            await at_sink.wait()
            assert latencies(job) == {"in": 0, "ask": 3}
            move(clock, 4)
            taken.set()
            await until(lambda: "behind" in latencies(job))
            assert latencies(job) == {"in": 0, "ask": 3, "behind": 7}
            more.put_nowait(2)
            await until(lambda: latencies(job)["behind"] == 0)
            await job.stop()


def test_what_is_stored_of_a_sample_is_where_it_was_read() -> None:
    """The clock of durations means nothing to another process."""
    batch = Batch([1], origin=SampledOrigin.begin("0", 7, 12.5))
    assert batch.origin == ("0", 7)
    decoded = decode_item(encode_item(batch))
    assert isinstance(decoded, Batch)
    assert type(decoded.origin) is tuple
