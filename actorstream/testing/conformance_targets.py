"""One life of a target under test: attempts of a job that write to it, crash, and are followed by others.

    attempt 1   open  write  pre_commit(1)  [manifest 1]  x                      holds tokens and input position
    attempt 2   open  commit(token)  abort(None)  write ...                      goes on behind manifest 1

The commit protocol is the runtime's own (`SinkPort`); the job around it is played here: which records an attempt
gets, what a manifest holds, how tokens are dealt to subtasks. After every step the target is looked into:

    committed  ⊆  visible  ⊆  asked to commit,        and nothing twice
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

import anyio

from actorstream.model.ids import CheckpointId
from actorstream.runtime.sinks import SinkPort, WriterContext
from actorstream.testing.conformance_calls import Calls, Cut, resolved

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from actorstream.model.connect import Sink, SinkWriter
    from actorstream.protocol.commit import PendingCommit

T = TypeVar("T")
Make: TypeAlias = "Callable[[str], Sink[T] | Awaitable[Sink[T]]]"
ReadBack: TypeAlias = "Callable[[str], Sequence[T] | Awaitable[Sequence[T]]]"
End: TypeAlias = Literal["cancelled", "killed"]


@dataclass(frozen=True, slots=True)
class Crash:
    """The attempt ends at its call number `call`, from 1: after it, or at that await of it."""

    call: int
    at_await: int | None = None
    end: End = "cancelled"


@dataclass
class Manifest:
    """What a job goes on from: how far the input was read, and the tokens that were not known to be committed."""

    checkpoint: int
    position: int
    tokens: dict[int, tuple[PendingCommit, ...]]


class Attempt(Generic[T]):
    """One deployment's writers. Attributes: its number, its writers' ports, how far it has read."""

    def __init__(self, number: int, parallelism: int, position: int, crash: Crash | None) -> None:
        """Begin with no writer open."""
        self.number = number
        self.parallelism = parallelism
        self.position = position
        self.ports: dict[int, SinkPort] = {}
        self.writers: dict[int, _Watched[T]] = {}
        self.contexts: list[AbstractAsyncContextManager[SinkWriter[T]]] = []
        self.unsaid: dict[int, list[int]] = {}
        self.crash = crash
        self.calls = 0


class Target(Generic[T]):
    """A new target in one scenario, and the job that writes to it."""

    def __init__(self, make: Make[T], read_back: ReadBack[T], records: Sequence[T], place: str, calls: Calls) -> None:
        """Write `records` to what `make(place)` opens; `read_back(place)` gives what is visible."""
        self.calls = calls
        self.place = place
        self.records = records
        self.manifest = Manifest(0, 0, {})
        self.asked: set[int] = set()
        self.committed: set[int] = set()
        self.stands_for: dict[bytes, list[int]] = {}
        self._make = make
        self._read_back = read_back
        self._attempts = 0
        self._newest = 0
        self._made: list[Sink[T]] = []
        self._left: list[AbstractAsyncContextManager[SinkWriter[T]]] = []
        self._begun: list[Attempt[T]] = []

    # ---- attempts

    async def begin(
        self, parallelism: int, *, crash: Crash | None = None, order: Sequence[int] | None = None
    ) -> Attempt[T]:
        """Open the writers of a new attempt, behind the newest manifest; each commits and aborts as it is opened."""
        attempt = await self.open(parallelism, crash=crash, order=())
        for subtask in order if order is not None else range(parallelism):
            await self.open_subtask(attempt, subtask)
            await self.restore(attempt, subtask)
        return attempt

    async def open(
        self, parallelism: int, *, crash: Crash | None = None, order: Iterable[int] | None = None
    ) -> Attempt[T]:
        """Begin an attempt with the writers of `order` open, nothing committed and nothing aborted."""
        self._attempts += 1
        attempt: Attempt[T] = Attempt(self._attempts, parallelism, self.manifest.position, crash)
        self._begun.append(attempt)
        for subtask in range(parallelism) if order is None else order:
            await self.open_subtask(attempt, subtask)
        return attempt

    async def open_subtask(self, attempt: Attempt[T], subtask: int, *, restored: int | None = None) -> None:
        """Open one writer."""
        sink = await resolved(self._make(self.place))
        self._made.append(sink)
        self.calls.connector = type(sink).__name__
        went_on_from = self.manifest.checkpoint if restored is None else restored
        holder = f"holder-{attempt.number}"
        context = WriterContext("conformance-job", "sink", subtask, attempt.number, went_on_from, holder)
        opened = sink.writer(context)
        writer: Any = await self.step(attempt, f"subtask {subtask}: open", opened.__aenter__)
        attempt.contexts.append(opened)
        attempt.writers[subtask] = _Watched(self, attempt, writer, subtask)
        attempt.ports[subtask] = SinkPort(context, attempt.writers[subtask])

    async def restore(self, attempt: Attempt[T], subtask: int) -> None:
        """Commit the tokens that fall to this subtask, and drop what was left open."""
        mine = [
            token
            for of, tokens in self.manifest.tokens.items()
            if of % attempt.parallelism == subtask
            for token in tokens
        ]
        await attempt.ports[subtask].restore(sorted(mine, key=lambda token: token.checkpoint))

    async def end(self, attempt: Attempt[T], end: End) -> None:
        """Let an attempt end: its writers' blocks are left by a cancellation, or not left before the scenario's end."""
        self.calls.note(f"attempt {attempt.number} is {end}")
        contexts, attempt.contexts = attempt.contexts[::-1], []
        if end == "killed":
            self._left += contexts
            return
        for context in contexts:
            await _leave(context, self.calls)

    async def close(self) -> None:
        """Let those who were killed leave now, as zombies do; release what was made."""
        left, self._left = self._left, []
        for context in left:
            await _leave(context, None)

    async def release(self) -> None:
        """Leave what a broken contract has left open, and close each sink that can be closed."""
        for context in [context for attempt in self._begun for context in attempt.contexts[::-1]]:
            await _leave(context, None)
        for sink in self._made:
            aclose = getattr(sink, "aclose", None)
            if aclose is not None:
                await aclose()

    # ---- steps of a job

    async def write(self, attempt: Attempt[T], count: int = 2) -> None:
        """Let each subtask write its next `count` records, dealt in turn."""
        for subtask in sorted(attempt.ports):
            numbers = list(range(attempt.position, min(attempt.position + count, len(self.records))))
            attempt.position += len(numbers)
            if numbers:
                attempt.unsaid.setdefault(subtask, []).extend(numbers)
                await attempt.ports[subtask].write([self.records[number] for number in numbers])

    async def barrier(self, attempt: Attempt[T], order: Sequence[int] | None = None) -> Manifest:
        """Pre-commit in every subtask; give what the manifest would hold."""
        self._newest += 1
        for subtask in order if order is not None else sorted(attempt.ports):
            await attempt.ports[subtask].pre_commit(CheckpointId(self._newest))
        tokens = {subtask: port.pending() for subtask, port in attempt.ports.items()}
        return Manifest(self._newest, attempt.position, tokens)

    def publish(self, manifest: Manifest) -> None:
        """From here on a job goes on from this one."""
        self.calls.note(f"checkpoint {manifest.checkpoint} is complete")
        self.manifest = manifest

    async def complete(self, attempt: Attempt[T], manifest: Manifest, order: Sequence[int] | None = None) -> None:
        """Publish, and let every subtask commit."""
        self.publish(manifest)
        for subtask in order if order is not None else sorted(attempt.ports):
            await attempt.ports[subtask].complete(CheckpointId(manifest.checkpoint))

    async def finish(self, attempt: Attempt[T]) -> None:
        """Write what is left, with a checkpoint between; the second epoch begins before the first is committed."""
        turn = 0
        while attempt.position < len(self.records):
            await self.write(attempt)
            manifest = await self.barrier(attempt, _turned(attempt, turn))
            await self.write(attempt, 1)
            await self.complete(attempt, manifest, _turned(attempt, turn + 1))
            await self.look()
            turn += 1
        await self.complete(attempt, await self.barrier(attempt))

    async def whole(self, attempt: Attempt[T], end: End = "cancelled") -> None:
        """Run an attempt to the end of the input, and see that everything is there, once."""
        await self.finish(attempt)
        await self.end(attempt, end)
        await self.close()
        await self.look()
        missing = set(range(len(self.records))) - self.committed
        if missing:
            raise self.calls.broken(f"record {self.records[min(missing)]!r:.200} was never asked to be committed")

    async def step(self, attempt: Attempt[T], what: str, make: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401  (whatever the call gives)
        """Make one call of an attempt, and crash there where that is planned."""
        attempt.calls += 1
        crash = attempt.crash
        here = crash is not None and crash.call == attempt.calls
        cut_at = crash.at_await if crash is not None and here else None
        return await self.calls.call(f"attempt {attempt.number}: {what}", make, cut_at=cut_at)

    def crashes_after(self, attempt: Attempt[T]) -> None:
        """Crash here if it was planned for the end of this call.

        Raises:
            Cut: It was.
        """
        crash = attempt.crash
        if crash is not None and crash.call == attempt.calls and crash.at_await is None:
            raise Cut("after the call")

    # ---- what is visible

    async def look(self) -> None:
        """Hold what is visible against what must and what may be.

        Raises:
            ConformanceError: Something is missing, there twice, too early, or was never written.
        """
        visible = list(await resolved(self._read_back(self.place)))
        found: set[int] = set()
        for value in visible:
            numbers = [number for number, record in enumerate(self.records) if record == value]
            if not numbers:
                raise self.calls.broken(f"the target shows {value!r:.200}, which was not written")
            if numbers[0] in found:
                raise self.calls.broken(f"record {value!r:.200} is there twice")
            if numbers[0] not in self.asked:
                raise self.calls.broken(f"record {value!r:.200} is visible, but its commit was never asked for")
            found.add(numbers[0])
        if lost := self.committed - found:
            raise self.calls.broken(
                f"record {self.records[min(lost)]!r:.200} is missing ({len(lost)} of {len(self.committed)} are), "
                "although its commit has returned"
            )


class _Watched(Generic[T]):
    """A writer whose calls are noted and may be cut."""

    def __init__(self, target: Target[T], attempt: Attempt[T], inner: SinkWriter[T], subtask: int) -> None:
        self._target = target
        self._attempt = attempt
        self._inner = inner
        self._who = f"subtask {subtask}: "
        self._subtask = subtask

    async def write(self, values: Sequence[Any], /) -> None:
        shown = ", ".join(f"{value!r:.40}" for value in values)
        await self._step(f"write([{shown}])", lambda: self._inner.write(values))

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        target, unsaid = self._target, self._attempt.unsaid.pop(self._subtask, [])
        token: object = await self._step(
            f"pre_commit({checkpoint})", lambda: self._inner.pre_commit(checkpoint), after=False
        )
        if token is None:
            if unsaid:
                raise target.calls.broken("pre_commit gave no token, but records were written since the last one")
            target.crashes_after(self._attempt)
            return None
        if not isinstance(token, bytes):
            raise target.calls.broken(f"pre_commit gave a {type(token).__name__}, expected bytes or None")
        if unsaid and token in target.stands_for:
            raise target.calls.broken(f"pre_commit gave the token {token!r:.60} for other records before")
        target.stands_for.setdefault(token, unsaid)
        target.crashes_after(self._attempt)
        return token

    async def commit(self, token: bytes, /) -> None:
        target = self._target
        target.asked.update(target.stands_for[token])
        await self._step(f"commit({token!r:.60})", lambda: self._inner.commit(token), after=False)
        target.committed.update(target.stands_for[token])
        target.crashes_after(self._attempt)

    async def abort(self, token: bytes | None, /) -> None:
        shown = f"{token!r:.60}"
        await self._step(f"abort({shown})", lambda: self._inner.abort(token))

    async def _step(self, what: str, make: Callable[[], Awaitable[Any]], *, after: bool = True) -> Any:  # noqa: ANN401  (whatever the call gives)
        result = await self._target.step(self._attempt, self._who + what, make)
        if after:
            self._target.crashes_after(self._attempt)
        return result


def _turned(attempt: Attempt[Any], turn: int) -> list[int]:
    """Give the subtasks forwards and backwards by turns."""
    return sorted(attempt.ports, reverse=bool(turn % 2))


async def _leave(context: AbstractAsyncContextManager[Any], calls: Calls | None) -> None:
    """Leave a writer's block as a cancelled task does; an error counts where `calls` are given."""
    reason = anyio.get_cancelled_exc_class()("the attempt has ended")
    try:
        with anyio.CancelScope(shield=True):
            await context.__aexit__(type(reason), reason, None)
    except anyio.get_cancelled_exc_class() as error:
        if error is not reason:
            raise
    except Exception as error:
        if calls is not None:
            raise calls.broken(f"leaving the writer's block raised {type(error).__name__}: {error}") from error
