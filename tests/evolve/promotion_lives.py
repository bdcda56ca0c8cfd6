"""One life of a process that promotes, or comes after one that died of it (tests/faults/warm.py)."""

from __future__ import annotations

from pathlib import Path

from actorstream.errors import ActorstreamError
from actorstream.eventlog.log import EventLog
from actorstream.evolve import promote
from actorstream.model.world import World
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from actorstream.testing.faults import CHANGES, Effect, Fault, FaultyFiles
from tests.eventlog.setting import values_of
from tests.evolve.naive import Reading, log_of

OLD = [Reading("x" * 4_000, i, "wrong" if i >= 40 else "") for i in range(300)]
NEW = [Reading("x" * 4_000, i) for i in range(310)]
ADDED = Reading("added", 1)


async def prepare(folder: Path) -> None:
    """Make a log and its replacement, of several segments each."""
    for name, values in (("log", OLD), ("new", NEW)):
        async with await log_of(folder / name, []) as log:
            for start in range(0, len(values), 50):
                await log.extend(values[start : start + 50])
            assert (await log.summary()).segments > 1


def logs_beside(folder: Path) -> list[Path]:
    """Give the logs that promotions have left, as far as they are logs."""
    return [path for path in folder.glob("log.before-*") if (path / "LOG").exists()]


async def promote_here(folder: str) -> str:
    """Promote; give the error, empty if there is none."""
    try:
        await promote(EventLog(Reading, f"{folder}/log"), f"{folder}/new")
    except ActorstreamError as error:
        return str(error)
    return ""


async def die(folder: str, nth: int, effect: Effect) -> None:
    """Promote, and die at the `nth` call that changes the disk, if there are so many."""
    world = current_world()
    files = FaultyFiles(RealFiles(), Fault(nth, effect, CHANGES))
    with use_world(World(world.clock, files, world.offload, world.random)):
        assert await promote_here(folder) == ""


async def go_on(folder: str) -> str:
    """Look at what a dead process has left, and use it; tell which records were there, or what was wrong."""
    log, new = EventLog(Reading, f"{folder}/log"), EventLog(Reading, f"{folder}/new")
    found = await values_of(log)
    if found not in (OLD, NEW):
        return f"half: {len(found)} records"
    if await values_of(new) != NEW:
        return "the replacement was changed"
    for owner in (log, new):
        await owner.append(ADDED)
    was = OLD
    if found == OLD:
        was = [*OLD, ADDED]
        if error := await promote_here(folder):
            return f"not promoted at the second try: {error}"
    kept_logs = logs_beside(Path(folder))
    if [await values_of(EventLog(Reading, path)) for path in kept_logs] != [was]:
        return f"not what it was: {kept_logs}"
    if await values_of(EventLog(Reading, f"{folder}/log")) != [*NEW, ADDED]:
        return "not what it should be"
    return "old" if found == OLD else "new"
