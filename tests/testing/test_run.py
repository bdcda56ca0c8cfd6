"""How simulated processes end, and that sweeping all crash points finds each missing step of a write-ahead program."""

from __future__ import annotations

import asyncio
import errno
import gc
import random
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from actorstream.errors import InvariantError, StoreError
from actorstream.state import lmdb_env
from actorstream.system.current import current_world
from actorstream.testing.disk import SimulatedDisk, temporary_disk
from actorstream.testing.faults import Fault, FaultyFiles
from actorstream.testing.loop import DeadlockError, SimulatedCrash, SimulatedLoop
from actorstream.testing.run import Outcome, run_simulated
from actorstream.testing.world import SimulatedWorld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.model.world import FileSystem

VALUE = b"the value that was promised" * 3


@pytest.fixture
def disk() -> Iterator[SimulatedDisk]:
    with temporary_disk() as disk:
        yield disk


# -- a write-ahead program: the promise is given after the last step ---------------------------------------------------


class WriteAhead:
    """Write to a temporary name, sync, link to the final name, sync the folder, promise; `omit` leaves one step out."""

    def __init__(self, disk: SimulatedDisk, omit: str | None = None) -> None:
        self.folder = f"{disk.root}/store"
        self.omit = omit
        self.promised = False

    async def main(self) -> None:
        """Run from any state that a crash may have left."""
        world = current_world()
        assert isinstance(world, SimulatedWorld)
        await world.offload.run(world.files.make_dirs, self.folder)
        found = world.files.exists(f"{self.folder}/final")
        if not found and self.omit == "order":
            await world.offload.run(self.publish_before_content, world.files)
        elif not found:
            await world.offload.run(self.put, world.files)
            await world.offload.run(self.publish, world.files)
        # Also where the name was found: whoever linked it may have been killed before its sync.
        if self.omit != "sync_dir" and not (found and self.omit == "sync_dir again"):
            await world.offload.run(world.files.sync_dir, self.folder)
        await anyio.sleep(1)
        world.ensure_alive()
        self.promised = True

    def put(self, files: FileSystem) -> None:
        """Write the content under its temporary name."""
        files.unlink(f"{self.folder}/tmp")
        file = files.create(f"{self.folder}/tmp")
        file.write(VALUE)
        if self.omit != "sync":
            file.sync()
        file.close()

    def publish(self, files: FileSystem) -> None:
        """Give it its final name."""
        files.link(f"{self.folder}/tmp", f"{self.folder}/final")
        files.unlink(f"{self.folder}/tmp")

    def publish_before_content(self, files: FileSystem) -> None:
        """Do it the wrong way round."""
        file = files.create(f"{self.folder}/final")
        files.sync_dir(self.folder)
        file.write(VALUE)
        file.sync()
        file.close()


def broken_promise(disk: SimulatedDisk, program: WriteAhead) -> str | None:
    path = f"{program.folder}/final"
    if not disk.exists(path):
        return "lost" if program.promised else None
    return None if disk.read(path) == VALUE else "torn"


def sweep(omit: str | None, draws: int = 5) -> Iterator[str]:
    """Crash at every step and every disk operation, by power and by kill, and go on; give what goes wrong."""
    with temporary_disk() as disk:
        clean = run_simulated(WriteAhead(disk, omit).main, disk=disk)
    assert clean.error is None
    points: list[tuple[int | None, int | None]] = [(step, None) for step in range(1, clean.steps + 1)]
    points += [(None, operation) for operation in range(1, clean.disk_operations + 1)]
    points += [(None, None)]  # the power goes after a good end
    for point in points:
        for draw in range(draws):
            yield from crash_once(point, draw, omit)


def crash_once(point: tuple[int | None, int | None], draw: int, omit: str | None) -> set[str]:
    with temporary_disk() as disk:
        program = WriteAhead(disk, omit)
        outcome = run_simulated(program.main, disk=disk, crash_at=point[0], crash_at_operation=point[1])
        assert (outcome.crash is None) == (point == (None, None)), outcome
        if draw:
            disk.power_cut(random.Random(f"{point} {draw}"))
        problems = {broken_promise(disk, program)}
        assert run_simulated(program.main, disk=disk, seed="again").error is None
        disk.power_cut(random.Random(f"{point} {draw} again"))
        problems.add(broken_promise(disk, program))
        return {problem for problem in problems if problem}


def test_the_right_order_never_breaks_its_promise() -> None:
    """At no step, at no disk operation, neither by kill nor by power cut; and the next process recovers."""
    assert list(sweep(omit=None)) == []


@pytest.mark.parametrize(
    ("omit", "seen"), [("sync", "torn"), ("sync_dir", "lost"), ("sync_dir again", "lost"), ("order", "torn")]
)
def test_each_omitted_sync_is_found(omit: str, seen: str) -> None:
    """A sweep that finds nothing in a wrong program proves nothing about a right one."""
    assert seen in sweep(omit)


def test_every_failing_disk_operation_is_reached(disk: SimulatedDisk) -> None:
    """fail_at goes through all changes of the disk, one run each, until none is left to fail."""
    fired = 0
    for operation in range(1, 100):
        with temporary_disk() as fresh:
            outcome = run_simulated(WriteAhead(fresh).main, disk=fresh, fail_at={operation: errno.EIO})
        if outcome.error is None:
            break
        assert isinstance(outcome.error, OSError)
        fired += 1
    clean = run_simulated(WriteAhead(disk).main, disk=disk)

    assert fired == clean.disk_operations


def test_a_kill_by_kind_of_call_ends_the_whole_process(disk: SimulatedDisk) -> None:
    """`FaultyFiles` in a simulation kills as the disk does: everything stops, the dead process is fenced."""
    program = WriteAhead(disk)
    kill_at_link = Fault(1, "kill", kinds=frozenset({"link"}))
    outcome = run_simulated(
        program.main, disk=disk, wrap_files=lambda files: FaultyFiles(files, kill_at_link, kill=files.die)
    )

    assert outcome.crash is not None
    assert outcome.crash.startswith("killed by a fault, step")
    assert disk.list_dir(program.folder) == ["tmp"]


def test_wrapped_files_are_what_the_program_sees(disk: SimulatedDisk) -> None:
    """Faults by kind go on top of the disk's own by number."""
    seen: list[FaultyFiles] = []

    def wrap(files: FileSystem) -> FileSystem:
        seen.append(FaultyFiles(files, Fault(1, "ENOSPC", kinds=frozenset({"link"}))))
        return seen[-1]

    outcome = run_simulated(WriteAhead(disk).main, disk=disk, wrap_files=wrap)

    assert isinstance(outcome.error, OSError)
    assert seen[0].fired is not None


# -- ends --------------------------------------------------------------------------------------------------------------


def test_an_outcome_is_a_result_a_crash_or_an_error() -> None:
    """A sweep tells them apart without catching anything."""

    async def good() -> int:
        return 7

    async def bad() -> int:
        raise StoreError("damaged")

    async def stuck() -> int:
        await anyio.sleep_forever()
        return 0

    assert run_simulated(good).value() == 7
    with pytest.raises(StoreError, match="damaged"):
        run_simulated(bad).value()
    with pytest.raises(DeadlockError, match="main"):
        run_simulated(stuck).value()
    with pytest.raises(SimulatedCrash, match="step 1"):
        run_simulated(good, crash_at=1).value()


def test_a_crashed_run_is_repeated_by_its_arguments() -> None:
    """Seed, policy and crash point are the whole recipe."""

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(anyio.sleep, number)

    def once() -> Outcome[None]:
        return run_simulated(main, seed=3, policy="pct", crash_at=11)

    assert once() == once()
    assert once().crash is not None


def test_finally_blocks_of_a_dead_process_reach_neither_disk_nor_loop(disk: SimulatedDisk) -> None:
    """They run, late, as Python has it; but in the dead world, where nothing they do counts."""
    said: list[str] = []
    path = f"{disk.root}/precious"

    async def careful() -> None:
        world = current_world()
        assert isinstance(world, SimulatedWorld)
        world.files.create(path).close()
        try:
            await anyio.sleep_forever()
        finally:
            try:
                current_world().files.unlink(path)
            except SimulatedCrash:
                said.append("no disk")
            try:
                world.ensure_alive()
            except SimulatedCrash:
                said.append("no outside world")
            await anyio.sleep(1)
            said.append("went on")

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(careful)
            await anyio.sleep(1)
            await current_world().offload.run(current_world().files.sync_dir, disk.root)

    for step, operation in ((8, None), (None, 2)):
        outcome = run_simulated(main, disk=disk, crash_at=step, crash_at_operation=operation)
        assert outcome.crash is not None
        assert disk.exists(path)
        assert set(said) == {"no disk", "no outside world"}
        said.clear()
        disk.unlink(path)


def test_a_crash_inside_a_call_in_a_thread_ends_the_process(disk: SimulatedDisk) -> None:
    """The program may catch BaseException around the call: it must not live on."""
    lived_on: list[str] = []

    async def main() -> None:
        world = current_world()
        try:
            await world.offload.run(world.files.create, f"{disk.root}/a")
        except BaseException:  # noqa: BLE001
            lived_on.append("caught")
        await anyio.sleep(1)
        lived_on.append("went on")

    outcome = run_simulated(main, disk=disk, crash_at_operation=1)

    assert outcome.crash is not None
    assert "operation 1, create of" in outcome.crash
    assert "went on" not in lived_on


def test_locks_and_environments_of_a_dead_process_are_free(disk: SimulatedDisk) -> None:
    """The successor opens the same files in the same real process."""

    async def main() -> bytes | None:
        world = current_world()
        lock = world.files.lock(f"{disk.root}/LOCK")
        assert lock is not None, "the dead process still holds it"
        segment = lmdb_env.open_segment(f"{disk.root}/log", map_size=1 << 20)
        with segment.transaction(write=True) as txn:
            before = txn.get(b"key")
            txn.put(b"key", b"value")
        world.files.synced(f"{disk.root}/log")
        world.files.sync_dir(disk.root)
        await anyio.sleep(1)
        segment.close()
        return before

    assert run_simulated(main, disk=disk, crash_at=2).crash is not None
    assert not lmdb_env._open_envs
    disk.power_cut(random.Random(1))
    assert run_simulated(main, disk=disk).value() == b"value"
    assert run_simulated(main, disk=disk).value() == b"value"


def test_an_error_that_reaches_nobody_fails_the_run() -> None:
    """A task that dies in silence is how streams hang and lose records."""

    async def fail() -> None:
        raise ValueError("unheard")

    async def main() -> None:
        task = asyncio.get_running_loop().create_task(fail())
        await asyncio.wait([task])

    with pytest.raises(InvariantError, match="unheard"):
        run_simulated(main).value()


def test_tasks_left_behind_by_a_good_end_are_cancelled() -> None:
    """As asyncio.run does: their `finally` blocks may still await."""
    log: list[str] = []

    async def background() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            await asyncio.sleep(1)
            log.append("ended")

    async def main() -> None:
        task = asyncio.get_running_loop().create_task(background())
        await anyio.sleep(1)
        assert not task.done()

    run_simulated(main).value()
    assert log == ["ended"]


def test_dead_universes_leave_nothing_behind() -> None:
    """A sweep of thousands of crashes in one real process must not slow down as it goes."""

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(anyio.sleep, 1)

    def loops() -> int:
        gc.collect()
        return sum(type(thing) is SimulatedLoop for thing in gc.get_objects())

    before = loops()
    for step in range(1, 60):
        run_simulated(main, crash_at=step)
    assert loops() == before


def test_interrupts_are_not_outcomes() -> None:
    """Control-C in a sweep stops the sweep."""

    async def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_simulated(main)
    assert gc.isenabled()


def test_garbage_of_processes_does_not_pile_up() -> None:
    """The collector is off while one runs: what had outlived its process by chance was never looked at again."""
    for number in range(150):
        run_simulated(anyio.lowlevel.checkpoint, seed=number)
        assert gc.get_count()[1] <= 11
    assert gc.get_count()[2] <= 11
