"""One life of the job of sums.py in a process of its own (warm.py): as it is, up to a planned death, or after one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from actorstream import ActorstreamError, JobFailed, Restart
from actorstream.model.world import World
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from actorstream.system.offload import ThreadOffload
from actorstream.testing.faults import CHANGES, Effect, Fault, FaultyFiles
from tests.faults.sums import NUMBERS, expected, extend, later, run, sums_in

MORE = 30


async def die(folder: str, nth: int, effect: Effect) -> int:
    """Run the job and die at the `nth` call, or give how many there were."""
    world = current_world()
    files = FaultyFiles(RealFiles(), Fault(nth, effect, CHANGES))
    with use_world(World(world.clock, files, world.offload, world.random)):
        await run(folder, len(NUMBERS))
    return len(files.calls)


async def run_in_one_thread(folder: str, restarts: int) -> tuple[str, str]:
    """Run the job; give its error, empty if there is none, and what that says. All its blocking calls in one thread.

    strace counts the calls of each thread apart: the n-th is then the n-th of all.
    """
    world = current_world()
    offload = ThreadOffload()
    offload._executor = ThreadPoolExecutor(1)
    restart = Restart.fixed_delay(restarts, delay=0.01) if restarts else Restart.never()
    with use_world(World(world.clock, world.files, offload, world.random)):
        try:
            await run(folder, len(NUMBERS), restart)
        except ActorstreamError as error:
            cause = error.__cause__ if isinstance(error, JobFailed) else error
            return type(cause).__name__, str(error)
    return "", ""


async def go_on(folder: str, came: int = 0) -> bool:
    """Start again with more input, to which state and positions are needed; tell whether all sums are right.

    `came` numbers were there already behind those of the prepared job.
    """
    await extend(folder, later(MORE, came))
    numbers = NUMBERS + later(came + MORE)
    await run(folder, len(numbers))
    return await sums_in(folder) == expected(numbers)
