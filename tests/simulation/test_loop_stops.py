"""A job with a loop that is told to stop ends, also where its last checkpoint fails at first."""

from __future__ import annotations

import errno
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
import pytest

from actorstream import Context, KeyedProcess, Pipeline, Settings, Timer, ValueState
from actorstream.model.world import World
from actorstream.system.current import current_world, use_world
from actorstream.testing.disk import temporary_disk
from actorstream.testing.faults import InterceptedFiles, disk_error
from actorstream.testing.run import run_simulated
from tests.runtime.doubles import Splits, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorstream import Stream
    from actorstream.testing.faults import CallKind

Hop = tuple[int, int]


class Full(InterceptedFiles):
    """A disk that takes no manifest for as long as it is told."""

    full = False

    def _before(self, kind: CallKind, path: str, half: Callable[[], None] | None = None) -> None:
        if self.full and kind == "link" and path.endswith("/manifest.json"):
            raise disk_error(errno.ENOSPC, path)


class Later(KeyedProcess[int, int, Hop]):
    """Gives each record again and again, by the clock: so records come behind barriers, whatever sources do."""

    given: ValueState[int] = ValueState(0)

    def on_element(self, value: int, ctx: Context[int], /) -> None:
        self.given = value
        ctx.set_timer(ctx.now + timedelta(milliseconds=20), domain="processing")

    def on_timer(self, timer: Timer, ctx: Context[int], /) -> Iterator[Hop]:
        yield self.given, 3
        ctx.set_timer(ctx.now + timedelta(milliseconds=20), domain="processing")


def body(hops: Stream[Hop]) -> tuple[Stream[Hop], Stream[Hop]]:
    less = hops.map(lambda hop: (hop[0], hop[1] - 1))
    return less.filter(lambda hop: hop[1] > 0), less.filter(lambda hop: hop[1] == 0)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_stop_whose_first_checkpoint_fails_comes_to_its_end(parallelism: int) -> None:
    """Heads take nothing behind the last barrier; when that one came to nothing, the next stands behind records."""
    target = Target()

    async def main() -> None:
        pipeline = Pipeline("t", max_parallelism=16)
        source = pipeline.source(Splits({"0": [1, 2, 3], "1": [4, 5, 6]}, ended=False), name="in")
        later = source.key_by(lambda value: value).process(Later, name="later")
        later.feedback(body, name="loop").sink(target, name="out")
        world = current_world()
        files = Full(world.files)
        with use_world(World(world.clock, files, world.offload, world.random, processes=world.processes)):
            async with pipeline.run(
                store=f"{disk.root}/store",
                parallelism=parallelism,
                checkpoint_interval=None,
                settings=Settings(tolerated_failures=-1, checkpoint_timeout=1.0),
            ) as job:
                await anyio.sleep(0.2)
                files.full = True
                with anyio.fail_after(30):
                    async with anyio.create_task_group() as group:
                        group.start_soon(job.stop)
                        await anyio.sleep(2)
                        files.full = False

    with temporary_disk() as disk:
        run_simulated(main, disk=disk, call_delay=0.001).value()
    assert target.committed
