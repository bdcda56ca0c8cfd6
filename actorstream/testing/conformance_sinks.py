"""What a sink is put through: each scenario on a new target, each with an end at which every record is there once."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from itertools import count
from os.path import isdir
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeAlias, TypeVar, get_args

from actorstream.errors import PlanError
from actorstream.testing.conformance_calls import Calls, ConformanceError, Cut
from actorstream.testing.conformance_targets import Crash, Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from actorstream.model.connect import SinkWriter
    from actorstream.testing.conformance_targets import End, Make, ReadBack

T = TypeVar("T")
SinkScenario: TypeAlias = Literal[
    "visible with the commit",
    "commit twice",
    "late notices",
    "abort",
    "order of subtasks",
    "cancelled at every call",
    "killed at every call",
    "rescale",
    "zombie",
    "going back",
    "outage",
]
Down: TypeAlias = "Callable[[str], AbstractContextManager[object] | AbstractAsyncContextManager[object]]"
RECORDS_MIN: Final = 8
_FOLDER: Final = "/dev/shm" if isdir("/dev/shm") else None


class SinkTrial(Generic[T]):
    """A sink and its scenarios. Attributes: how many lives of a target each scenario has taken."""

    def __init__(self, make: Make[T], read_back: ReadBack[T], records: Sequence[T], down: Down | None) -> None:
        """Check what is given.

        Raises:
            PlanError: There are too few records, or two that are equal.
        """
        if len(records) < RECORDS_MIN:
            raise PlanError(f"check_sink: {len(records)} records, expected at least {RECORDS_MIN}, all different")
        equal = [n for n, record in enumerate(records) if record in records[:n]]
        if equal:
            raise PlanError(f"check_sink: {records[equal[0]]!r:.200} is there twice: two of it could not be told apart")
        self.lives: Counter[str] = Counter()
        self._make = make
        self._read_back = read_back
        self._records = records
        self._down = down
        self._scenario = ""
        self._places: Iterator[str] = iter(())

    async def run(self, without: Sequence[SinkScenario]) -> None:
        """Run all scenarios but those.

        Raises:
            ConformanceError: The sink breaks its contract.
        """
        scenarios: dict[SinkScenario, Callable[[], Awaitable[None]]] = {
            "visible with the commit": self._visible,
            "commit twice": self._twice,
            "late notices": self._late_notices,
            "abort": self._abort,
            "order of subtasks": self._orders,
            "rescale": self._rescale,
            "zombie": self._zombie,
            "going back": self._going_back,
            "cancelled at every call": lambda: self._every_call("cancelled"),
            "killed at every call": lambda: self._every_call("killed"),
        }
        if self._down is not None:
            scenarios["outage"] = self._outage
        if unknown := set(without) - set(get_args(SinkScenario)):
            raise PlanError(f"check_sink: there is no scenario {min(unknown)!r}; there are {sorted(scenarios)}")
        with TemporaryDirectory(prefix="conformance-", dir=_FOLDER) as folder:
            self._places = (f"{folder}/{number}" for number in count(1))
            for name, scenario in scenarios.items():
                if name not in without:
                    self._scenario = name
                    await scenario()

    @asynccontextmanager
    async def _life(self) -> AsyncIterator[Target[T]]:
        """Give a new target; what its sink raises is told with the calls before it."""
        self.lives[self._scenario] += 1
        calls = Calls(self._scenario)
        target = Target(self._make, self._read_back, self._records, next(self._places), calls)
        try:
            yield target
        except ConformanceError:
            raise
        except Exception as error:
            raise calls.broken(f"{type(error).__name__}: {error}") from error
        finally:
            await target.close()
            await target.release()

    async def _visible(self) -> None:
        """Nothing shows before its commit, all after it; the next epoch is written meanwhile."""
        async with self._life() as target:
            attempt = await target.begin(2)
            await target.write(attempt, 1)
            await target.look()
            manifest = await target.barrier(attempt)
            await target.look()
            await target.write(attempt, 1)
            await target.complete(attempt, manifest)
            await target.look()
            await target.whole(attempt)

    async def _twice(self) -> None:
        """Each token once more: at once, after later ones, and by the next attempt."""
        async with self._life() as target:
            attempt = await target.begin(1)
            for _ in range(2):
                await target.write(attempt)
                manifest = await target.barrier(attempt)
                await target.complete(attempt, manifest)
                for token in list(target.stands_for):
                    await attempt.writers[0].commit(token)
                await target.look()
            await target.end(attempt, "cancelled")
            await target.whole(await target.begin(1))

    async def _late_notices(self) -> None:
        """A checkpoint is aborted, of another nobody hears: a later one commits both, in order."""
        async with self._life() as target:
            attempt = await target.begin(2)
            await target.write(attempt, 1)
            await target.barrier(attempt)  # aborted: never published
            await target.write(attempt, 1)
            target.publish(await target.barrier(attempt))  # and no notice of it
            await target.write(attempt, 1)
            manifest = await target.barrier(attempt)
            await target.complete(attempt, manifest)
            await target.look()
            await target.whole(attempt)

    async def _abort(self) -> None:
        """What an attempt has left open, or pre-committed in vain, is dropped, and written again by the next one."""
        ends: tuple[End, End] = ("cancelled", "killed")
        for end in ends:
            for named in (False, True):
                async with self._life() as target:
                    attempt = await target.begin(2)
                    await target.write(attempt, 1)
                    await target.complete(attempt, await target.barrier(attempt))
                    await target.write(attempt, 1)
                    await target.barrier(attempt)
                    tokens = [pending.token for port in attempt.ports.values() for pending in port.pending()]
                    await target.write(attempt, 1)
                    await target.end(attempt, end)
                    again = await target.open(2)
                    for token in tokens if named else []:
                        await again.writers[0].abort(token)
                    await target.look()
                    for subtask in again.ports:
                        await target.restore(again, subtask)
                    await target.whole(again)

    async def _orders(self) -> None:
        """Subtasks are opened and restored in any order: the `abort(None)` of one takes nothing of another."""
        for together in (False, True):
            for order in ([0, 1], [1, 0]):
                async with self._life() as target:
                    attempt = await target.begin(2, order=order)
                    await target.write(attempt)
                    target.publish(await target.barrier(attempt, order))
                    await target.write(attempt, 1)
                    await target.end(attempt, "killed")
                    if together:
                        again = await target.open(2)
                        for subtask in order:
                            await target.restore(again, subtask)
                    else:
                        again = await target.begin(2, order=order)
                    await target.look()
                    await target.whole(again)

    async def _rescale(self) -> None:
        """Other subtasks commit what those of before have pre-committed, and drop what they left open."""
        for before, after in ((2, 1), (1, 2), (2, 3), (3, 2)):
            for published in (False, True):
                async with self._life() as target:
                    attempt = await target.begin(before)
                    await target.write(attempt, 1)
                    await target.complete(attempt, await target.barrier(attempt))
                    await target.write(attempt, 1)
                    manifest = await target.barrier(attempt)
                    if published:
                        target.publish(manifest)
                    await target.end(attempt, "killed")
                    await target.whole(await target.begin(after))

    async def _every_call(self, end: End) -> None:
        """The attempt ends after its n-th call, and at each await of it, for every n."""
        for call in count(1):
            if not await self._crashed(Crash(call, None, end)):
                return
            at_await = 1
            while await self._crashed(Crash(call, at_await, end)):
                at_await += 1 if end == "cancelled" else 2  # within a call, the two ends differ little

    async def _crashed(self, crash: Crash) -> bool:
        """Run a life with that crash in its first attempt; tell whether it came to it."""
        met = False
        async with self._life() as target:
            attempt = await target.open(2, crash=crash, order=())
            try:
                for subtask in range(2):
                    await target.open_subtask(attempt, subtask)
                    target.crashes_after(attempt)
                    await target.restore(attempt, subtask)
                for _ in range(2):
                    await target.write(attempt, 1)
                    await target.complete(attempt, await target.barrier(attempt))
            except Cut:
                met = True
            await target.end(attempt, crash.end)
            if met:
                await target.look()
                again = await target.begin(2)
                await target.whole(again)
        return met

    async def _zombie(self) -> None:
        """A replaced attempt that goes on changes nothing: what it wrote is written by the one that replaced it."""
        for published in (False, True):
            for deed in ("commit", "write", "write and commit"):
                async with self._life() as target:
                    zombie = await target.begin(2)
                    await target.write(zombie, 1)
                    await target.complete(zombie, await target.barrier(zombie))
                    await target.write(zombie, 1)
                    manifest = await target.barrier(zombie)
                    tokens = {subtask: port.pending()[-1].token for subtask, port in zombie.ports.items()}
                    await target.write(zombie, 1)
                    await target.end(zombie, "killed")
                    if published:
                        target.publish(manifest)
                    again = await target.begin(2)
                    await target.write(again, 1)
                    may = set(target.asked), set(target.committed)
                    for subtask, writer in zombie.writers.items():
                        with _tolerant():
                            await self._haunt(writer, deed, tokens[subtask])
                    target.asked, target.committed = may
                    await target.look()
                    await target.whole(again)

    async def _haunt(self, writer: SinkWriter[T], deed: str, token: bytes) -> None:
        if deed == "commit":
            await writer.commit(token)
            return
        await writer.write(self._records[-1:])
        if deed == "write and commit":
            late = await writer.pre_commit(1_000_000)
            await writer.commit(b"" if late is None else late)

    async def _going_back(self) -> None:
        """A job that goes on from before what is committed is refused: it would write that again."""
        async with self._life() as target:
            attempt = await target.begin(1)
            for _ in range(2):
                await target.write(attempt)
                await target.complete(attempt, await target.barrier(attempt))
            await target.end(attempt, "cancelled")
            old = await target.open(1, order=())
            with _tolerant():
                await target.open_subtask(old, 0, restored=1)
                raise target.calls.broken(
                    "a writer opened with restored=1, although checkpoint 2 is committed: what lies between comes twice"
                )
            await target.end(old, "cancelled")

    async def _outage(self) -> None:
        """The target goes down between pre-commit and commit: the job restarts until it is there again."""
        async with self._life() as target:
            attempt = await target.begin(2)
            await target.write(attempt, 1)
            manifest = await target.barrier(attempt)
            async with self._while_down(target):
                with _tolerant():
                    await target.complete(attempt, manifest)
                await target.end(attempt, "cancelled")
                for _ in range(2):
                    again = await target.open(2, order=())
                    with _tolerant():
                        for subtask in range(2):
                            await target.open_subtask(again, subtask)
                            await target.restore(again, subtask)
                    await target.end(again, "cancelled")
            target.calls.note("the target is up again")
            await target.look()  # what a commit said it did, it did
            await target.whole(await target.begin(2))

    @asynccontextmanager
    async def _while_down(self, target: Target[T]) -> AsyncIterator[None]:
        assert self._down is not None  # noqa: S101  (asked for by `run`)
        target.calls.note("the target goes down")
        down = self._down(target.place)
        if isinstance(down, AbstractAsyncContextManager):
            async with down:
                yield
        else:
            with down:
                yield


@contextmanager
def _tolerant() -> Iterator[None]:
    """Take an error of the sink for an answer, such as a refusal; what breaks the contract is none."""
    try:
        yield
    except ConformanceError:
        raise
    except Exception:  # noqa: BLE001  (whatever a sink of others raises)
        pass
