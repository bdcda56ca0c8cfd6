"""The tasks of async handlers: each call one, with its attempts and the time that it has.

Every call is a task of its own, so that functions find the context that they expect: `asyncio.timeout`, anyio's task
groups, context variables that end with the call. A plain handler, or one that gives its results at once, needs none.
What a call comes to first counts, whatever comes later (T67, T68). Calls are cancelled when the actor ends.
"""

from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol, cast

from actorstream.operators.any_number import any_number
from actorstream.operators.call_scope import current_call
from actorstream.runtime.awaiting import end_all, to_await

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.graph.awaited import HandlerCalls
    from actorstream.model.world import World
    from actorstream.runtime.key_call import KeyCall
    from actorstream.runtime.operator_life import OperatorPlace


class CallsHandlers(Protocol):
    """Whoever has calls made."""

    def attempt(self, call: KeyCall, /) -> Any:  # noqa: ANN401  (whatever a handler gives)
        """Call a handler, with states that are as they were before."""
        ...

    def on_end(self, call: KeyCall, results: list[object], /) -> None:
        """It gave these results."""
        ...

    def on_error(self, call: KeyCall, error: BaseException, /) -> None:
        """It raised."""
        ...


class KeyTasks:
    """The calls that are running.

    Attributes:
        running: How many are.
    """

    def __init__(
        self, owner: CallsHandlers, calls: HandlerCalls, place: OperatorPlace, world: World, wake: Callable[[], None]
    ) -> None:
        """Begin with none; `wake` is called when one has ended."""
        self.running = 0
        self._owner = owner
        self._calls = calls
        self._place = place
        self._world = world
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, call: KeyCall) -> None:
        """Make a call; it may have ended when this returns."""
        current_call.set(call)
        limits = self._calls
        try:
            given = self._attempts(call) if limits.retry is not None else self._owner.attempt(call)
            if given is None or isinstance(given, list):
                self._owner.on_end(call, given or [])
                return
            if type(given) is not CoroutineType:
                if not hasattr(given, "__await__") and not hasattr(given, "__aiter__"):
                    self._owner.on_end(call, any_number(given))
                    return
                given = to_await(given)
        except Exception as error:  # noqa: BLE001  (a function of the user's)
            self._owner.on_error(call, error)
            return
        self.running += 1
        task = self._loop.create_task(given)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._on_done(call, done))
        if limits.timeout_us is not None:
            call.patience = self._loop.call_later(limits.timeout_us / 1e6, self._on_timeout, call, task)

    async def _attempts(self, call: KeyCall) -> object:
        retry = self._calls.retry
        while True:
            try:
                given = self._owner.attempt(call)
                if type(given) is CoroutineType:
                    return await given
                if hasattr(given, "__await__") or hasattr(given, "__aiter__"):
                    return await to_await(given)
                return given
            except Exception as error:
                if retry is None or call.attempts >= retry.attempts or not isinstance(error, retry.on):
                    raise
            await asyncio.sleep(retry.seconds_before(call.attempts + 1, self._world.random.fraction()))

    def _on_done(self, call: KeyCall, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if call.ended:
            if not task.cancelled():
                task.exception()  # seen
            return
        self.running -= 1
        if task.cancelled():
            self._owner.on_error(call, RuntimeError("the call was cancelled, and not by the job"))
        elif (raised := task.exception()) is not None:
            self._owner.on_error(call, raised)
        else:
            try:
                self._owner.on_end(call, any_number(task.result()))
            except Exception as error:  # noqa: BLE001  (whatever the user's objects do)
                self._owner.on_error(call, error)
        self._wake()

    def _on_timeout(self, call: KeyCall, task: asyncio.Task[object]) -> None:
        if not call.ended:
            self.running -= 1
            task.cancel()
            seconds = cast("int", self._calls.timeout_us) / 1e6
            self._owner.on_error(call, TimeoutError(f"no result within {seconds:g} s (timeout=)"))
            self._wake()

    def makes(self, task: asyncio.Task[Any]) -> bool:
        """Tell whether a task is one of these calls; in any thread."""
        return task in self._tasks

    async def close(self) -> None:
        """Cancel what is running, and wait for it, but not for ever."""
        await end_all(self._tasks, self._place.name, self._place.subtask)
