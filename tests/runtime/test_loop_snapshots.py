"""A checkpoint that was taken while records went round: what becomes of them elsewhere than in their loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import JobFailed, Pipeline, RestoreError, Settings, StoreError, replayable
from actorstream.evolve import open_snapshot, write_savepoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from actorstream import Stream

RECORDS = 5
"""So many go round, until they are told to leave."""


class Going:
    """What a run of the pipeline is told from outside."""

    def __init__(self, *, on: bool) -> None:
        self.on = on
        self.seen = 0
        self.round = asyncio.Event()

    def take(self, value: int) -> int:
        self.seen += 1
        if self.seen > 3 * RECORDS:
            self.round.set()
        return value


async def numbers(after: int | None) -> AsyncIterator[tuple[int, int]]:
    for number in range(0 if after is None else after + 1, RECORDS):
        yield number, number
    await asyncio.Event().wait()


def looping(going: Going, name: str = "loop") -> Pipeline:
    def body(values: Stream[int]) -> tuple[Stream[int], Stream[int]]:
        taken = values.map(going.take, name="take")
        return taken.filter(lambda _: going.on, name="back"), taken.filter(lambda _: not going.on, name="leave")

    pipeline = Pipeline("p")
    left = pipeline.source(replayable(numbers), name="in").feedback(body, name=name)
    left.key_by(lambda value: value).count(name="left")
    return pipeline


def straight(name: str = "take") -> Pipeline:
    """The same without the loop; an operator may have its name."""
    pipeline = Pipeline("p")
    values = pipeline.source(replayable(numbers), name="in").map(lambda value: value, name=name, new_chain=True)
    values.key_by(lambda value: value).count(name="left")
    return pipeline


async def checkpointed(store: Path, savepoint: str | None = None) -> None:
    """Leave a store whose newest checkpoint was taken while all records went round."""
    going = Going(on=True)
    with pytest.raises(KeyError):  # noqa: PT012  (the block is what is crashed out of)
        async with looping(going).run(store=store, checkpoint_interval=None) as job:
            await going.round.wait()
            if savepoint is None:
                await job.checkpoint()
            else:
                await job.savepoint(savepoint)
            raise KeyError("as a crash")


async def left(pipeline: Pipeline, store: Path, savepoint: str | None = None, **given: Any) -> dict[int, int]:
    """Go on from there; give how often each number has left, once all have that are there."""
    begun = None if savepoint is None else str(store / "p" / "savepoints" / savepoint)
    async with pipeline.run(store=store, restore=begun, checkpoint_interval=None, settings=Settings(**given)) as job:
        await job.stop(savepoint="at-the-end", drain=True)
    with open_snapshot(store / "p" / "savepoints" / "at-the-end") as snapshot:
        assert not snapshot.manifest.in_flight, "a drain lets out what goes round"
        return dict(snapshot.state("left", "value").items())


def refusals() -> list[tuple[Pipeline, str]]:
    """Pipelines in which the loop is gone, also where an operator has its name, and what is said."""
    gone = (
        r"5 records that were awaited by, or went round in loop 'loop', which the pipeline does not have"
        r".*drain=True.*allow_dropped=\['loop"
    )
    return [
        (straight(), gone),
        (straight("loop"), r"went round in loop 'loop', which is no loop any more.*allow_dropped"),
    ]


@pytest.mark.parametrize("savepoint", [None, "kept"])
async def test_what_went_round_is_not_lost_where_the_loop_is_gone_unless_that_is_said(
    tmp_path: Path, savepoint: str | None
) -> None:
    """Also from a savepoint: it is aligned, and yet holds what went round."""
    await checkpointed(tmp_path, savepoint)
    for pipeline, match in refusals():
        with pytest.raises((RestoreError, JobFailed), match=match):
            await left(pipeline, tmp_path, savepoint)
    assert await left(straight(), tmp_path, savepoint, allow_dropped=["loop"]) == {}


async def test_an_operator_of_the_loop_s_name_drops_what_went_round_too(tmp_path: Path) -> None:
    await checkpointed(tmp_path)
    assert await left(straight("loop"), tmp_path, allow_dropped=["loop"]) == {}


@pytest.mark.parametrize(("name", "given"), [("loop", {}), ("other", {"restore_as": {"loop": "other"}})])
async def test_what_went_round_goes_on_in_its_loop_whatever_that_is_called_now(
    tmp_path: Path, name: str, given: dict[str, Any]
) -> None:
    await checkpointed(tmp_path)
    assert await left(looping(Going(on=False), name), tmp_path, **given) == dict.fromkeys(range(RECORDS), 1)


async def test_offline_tools_read_a_checkpoint_of_a_loop_and_write_no_savepoint_from_it(tmp_path: Path) -> None:
    """They would lose what went round: the message says how it comes out of the loop."""
    await checkpointed(tmp_path)
    with open_snapshot(tmp_path / "p") as snapshot:
        assert sum(entry.records for entry in snapshot.manifest.in_flight) == RECORDS
        base = str(tmp_path / "p" / "checkpoints" / str(snapshot.manifest.checkpoint))
    match = r"5 records that were awaited by, or went round in loop 'loop', which cannot.*drain=True"
    written = write_savepoint(looping(Going(on=False)), str(tmp_path / "written"), base=base)
    with pytest.raises(StoreError, match=match), written:
        pass
    assert not (tmp_path / "written").exists()
