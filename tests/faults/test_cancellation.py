"""The task that hosts a job is cancelled at any step: its block ends at once, nothing is left, nothing is lost.

The sweep goes through every k-th step of what hosts do (cancelling.py); `make sweep` takes every step, and cancels a
second time soon after the first. A step is a place: the job is at another one at each of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from actorstream.testing.disk import temporary_disk
from tests.faults.cancelling import DEEDS, NUMBERS, Rig, cancelled, expected, open_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PROMPT_S = 1.0
"""Calls in threads that have begun come to their end first: a slow one takes up to 0.4 s here."""
STRIDES = {"visit": 23, "follow": 13, "ask_while_it_rescales": 19, "fail_inside": 1}
_USUAL = 7

pytestmark = [pytest.mark.simulation]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Hundreds of jobs that are cancelled say so."""
    caplog.set_level("CRITICAL", "actorstream")


def sweep(deed: str, stride: int, seed: int, again: Sequence[int] = ()) -> Counter[str]:
    """Cancel the host at every `stride`-th step, and `again` so many steps later; give how it ended, how often."""
    with temporary_disk() as disk:
        steps = cancelled(deed, disk, seed=seed).steps
    ends: Counter[str] = Counter()
    for step in range(seed % stride, steps, stride):
        at = (step, *(step + gap for gap in again))
        with temporary_disk() as disk:
            try:
                ended = cancelled(deed, disk, at, seed)
            except Exception as error:
                error.add_note(f"{deed}, seed {seed}, cancelled at {at}")
                raise
        assert ended.late_s < PROMPT_S, f"{deed}, seed {seed}, cancelled at {at}: ended {ended.late_s} s later"
        assert (ended.end == "cancelled") is (ended.cancellations > 0), f"{deed}, seed {seed}, {at}: {ended}"
        ends[ended.end] += 1
    return ends


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("deed", DEEDS)
def test_a_host_that_is_cancelled_at_any_step_leaves_nothing_behind(deed: str) -> None:
    ends = sweep(deed, STRIDES.get(deed, _USUAL), seed=2)
    assert ends["cancelled"] >= 10, ends


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("deed", ["stop", "fail_inside", "to_the_end"])
@pytest.mark.parametrize("gap", [1, 6])
def test_a_host_that_is_cancelled_twice_leaves_nothing_behind(deed: str, gap: int) -> None:
    """A second cancellation does not cut short what the first one has begun: whoever leaves waits for the job's end."""
    ends = sweep(deed, _USUAL, seed=1, again=[gap])
    assert ends["cancelled"] >= 10, ends


@pytest.mark.verify
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("again", [(), (1,), (4,), (15,), (2, 9)], ids=str)
def test_a_host_may_be_cancelled_at_every_single_step(deed: str, again: Sequence[int]) -> None:
    for seed in range(3):
        ends = sweep(deed, 1, seed, again)
        assert ends["cancelled"] >= 50, ends


# ---- what the sweep has found, each by itself, with real threads


class Gate(RealFiles):
    """Holds up the proof of a layer, which comes right before it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def identity(self, path: str, /) -> str:
        if path.endswith(".lmdb") and "/layers/" in path:
            self.reached.set()
            assert self.open.wait(20)
        return super().identity(path)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


async def test_a_host_that_is_cancelled_while_layers_are_opened_leaves_none_open(tmp_path: Path, gate: Gate) -> None:
    """The thread comes to its end, and what it has opened must not be lost with the result that nobody takes."""
    rig = Rig(str(tmp_path))
    await rig.append_up_to(len(NUMBERS))
    async with rig.run():
        await rig.committed(len(NUMBERS))
    await rig.close()
    before = open_files()

    async def host() -> None:
        async with rig.run():
            pytest.fail("it came up")

    with use_world(replace(current_world(), files=gate)):
        task = asyncio.get_running_loop().create_task(host())
    assert await asyncio.to_thread(gate.reached.wait, 20)
    task.cancel()
    gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await rig.close()
    assert open_files() == before
    assert len(list((tmp_path / "store" / "sums" / "layers").glob("*.lmdb"))) > 0, "there was one to open"


async def test_a_host_that_is_cancelled_as_it_is_told_of_a_failure_is_cancelled(tmp_path: Path) -> None:
    """Seeds 0, 1 and 3 of `fail_inside`: JobFailed came out, and the cancellation was lost."""
    rig = Rig(str(tmp_path))
    await rig.append_up_to(len(NUMBERS))
    run, up = rig.run(), asyncio.Event()

    async def host() -> None:
        async with run as job:
            up.set()
            await rig.source.append(-1)
            await job.wait()

    async def canceller() -> None:
        await up.wait()
        await run._supervisor.ended.wait()  # before the host, which the same end has woken
        task.cancel()

    task = asyncio.get_running_loop().create_task(host())
    await asyncio.gather(canceller(), task, return_exceptions=True)
    assert task.cancelled()
    await rig.close()


async def test_whoever_is_cancelled_again_and_again_still_waits_for_the_end_of_the_job(tmp_path: Path) -> None:
    rig = Rig(str(tmp_path))
    await rig.append_up_to(len(NUMBERS))
    up = asyncio.Event()

    async def host() -> None:
        async with rig.run():
            up.set()
            await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(host())
    await up.wait()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    async with rig.run():
        await rig.committed(len(NUMBERS))
    await rig.close()


async def test_a_real_host_that_is_cancelled_leaves_no_thread_no_file_and_no_lock(tmp_path: Path) -> None:
    """At a dozen moments from its start to its end, in real time."""
    rig = Rig(str(tmp_path))
    await rig.append_up_to(len(NUMBERS))
    await rig.close()
    before, threads = open_files(), Counter(thread.name for thread in threading.enumerate())
    for number in range(12):
        task = asyncio.get_running_loop().create_task(DEEDS["stop"](rig), name="host")
        await asyncio.wait([task], timeout=0.01 * number)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await rig.close()
        assert open_files() == before
        left = Counter(thread.name for thread in threading.enumerate()) - threads
        assert [name for name in left if "_" not in name] == [], "the pool's own threads are named with a number"
    async with rig.run():
        await rig.committed(len(NUMBERS))
    assert sorted(await rig.results()) == sorted(expected())
    await rig.close()
