"""A promotion killed, cut off from power or failed at each of its steps: the old records or the new, never half."""

from __future__ import annotations

import asyncio
import errno
import random
import shutil
import tempfile
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from actorstream.errors import StoreError
from actorstream.eventlog.log import EventLog
from actorstream.evolve import promote
from actorstream.evolve.promotion import promote_seen
from actorstream.model.world import World
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from actorstream.testing.disk import SimulatedDisk
from actorstream.testing.faults import Fault, FaultyFiles
from actorstream.testing.run import Outcome, run_simulated
from tests.eventlog.setting import values_of
from tests.evolve.naive import Reading, log_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

T = TypeVar("T")
pytestmark = pytest.mark.simulation

OLD = [Reading("x" * 4_000, i, "wrong" if i >= 40 else "") for i in range(300)]
NEW = [Reading("x" * 4_000, i) for i in range(310)]
ADDED = Reading("added", 1)
SWEEP = pytest.mark.parametrize(
    "gap",
    [
        pytest.param(3, marks=[pytest.mark.slow, pytest.mark.timeout(300)], id="some"),
        pytest.param(1, marks=[pytest.mark.verify, pytest.mark.timeout(300)], id="every"),
    ],
)
"""Every third step in `make test`, every one in `make verify`."""


@pytest.fixture(scope="module", params=[1, 2], ids=["never promoted", "promoted before"])
def template(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Give a log and a replacement, of several segments each."""

    async def make(folder: Path) -> None:
        log = await log_of(folder / "log", [])
        for start in range(0, len(OLD) if request.param == 1 else 50, 50):
            await log.extend(OLD[start : start + 50])
        if request.param == 2:
            shutil.rmtree(await promote_seen(log, (await log_of(folder / "first", OLD)).path) or "")
        new = await log_of(folder / "new", [])
        for start in range(0, len(NEW), 50):
            await new.extend(NEW[start : start + 50])
        assert (await new.summary()).segments > 1
        await log.aclose()
        await new.aclose()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(make(Path(folder)))
        yield Path(folder)


@contextmanager
def copied(template: Path) -> Iterator[SimulatedDisk]:
    """Give a disk that holds the template."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as root:
        shutil.copytree(template, f"{root}/disk", ignore=shutil.ignore_patterns("*-lock"))
        disk = SimulatedDisk(f"{root}/disk")
        yield disk
        disk.kill()


async def promoting(root: str) -> None:
    await promote(EventLog(Reading, f"{root}/log"), f"{root}/new")


async def reading(root: str, name: str) -> list[Reading]:
    async with EventLog(Reading, f"{root}/{name}") as log:
        return await values_of(log)


async def appending(root: str, name: str) -> None:
    async with EventLog(Reading, f"{root}/{name}") as log:
        await log.append(ADDED)


def kept_logs(disk: SimulatedDisk) -> list[str]:
    """Name the folders beside the log that are logs."""
    return [name for name in disk.list_dir(disk.root) if ".before-" in name and disk.exists(f"{disk.root}/{name}/LOG")]


def check(disk: SimulatedDisk, rng: random.Random, *, power: bool) -> bool:
    """Look at everything from new processes, with losses of power between; tell whether the new records are there."""
    root, lives = disk.root, count()

    def live(main: Callable[..., Coroutine[Any, Any, T]], *arguments: str) -> T:
        return run_simulated(partial(main, root, *arguments), disk=disk, seed=f"life {next(lives)}").value()

    found = live(reading, "log")
    assert found in (OLD, NEW)
    promoted = found == NEW
    assert live(reading, "new") == NEW
    if power:
        disk.power_cut(rng)
    else:
        disk.kill()
    assert live(reading, "log") == found, "what was seen once stays"
    assert len(kept_logs(disk)) == promoted
    for before in kept_logs(disk):
        assert live(reading, before) == OLD
    live(appending, "log")
    live(appending, "new")
    if not promoted:
        live(promoting)
        assert len(kept_logs(disk)) == 1
        assert live(reading, kept_logs(disk)[0]) == [*OLD, ADDED]
    if power:
        disk.power_cut(rng)
    assert live(reading, "log") == [*NEW, ADDED]
    assert live(reading, "new") == [*NEW, ADDED]
    return promoted


def promote_once(
    disk: SimulatedDisk, *, crash_at: int | None = None, fail_at: Mapping[int, int] | None = None
) -> Outcome[None]:
    main = partial(promoting, disk.root)
    return run_simulated(main, disk=disk, seed="promotion", crash_at_operation=crash_at, fail_at=fail_at)


@SWEEP
@pytest.mark.parametrize("power", [False, True], ids=["kill -9", "power cut"])
def test_a_crash_at_every_step_leaves_the_old_log_or_the_new(template: Path, *, power: bool, gap: int) -> None:
    outcomes = []
    for number in count(1, gap):
        with copied(template) as disk:
            rng = random.Random(number)
            outcome = promote_once(disk, crash_at=number)
            if outcome.crash is None:
                assert outcome.error is None
                assert kept_logs(disk)
                break
            if power:
                disk.power_cut(rng)
            else:
                disk.kill()
            outcomes.append(check(disk, rng, power=power))
    assert len(outcomes) > 25 // gap
    assert not outcomes[0]
    assert outcomes[-1]
    if not power:
        assert outcomes == sorted(outcomes), "one step decides"


@SWEEP
def test_a_look_that_fails_is_an_error_or_does_not_matter(template: Path, tmp_path: Path, gap: int) -> None:
    """Also one at whether the log has been promoted."""
    world = current_world()
    for nth in count(1, gap):
        folder = shutil.copytree(template, tmp_path / str(nth), ignore=shutil.ignore_patterns("*-lock"))
        files = FaultyFiles(RealFiles(), Fault(nth, "EIO", frozenset(("read",))))
        error = None
        with use_world(World(world.clock, files, world.offload, world.random)):
            try:
                asyncio.run(promoting(str(folder)))
            except StoreError as found:
                error = str(found)
        if files.fired is None:
            break
        there = asyncio.run(reading(str(folder), "log"))
        assert there == (OLD if error is not None and "was promoted" not in error else NEW), (nth, files.fired, error)
        assert len(list(folder.glob("log.before-*/LOG"))) == (there == NEW)
    assert nth > 20


@SWEEP
def test_a_disk_that_fails_at_any_step_is_an_error_or_does_not_matter(template: Path, gap: int) -> None:
    """The error tells the truth: nothing has changed, unless it says so."""
    errors = 0
    for step in count(1, gap):
        with copied(template) as disk:
            outcome = promote_once(disk, fail_at={step: errno.EIO if step % 2 else errno.ENOSPC})
            disk.kill()
            if outcome.disk_operations < step:
                break
            promoted = check(disk, random.Random(step), power=False)
            if outcome.error is None:
                assert promoted
            else:
                assert isinstance(outcome.error, StoreError)
                errors += 1
                assert promoted == ("was promoted" in str(outcome.error)), outcome.error
    assert errors > 20 // gap
