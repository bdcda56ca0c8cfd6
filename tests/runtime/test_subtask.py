"""An actor by itself: barriers, blocked lanes, control messages and the end of input, with its lanes in our hands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.errors import InvariantError
from actorstream.model.batch import Batch
from actorstream.model.connect import Fetched
from actorstream.model.ids import CheckpointId
from actorstream.model.signals import Barrier, CancelBarrier, EndOfInput
from actorstream.runtime.messages import (
    AbortCheckpoint,
    Acked,
    Committed,
    CompleteCheckpoint,
    Declined,
    Finished,
    TriggerCheckpoint,
)
from actorstream.state.memtable import MISSING
from tests.runtime.deploying import Deploying, subtask_of
from tests.runtime.doubles import Target, settle, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from actorstream.runtime.subtask import Subtask

ONE, TWO, THREE = CheckpointId(1), CheckpointId(2), CheckpointId(3)


class Actor:
    """A count over two inputs with a transactional sink behind it; nothing else of the job runs."""

    def __init__(self, subtask: Subtask, target: Target, said: Any) -> None:
        self.subtask = subtask
        self.target = target
        self._said = said

    async def put(self, lane: int, *items: Any) -> None:
        """Give items to a lane: a number is a batch of one record under the key 0."""
        for item in items:
            self.subtask.mailbox.lanes[lane].put(Batch([item], None, [0]) if isinstance(item, int) else item)
        await settle(50)

    async def tell(self, message: Any) -> None:
        self.subtask.mailbox.tell(message)
        await settle(50)

    def said(self) -> list[Any]:
        """Take what the actor told the coordinator."""
        told = list(self._said)
        self._said.clear()
        return told

    async def acked(self) -> Any:
        """Wait for the next snapshot to be durable."""
        await until(lambda: any(isinstance(message, Acked) for message in self._said))
        (ack,) = [message for message in self.said() if isinstance(message, Acked)]
        return ack

    def count(self) -> object:
        """Give how many records were handled."""
        assert self.subtask.state is not None
        row = self.subtask.state.rows.peek(0)
        return 0 if row is MISSING else row


@pytest.fixture
def pipeline_and_target() -> tuple[Pipeline, Target]:
    target = Target()
    pipeline = Pipeline("t")
    one, other = pipeline.source([0], name="one"), pipeline.source([0], name="other")
    one.union(other).key_by(lambda v: 0).count(name="count").sink(target, name="out")
    return pipeline, target


async def with_actor(made: tuple[Pipeline, Target], store: Path, body: Callable[[Actor], Any]) -> None:
    """Run the actor and its snapshots beside `body`."""
    pipeline, target = made
    built = await Deploying(pipeline, store).build()
    subtask = subtask_of(built, "count")
    actor = Actor(subtask, target, built.coordinator._messages)

    async def start() -> None:
        """Begin at once."""

    async with anyio.create_task_group() as group:
        group.start_soon(subtask.run, lambda: None, start)
        group.start_soon(subtask.snapshots.run)
        await settle()
        await body(actor)
        group.cancel_scope.cancel()
    await built.close()


Made = tuple[Pipeline, Target]


async def test_snapshot_is_taken_when_the_barrier_is_in_on_every_input(
    pipeline_and_target: Made, tmp_path: Path
) -> None:
    """T01: what follows the first barrier waits, and is not in the snapshot."""

    async def body(actor: Actor) -> None:
        await actor.put(0, 1, Barrier(ONE), 2, 3)
        await actor.put(1, 4)
        assert actor.count() == 2
        assert actor.said() == []
        await actor.put(1, Barrier(ONE))
        ack = await actor.acked()
        assert (ack.checkpoint, ack.report.entries) == (ONE, 1)
        assert [token.checkpoint for token in ack.report.pending["out"]] == [ONE]
        assert actor.count() == 4

    await with_actor(pipeline_and_target, tmp_path, body)


async def test_barrier_does_not_wait_for_an_input_that_has_ended(pipeline_and_target: Made, tmp_path: Path) -> None:
    async def body(actor: Actor) -> None:
        await actor.put(1, EndOfInput())
        await actor.put(0, 1, Barrier(ONE))
        assert (await actor.acked()).checkpoint == ONE

    await with_actor(pipeline_and_target, tmp_path, body)


async def test_end_of_input_releases_an_alignment_that_waits_for_it(pipeline_and_target: Made, tmp_path: Path) -> None:
    async def body(actor: Actor) -> None:
        await actor.put(0, Barrier(ONE), 1)
        await actor.put(1, EndOfInput())
        assert (await actor.acked()).checkpoint == ONE
        assert actor.count() == 1

    await with_actor(pipeline_and_target, tmp_path, body)


async def test_actor_whose_inputs_have_ended_says_so_and_is_then_triggered(
    pipeline_and_target: Made, tmp_path: Path
) -> None:
    """T106: what came after the last barrier is in the final checkpoint."""

    async def body(actor: Actor) -> None:
        await actor.put(0, 1, EndOfInput())
        await actor.tell(TriggerCheckpoint(ONE, stop=False))
        assert actor.said() == []
        await actor.put(1, EndOfInput())
        assert actor.said() == [Finished(actor.subtask.identity)]
        await actor.tell(TriggerCheckpoint(TWO, stop=False))
        ack = await actor.acked()
        assert (ack.checkpoint, len(ack.report.pending["out"])) == (TWO, 1)

    await with_actor(pipeline_and_target, tmp_path, body)


async def test_abort_releases_a_blocked_lane_and_the_output_rides_along(
    pipeline_and_target: Made, tmp_path: Path
) -> None:
    """T09, T104: the next checkpoint takes along what was pre-committed for one that failed."""

    async def body(actor: Actor) -> None:
        await actor.put(0, 1, Barrier(ONE), 2)
        await actor.tell(AbortCheckpoint(ONE, None))
        assert actor.count() == 2
        await actor.put(1, Barrier(ONE), 3, Barrier(TWO))
        await actor.put(0, Barrier(TWO))
        assert (await actor.acked()).checkpoint == TWO
        await actor.tell(CompleteCheckpoint(TWO))
        assert actor.said() == [Committed(actor.subtask.identity, TWO)]
        assert actor.target.committed == [(0, 1), (0, 2), (0, 3)]

    await with_actor(pipeline_and_target, tmp_path, body)


async def test_cancelled_barrier_declines_and_the_actor_goes_on(pipeline_and_target: Made, tmp_path: Path) -> None:
    async def body(actor: Actor) -> None:
        await actor.put(0, Barrier(ONE), 1)
        await actor.put(1, CancelBarrier(ONE))
        (declined,) = actor.said()
        assert isinstance(declined, Declined)
        assert declined.checkpoint == ONE
        assert actor.count() == 1

    await with_actor(pipeline_and_target, tmp_path, body)


async def test_lost_notice_is_made_good_by_the_abort_of_a_later_checkpoint(
    pipeline_and_target: Made, tmp_path: Path
) -> None:
    """T83: the abort says which one is complete."""

    async def body(actor: Actor) -> None:
        await actor.put(0, 1, Barrier(ONE))
        await actor.put(1, Barrier(ONE))
        await actor.acked()
        await actor.tell(AbortCheckpoint(TWO, ONE))
        assert actor.target.committed == [(0, 1)]

    await with_actor(pipeline_and_target, tmp_path, body)


async def test_control_is_served_between_the_records_of_a_full_lane(pipeline_and_target: Made, tmp_path: Path) -> None:
    """T127: a commit must not wait until a backlog is worked off, and no record is split or lost by it."""

    async def body(actor: Actor) -> None:
        await actor.put(0, 1, Barrier(ONE))
        await actor.put(1, Barrier(ONE))
        await actor.acked()
        lane, commit = actor.subtask.mailbox.lanes[0], actor.target.commit
        waiting: list[int] = []

        def look(token: bytes) -> None:
            waiting.append(len(lane.items))
            commit(token)

        actor.target.commit = look  # type: ignore[method-assign]
        for _ in range(200):
            lane.put(Batch([0], None, [0]))
        await actor.tell(CompleteCheckpoint(ONE))
        assert waiting == [200]
        await until(lambda: actor.count() == 201)

    await with_actor(pipeline_and_target, tmp_path, body)


async def test_control_that_posts_itself_again_does_not_hold_the_loop(
    pipeline_and_target: Made, tmp_path: Path
) -> None:
    """T22: each message brings the next one, and yet every burst ends and others have their turn."""
    made, target = pipeline_and_target
    deploying = Deploying(made, tmp_path)
    built = await deploying.build()
    subtask = subtask_of(built, "count")
    turns, posted = 0, 0
    began = anyio.Event()

    def post_again(_: object) -> None:
        nonlocal posted
        posted += 1
        if turns < 20:
            subtask.mailbox.tell(CompleteCheckpoint(ONE))

    async def start() -> None:
        subtask.mailbox.tell(CompleteCheckpoint(ONE))
        subtask.mailbox.lanes[0].put(Batch([1], None, [0]))
        began.set()

    subtask.deployment = replace(subtask.deployment, tell=post_again)
    async with anyio.create_task_group() as group:
        group.start_soon(subtask.run, lambda: None, start)
        await began.wait()
        while turns < 20:
            turns += 1
            await anyio.lowlevel.checkpoint()
        await until(lambda: subtask.statistics.records_in == 1)
        group.cancel_scope.cancel()
    assert posted > 20
    assert target.committed == []
    await built.close()


async def test_notice_after_the_actor_has_ended_is_dropped(pipeline_and_target: Made, tmp_path: Path) -> None:
    """T118: the writers are closed; the next attempt commits what the notice would have committed."""
    seen: list[Actor] = []

    async def body(actor: Actor) -> None:
        await actor.put(0, 1, Barrier(ONE))
        await actor.put(1, Barrier(ONE))
        await actor.acked()
        seen.append(actor)

    await with_actor(pipeline_and_target, tmp_path, body)
    (actor,) = seen
    await actor.tell(CompleteCheckpoint(ONE))
    assert actor.target.committed == []
    assert actor.said() == []


async def test_parked_source_reads_nothing_more_but_takes_checkpoints(tmp_path: Path) -> None:
    """A stop that has to be tried again must not let new records in."""

    class Ticking:
        async def splits(self) -> list[str]:
            return ["a"]

        async def read(self, split: str, after: int | None, /) -> AsyncIterator[Any]:
            for n in range(10_000):
                yield Fetched([n], n)
                await anyio.lowlevel.checkpoint()

    pipeline = Pipeline("t")
    seen: list[int] = []
    pipeline.source(Ticking(), name="in").sink(seen.append, name="out")
    built = await Deploying(pipeline, tmp_path).build()
    source = subtask_of(built, "in")

    async def start() -> None:
        """Begin at once."""

    async with anyio.create_task_group() as group:
        group.start_soon(source.run, lambda: None, start)
        group.start_soon(source.snapshots.run)
        group.start_soon(source.pump, 0)  # type: ignore[attr-defined]
        await until(lambda: len(seen) > 10)
        source.mailbox.tell(TriggerCheckpoint(ONE, stop=True))
        await until(lambda: built.coordinator._messages)
        taken = len(seen)
        source.mailbox.tell(AbortCheckpoint(ONE, None))
        source.mailbox.tell(TriggerCheckpoint(TWO, stop=True))
        await until(lambda: len(built.coordinator._messages) == 2)
        first, second = built.coordinator._messages
        assert isinstance(first, Acked)
        assert isinstance(second, Acked)
        assert second.checkpoint == TWO
        assert first.report.positions == second.report.positions
        assert first.report.positions["a"].position == seen[-1]
        assert len(seen) == taken
        group.cancel_scope.cancel()
    await built.close()


async def test_actor_that_is_run_before_it_is_connected_is_our_bug(pipeline_and_target: Made, tmp_path: Path) -> None:
    built = await Deploying(pipeline_and_target[0], tmp_path).build()
    subtask = subtask_of(built, "count")
    subtask._bindings = None

    async def start() -> None:
        """Begin at once."""

    with pytest.raises(InvariantError, match=r"count\[0\] runs before it is connected"):
        await subtask.run(lambda: None, start)
    await built.close()
