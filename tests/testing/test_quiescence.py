"""At rest is who waits with nothing to do; everybody else is named."""

from __future__ import annotations

import pytest

from actorstream.model.ids import ChannelIndex, CheckpointId
from actorstream.model.signals import Idle
from actorstream.runtime.messages import CheckpointRequest, SnapshotReport
from actorstream.testing.harness import Harness, harness
from actorstream.testing.quiescence import StillBusyError, busy_in, wait_until
from tests.testing.words import Words


async def test_a_job_is_at_rest_between_two_calls() -> None:
    words = Words()
    async with harness(words.pipeline, parallelism=2) as h:
        assert busy(h) is None
        await h.send(words.source, "a b")
        assert busy(h) is None


async def test_each_that_has_something_to_do_is_named() -> None:
    """Nothing of it has begun yet: one look is enough, in the same turn of the loop."""
    words = Words(parallelism=2)
    async with harness(words.pipeline) as h:
        built = h._run.built
        assert built is not None
        counts = next(each for each in built.subtasks.values() if each.chain.head.name == "counts")

        next(iter(h._journal.splits)).release(1)
        assert busy(h) == "split '0' of a source has 1 entries to read"
        next(iter(h._journal.splits)).released = 0
        await h._rest()

        counts.mailbox.block(ChannelIndex(0))
        counts.mailbox.lanes[0].put(Idle(), 1)
        assert busy(h) == "counts[0] has 33 records in its mailbox"
        counts.mailbox.lanes[0].take()
        counts.mailbox.unblock([ChannelIndex(0)])
        assert busy(h) is None

        counts.mailbox.arrival.wake()
        assert busy(h) == "counts[0] works on a batch"
        await h._rest()

        counts.snapshots.submit(CheckpointId(99), None, SnapshotReport())
        assert busy(h) == "counts[0] writes a snapshot"
        await h._rest()

        built.coordinator.tell(CheckpointRequest(7, stop=False))
        assert busy(h) == "the coordinator is at work on a checkpoint"
        await h._rest()


def busy(h: Harness) -> str | None:
    built = h._run.built
    assert built is not None
    return busy_in(built, h._journal.splits)


async def test_waiting_ends_with_the_first_look_that_finds_nobody() -> None:
    looks = iter(["one", "two", None, "never"])
    await wait_until(lambda: next(looks), 5)

    assert list(looks) == ["never"]


async def test_waiting_for_ever_ends_with_a_name() -> None:
    with pytest.raises(StillBusyError, match=r"after 0\.01 s .*: somebody\. "):
        await wait_until(lambda: "somebody", 0.01)
