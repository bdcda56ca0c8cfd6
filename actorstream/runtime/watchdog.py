"""Looks at the event loop from outside, and says who holds it: operator and stack.

    loop       ─turn─turn─turn─[ a handler that blocks ................ ]─turn─turn─
    watchdog     ?ok    ?ok      ?     no answer, no answer: who is it? ──> log, explain()

One thread for each event loop that runs jobs, started with the first of them and ended with the last. Four times in
`seconds` it asks the loop for a turn, which costs both some 50 µs together; only where no answer comes does it look at
the loop's stack. It is a daemon: it keeps no process alive. A loop that is not running, and a process that was stopped
(SIGSTOP), are not held by anybody. C code that keeps the interpreter to itself is named when it returns;
under uvloop a callback that is C alone is not named, as a loop that waits for events looks the same. A task that an
async function has begun itself is told by its stack, without the operator.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from os.path import dirname
from typing import TYPE_CHECKING, Any, Final

from actorstream.operators.generate import is_generated
from actorstream.runtime.callers import begins_calls, caller_of
from actorstream.runtime.source import SourceSubtask
from actorstream.runtime.subtask import Subtask
from actorstream.system.log import log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from actorstream.model.ids import SubtaskId
    from actorstream.model.world import Clock, World

_LOOKS: Final = 4
"""How often it looks in the time after which it says something."""
_FRAMES_MAX: Final = 8
_JOIN_SECONDS: Final = 0.5
_LEAST_SECONDS: Final = 0.01

# A frame is known by its code.
_ACTOR: Final[CodeType] = Subtask.run.__code__
_PUMP: Final[CodeType] = SourceSubtask.read_split.__code__
_PACKAGE: Final = dirname(dirname(__file__)) + "/runtime/"
_HANDLES: Final = asyncio.events.__file__


@dataclass(frozen=True, slots=True)
class Block:
    """For some time the loop had no turn. `since_us` is wall time; `over` tells whether it has one again.

    `operator` is whose code held it, of `subtask` of the job with the id `job`; None where the code is none of a
    job's. `stack` names its functions, the innermost last.
    """

    since_us: int
    seconds: float
    stack: tuple[str, ...]
    operator: str | None = None
    subtask: SubtaskId | None = None
    job: str | None = None
    over: bool = False


class Watch:
    """One job's share in the watchdog of its loop. `block` is the latest that was seen."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.block: Block | None = None


@contextmanager
def watched(world: World, seconds: float) -> Iterator[Watch | None]:
    """Have the running loop watched while the block lasts; None where the world has no threads, or `seconds` is 0."""
    if not world.threads or not seconds:
        yield None
        return
    loop, watch = asyncio.get_running_loop(), Watch()
    with _lock:
        dog = _dogs.get(loop)
        if dog is None:
            dog = _dogs[loop] = _Watchdog(loop, world.clock)
    dog.join(watch, max(seconds, _LEAST_SECONDS))
    try:
        yield watch
    finally:
        dog.leave(watch)


class _Watchdog:
    """The thread of one loop. `_look` and what it calls run in it, `join`, `leave` and `_answer` on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._watches: dict[Watch, float] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._ident = threading.get_ident()
        self._beneath: FrameType | None = None
        self._seconds = 0.0
        self._answered = True
        self._answered_at = 0.0
        self._asked_at = self._looked_at = 0.0
        self._used = 0.0
        self._held_seconds = 0.0
        self._next_report = 0.0
        self._block: Block | None = None

    def join(self, watch: Watch, seconds: float) -> None:
        self._watches[watch] = seconds
        self._seconds = min(self._watches.values())
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="actorstream watchdog", daemon=True)
            try:
                self._thread.start()
                self._loop.call_soon(self._answer)
            except RuntimeError as error:
                log.warning("nobody watches the event loop", reason=str(error))

    def leave(self, watch: Watch) -> None:
        del self._watches[watch]
        if self._watches:
            self._seconds = min(self._watches.values())
            return
        with _lock:
            _dogs.pop(self._loop, None)
        self._over.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)

    # ---- on the loop

    def _answer(self) -> None:
        self._ident = threading.get_ident()
        caller = sys._getframe().f_back  # noqa: SLF001  (whose call we are, without looking at the whole stack)
        # A loop that is all C (uvloop) has no frame of its own: what lies beneath its callbacks is who runs it.
        self._beneath = None if caller is None or caller.f_code.co_filename == _HANDLES else caller
        self._answered_at = self._clock.monotonic()
        self._answered = True

    # ---- in the thread

    def _run(self) -> None:
        self._looked_at, self._used = self._clock.monotonic(), time.process_time()
        while not self._over.wait(self._seconds / _LOOKS):
            try:
                self._look()
            except RuntimeError:
                if not self._loop.is_closed():
                    raise
                with _lock:
                    _dogs.pop(self._loop, None)
                return

    def _look(self) -> None:
        now, used = self._clock.monotonic(), time.process_time()
        passed, worked = now - self._looked_at, used - self._used
        self._looked_at, self._used = now, used
        if self._answered:
            if self._block is not None:
                self._end_of(self._block)
            self._answered, self._asked_at, self._held_seconds = False, now, 0.0
            self._next_report = self._seconds
            self._loop.call_soon_threadsafe(self._answer)
        elif self._loop.is_running():
            if worked < passed / 2:
                # A thread that waits longer than it asked to, while nobody works, was stopped, and so was the loop.
                passed = min(passed, 2 * self._seconds / _LOOKS)
            self._held_seconds += passed
            if self._held_seconds >= self._next_report:
                self._report()
        else:
            self._asked_at = now

    def _report(self) -> None:
        """Say who holds the loop: at first, and whenever that has lasted twice as long."""
        while self._next_report <= self._held_seconds:
            self._next_report *= 2
        frame = sys._current_frames().get(self._ident)  # noqa: SLF001  (the only way to another thread's stack)
        if frame is None or frame is self._beneath or frame.f_code.co_filename == selectors.__file__:
            return  # it waits for events: what it lacks is the processor
        since_us = self._clock.now_us() - round(self._held_seconds * 1e6)
        block = _look_at(frame, self._beneath, asyncio.current_task(self._loop), since_us, self._held_seconds)
        if self._answered:
            return  # it has gone on while we looked: what we saw may be another's
        self._tell(block)
        log.warning(
            "the event loop stands still",
            seconds=round(block.seconds, 3),
            operator=block.operator,
            subtask=None if block.subtask is None else block.subtask.subtask,
            stack=" > ".join(block.stack),
        )

    def _end_of(self, block: Block) -> None:
        seconds = max(block.seconds, self._answered_at - self._asked_at)
        self._tell(replace(block, seconds=seconds, over=True))
        self._block = None
        log.warning("the event loop goes on", after_seconds=round(seconds, 3), operator=block.operator)

    def _tell(self, block: Block) -> None:
        self._block = block
        for watch in tuple(self._watches):
            watch.block = block


def _look_at(
    innermost: FrameType, beneath: FrameType | None, task: asyncio.Task[Any] | None, since_us: int, seconds: float
) -> Block:
    """Find whose code a stack is in: that of an actor, or of a call that runs as a task."""
    frames: list[FrameType] = []
    frame: FrameType | None = innermost
    while frame is not None and frame is not beneath and frame.f_code not in (_ACTOR, _PUMP):
        frames.append(frame)
        frame = frame.f_back
    actor = None if frame is None else frame.f_locals.get("self")
    if frame is None or not isinstance(actor, Subtask):
        caller = None if task is None else caller_of(task)
        if caller is None:
            return Block(since_us, seconds, _said(frames))
        return Block(since_us, seconds, _said(frames), caller.chain.head.name, caller.identity, caller.deployment.job)
    operator = actor.chain.head.name if frame.f_code is _PUMP else _operator_of(actor, frames)
    return Block(since_us, seconds, _said(frames), operator, actor.identity, actor.deployment.job)


def _operator_of(actor: Subtask, frames: list[FrameType]) -> str:
    """Name the operator whose function is called: by the line of the step, or because it is awaited."""
    runner, step = actor.runner, next((each for each in frames if is_generated(each.f_code.co_filename)), None)
    named = runner.calling if step is None else runner.operator_at(step.f_code.co_filename, step.f_lineno)
    if named is None and step is None and begins_calls(actor):
        named = actor.chain.head.name  # a call up to its first await, or a plain handler beside async ones
    return named or actor.chain.name


def _said(frames: list[FrameType]) -> tuple[str, ...]:
    """Name the functions that are not ours, from the outermost to the innermost; where all are ours, the innermost."""
    theirs = list(takewhile(lambda frame: not _is_frame_of_ours(frame.f_code.co_filename), frames)) or frames[:1]
    said = [f"{each.f_code.co_qualname} ({each.f_code.co_filename}:{each.f_lineno})" for each in reversed(theirs)]
    if len(said) > _FRAMES_MAX:
        half = _FRAMES_MAX // 2
        said[half:-half] = [f"... {len(said) - 2 * half} more ..."]
    return tuple(said)


def _is_frame_of_ours(file: str) -> bool:
    return is_generated(file) or file.startswith(_PACKAGE) or file == _HANDLES


_dogs: dict[asyncio.AbstractEventLoop, _Watchdog] = {}
_lock = threading.Lock()
