"""One deployment of a job: run its actors in one task group until the end or the first error.

    build (building.py) ─> all open ─> sources read ─> ... ─> final checkpoint ─> over
                              │
        the first error of any task cancels the group and is the attempt's; later ones become notes on it

An attempt that has handed over to the next one (a rescale) lets go of its layers
only. The layer writer's child and the state in memory are closed beside the next
one's actors: that takes the longer the more state there is, and nothing waits for it.

An actor that ends in any way but by our own cancellation has failed, also when it
ends silently: a task group whose child is cancelled from outside ends without an
exception.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio

from actorstream.errors import InvariantError
from actorstream.runtime.loop_head import LoopHead
from actorstream.runtime.source import SourceSubtask
from actorstream.system.log import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

    from actorstream.runtime.built import Built

_NOTES_MAX = 10


class Attempt:
    """A built deployment, to be run once."""

    def __init__(self, built: Built, meanwhile: Callable[[], Awaitable[None]] | None = None) -> None:
        """Take what `build` made; `meanwhile` runs beside the actors, from when they are open."""
        self.built = built
        self._meanwhile = meanwhile
        self.over = False
        self._failure: Exception | None = None
        self._group: TaskGroup | None = None
        self._unopened = len(built.subtasks)
        self._all_open = anyio.Event()

    async def run(self, opened: Callable[[], None], closing: Callable[[], None] = lambda: None) -> None:
        """Run until the final checkpoint is complete and committed; unless it is to hand over, close what was built.

        Args:
            opened: Called once every operator of every actor is open.
            closing: Called once the actors have ended, before their state is let go: nobody may be shown it any more.

        Raises:
            Exception: The first failure of any task, other failures as notes on it.
        """
        built = self.built
        hands_over = False
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                for subtask in built.subtasks.values():
                    run = partial(subtask.run, self._one_opened, self._all_open.wait)
                    self._start(str(subtask.identity), run, subtask.runner.blame)
                    self._start(f"snapshots of {subtask.identity}", subtask.snapshots.run, _as_it_is)
                    if isinstance(subtask, LoopHead):
                        self._start(f"segments of {subtask.identity}", subtask.spiller.run, _as_it_is)
                await self._all_open.wait()
                opened()
                for subtask in built.subtasks.values():
                    if isinstance(subtask, SourceSubtask):
                        await self._read(subtask)
                if built.order is not None:
                    self._start("order of the replay", built.order.run, _as_it_is)
                self._start("compactor", built.compactor.run, _as_it_is)
                self._start("coordinator", self._coordinate, _as_it_is)
                if self._meanwhile is not None:
                    self._start("close of the attempt before", self._meanwhile, _as_it_is, ends=True)
            hands_over = built.coordinator.handed_over and self.over and self._failure is None
        finally:
            closing()
            if hands_over:
                built.release()
            else:
                await built.close()
        if self._failure is not None:
            raise self._failure
        if not self.over:
            raise InvariantError("the attempt's tasks ended before the job was over")

    async def _read(self, source: SourceSubtask) -> None:
        await source.begin()
        for index in source.pumps:
            split = source.split_of(index)
            self._start(
                f"reader of {source.identity}, split {split}",
                partial(source.pump, index),
                partial(source.blame_read, split),
                ends=True,
            )

    async def _coordinate(self) -> None:
        await self.built.coordinator.run()
        self.over = True
        self._cancel()

    def _one_opened(self) -> None:
        self._unopened -= 1
        if not self._unopened:
            self._all_open.set()

    def _start(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        blame: Callable[[Exception], Exception],
        *,
        ends: bool = False,
    ) -> None:
        if self._group is None:
            raise InvariantError("tasks are started inside the attempt's group")
        self._group.start_soon(partial(self._guard, name, run, blame, ends=ends), name=name)

    async def _guard(
        self, name: str, run: Callable[[], Awaitable[None]], blame: Callable[[Exception], Exception], *, ends: bool
    ) -> None:
        """Run one task; any end of it but a declared one is the attempt's failure."""
        try:
            await run()
            if not (ends or self.over):
                self.fail(InvariantError(f"{name} ended before the job did"))
        except Exception as error:  # noqa: BLE001  (the supervisor's: every error of an actor ends the attempt)
            self.fail(blame(error))
        except anyio.get_cancelled_exc_class():
            if not self._is_cancelled():
                self.fail(InvariantError(f"{name} was cancelled from outside: cancel the job, not its tasks"))
            raise

    def _is_cancelled(self) -> bool:
        return self._group is not None and self._group.cancel_scope.cancel_called

    def fail(self, error: Exception) -> None:
        """Give up because of an error: every actor is cancelled, and `run` raises it; the first one counts."""
        if self.over:
            # The final checkpoint is complete and committed: running again could only fail in the same way.
            log.warning("closing failed", failure=f"{type(error).__name__}: {error}")
        elif self._failure is None:
            self._failure = error
        elif error is not self._failure:
            notes = getattr(self._failure, "__notes__", [])
            if len(notes) < _NOTES_MAX:
                self._failure.add_note(f"then: {type(error).__name__}: {error}")
        self._cancel()

    def _cancel(self) -> None:
        if self._group is not None:
            self._group.cancel_scope.cancel()


def _as_it_is(error: Exception) -> Exception:
    return error
