"""A small job on real files that a test damages and starts again: numbers in, running sums of three keys out.

    numbers ──key_by n % 3──> fold ──> sums        stopped once its output is there

`prepare` leaves it as the worst moment does: dead right after a checkpoint was published,
before its output was committed, with more input waiting. `python -m tests.faults.sums FOLDER`
takes damages from stdin, starts the whole job on a fresh copy for each, and says what came of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from os.path import join
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from actorstream import ActorstreamError, EventLog, Job, JobFailed, Pipeline, Restart, Settings
from actorstream.eventlog.folder import LogSettings
from actorstream.model.world import World
from actorstream.system.current import current_world, use_world
from actorstream.system.files import RealFiles
from actorstream.testing.faults import InterceptedFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Kind: TypeAlias = Literal["missing", "truncated", "flipped"]
JOB = "sums"
DEADLINE_SECONDS = 10.0
_SMALL = LogSettings(segment_bytes=1 << 20)
NUMBERS = [number * number % 1_009 for number in range(240)]
STEPS = (80, 160, 240)


class Sum(NamedTuple):
    key: int
    sum: int


class Damage(NamedTuple):
    """What is done to one file, named relative to the folder.

    `at` is the new size, or the byte to flip a bit of: `bit`, or if that is negative one that depends on the place.
    """

    file: str
    kind: Kind
    at: int = 0
    bit: int = -1

    def do(self, folder: str) -> None:
        path = join(folder, self.file)
        if self.kind == "missing":
            os.unlink(path)
        elif self.kind == "truncated":
            os.truncate(path, self.at)
        else:
            with open(path, "r+b") as file:
                file.seek(self.at)
                (byte,) = file.read(1)
                file.seek(self.at)
                file.write(bytes((byte ^ (1 << (self.at % 8 if self.bit < 0 else self.bit)),)))


WRONG = -1


@dataclass(frozen=True)
class Outcome:
    """What a start came to, and what a second one did once the file was put back as the error had asked.

    `sums` counts the right sums in the output log: None where it cannot be read, WRONG where they are no prefix of
    the right ones.
    """

    error: str
    ours: bool
    message: str
    sums: int | None
    healed_error: str
    healed_sums: int | None


def expected(numbers: list[int]) -> list[Sum]:
    totals = [0, 0, 0]
    sums = []
    for number in numbers:
        totals[number % 3] += number
        sums.append(Sum(number % 3, totals[number % 3]))
    return sums


def later(count: int, start: int = 0) -> list[int]:
    """Give numbers that come after `NUMBERS`."""
    return [number % 1_013 for number in range(5_000 + start, 5_000 + start + count)]


def add(total: int, number: int) -> int:
    return total + number


def third(number: int) -> int:
    return number % 3


def to_sum(item: tuple[int, int]) -> Sum:
    return Sum(*item)


def numbers_log(folder: str) -> EventLog[int]:
    return EventLog(int, join(folder, "numbers"), settings=_SMALL)


def sums_log(folder: str) -> EventLog[Sum]:
    return EventLog(Sum, join(folder, "sums"), settings=_SMALL)


@asynccontextmanager
async def running(
    folder: str, restart: Restart | None = None, settings: Settings | None = None
) -> AsyncIterator[tuple[Job, EventLog[Sum]]]:
    """Give the running job and its output; leaving stops it with a final checkpoint.

    Raises:
        ActorstreamError: It does not come up, or fails.
        TimeoutError: It takes longer than it ever should.
    """
    source, sink = numbers_log(folder), sums_log(folder)
    pipeline = Pipeline(JOB)
    table = pipeline.source(source, name="numbers").key_by(third).fold(0, add, name="sum")
    table.map(to_sum).sink(sink, name="sums")
    restart = restart or Restart.never()
    store = join(folder, "store")
    try:
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            pipeline.run(
                store=store, checkpoint_interval=0.02, restart=restart, settings=settings or Settings()
            ) as job,
        ):
            yield job, sink
    finally:
        await source.aclose()
        await sink.aclose()


async def committed(sink: EventLog[Sum], count: int) -> None:
    """Wait until so many sums are in the log."""
    while (await sink.summary()).records < count:  # noqa: ASYNC110  (of a job that is under test)
        await asyncio.sleep(0.005)


async def run(folder: str, count: int, restart: Restart | None = None) -> None:
    """Run the job until `count` sums are committed, then stop it.

    Raises:
        ActorstreamError: It does not come up, or fails.
        TimeoutError: The sums do not come.
    """
    async with running(folder, restart) as (_, sink):
        await committed(sink, count)


async def sums_in(folder: str) -> list[Sum]:
    async with sums_log(folder) as log:
        return [record.value async for record in log.records(stop="now")]


async def extend(folder: str, numbers: list[int]) -> None:
    async with numbers_log(folder) as log:
        await log.extend(numbers)


class _DiesAfterPublish(InterceptedFiles):
    """Ends the process where a manifest is durable and nobody was told yet."""

    def __init__(self, folder: str) -> None:
        super().__init__(RealFiles())
        self._staged = join(folder, "sums", "staged")

    def _before(self, kind: str, path: str, half: Callable[[], None] | None = None) -> None:
        if kind == "link" and path.endswith("/completed") and os.listdir(self._staged):
            os._exit(137)


async def prepare(folder: str) -> None:
    """Run once; then again in a child that dies between publish and commit; add the last numbers."""
    await extend(folder, NUMBERS[: STEPS[0]])
    await run(folder, STEPS[0])
    await extend(folder, NUMBERS[STEPS[0] : STEPS[1]])
    command = [sys.executable, "-m", "tests.faults.sums", folder, "die"]
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 137
    assert len(os.listdir(join(folder, "sums", "staged"))) == 1
    await extend(folder, NUMBERS[STEPS[1] :])


async def attempt(folder: str) -> tuple[str, bool, str]:
    """Start the job; give the name of its error, whether it is one of ours, and all that it says."""
    try:
        await run(folder, len(NUMBERS))
    except BaseException as error:  # noqa: BLE001  (whatever it is, it is the result)
        cause = error.__cause__ if isinstance(error, JobFailed) else error
        said = f"{error} | {cause}"
        return type(cause).__name__, isinstance(cause, ActorstreamError), said
    return "", True, ""


async def right_sums(folder: str) -> int | None:
    try:
        sums = await sums_in(folder)
    except ActorstreamError:
        return None
    return len(sums) if sums == expected(NUMBERS)[: len(sums)] else WRONG


async def start_on(pristine: str, folder: str, damage: Damage) -> Outcome:
    """Damage a copy and start the job on it; then put the file back and start it again."""
    shutil.copytree(pristine, folder)
    damage.do(folder)
    error, ours, message = await attempt(folder)
    sums = await right_sums(folder)
    if not error:
        return Outcome(error, ours, message, sums, "", sums)
    shutil.copy2(join(pristine, damage.file), join(folder, damage.file))
    _, _, said = await attempt(folder)
    return Outcome(error, ours, message, sums, said, await right_sums(folder))


async def main(pristine: str) -> None:
    for number, line in enumerate(sys.stdin):
        print(number, flush=True)  # noqa: T201  (the test listens)
        outcome = await start_on(pristine, f"{pristine}.{os.getpid()}.{number}", Damage(*json.loads(line)))
        print(json.dumps(asdict(outcome)), flush=True)  # noqa: T201


async def die(folder: str) -> None:
    world = current_world()
    with use_world(World(world.clock, _DiesAfterPublish(folder), world.offload, world.random)):
        await run(folder, STEPS[1])


if __name__ == "__main__":
    asyncio.run(die(sys.argv[1]) if sys.argv[2:] else main(sys.argv[1]))
