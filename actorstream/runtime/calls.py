"""The calls of one async function in one subtask: begun as there is room, finished in any order.

    taken records ──begin──> task: attempt, wait, attempt ... ──> result, noted at its place in the queue
                              │ timeout: what has failed first counts, whatever comes later (T67)
                              └ one call a record; of map_batches one for many

Every call is a task of its own, so that functions find the context that they expect: `asyncio.timeout`, anyio's task
groups, context variables that end with the call. A slot is held until the result is emitted, so what waits behind a
slow call is bounded. Nothing here waits: the actor asks what is ready, and is woken when something has come.

A call that raised, for good, is the actor's failure, with the record and its position. Calls are cancelled when the
actor ends; one that swallows that is named in the log and left.
"""

from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, cast

from actorstream.errors import StateAccessError, UserCodeError
from actorstream.operators.any_number import any_number
from actorstream.operators.call_scope import current_call
from actorstream.operators.failures import Aside, DeadLetters, is_of_record
from actorstream.runtime.awaiting import end_all, to_await
from actorstream.runtime.call_items import PENDING, CallItem, Kept
from actorstream.runtime.call_queue import CallQueue
from actorstream.runtime.twins import Twins

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.graph.awaited import AsyncSpec
    from actorstream.model.batch import Batch
    from actorstream.model.ids import ChannelIndex
    from actorstream.model.world import World
    from actorstream.runtime.call_queue import Signal
    from actorstream.runtime.operator_life import OperatorPlace

BEGIN_MAX: Final = 256
"""So many calls are begun before others have a turn."""


class Calls:
    """What was taken and not emitted, and the calls that are running.

    Attributes:
        queue: Where results are put.
        failure: What the actor fails with, once there is something.
        flush: Begin also what may still be added to: nothing more comes.
        running: How many calls are running.
    """

    def __init__(self, spec: AsyncSpec, place: OperatorPlace, job: str, world: World, wake: Callable[[], None]) -> None:
        """Begin with nothing taken; `wake` is called when something is to be asked again."""
        self._twins = Twins(job, place.name)
        self.queue = CallQueue(spec.kind, self._twins.let_go, ordered=spec.ordered)
        self.failure: Exception | None = None
        self.flush = False
        self._spec = spec
        self._place = place
        self._world = world
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.running = 0
        self._room = spec.concurrency * spec.max_size
        self._interval = place.parallelism / spec.rate if spec.rate else 0.0
        self._next_begin = 0.0
        self._gathered_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._origin: tuple[str, object] | None = None
        self._letters = DeadLetters(place.name, place.subtask, lambda: self._origin) if spec.errors else None
        self._grouped = spec.kind == "map_batches"
        self._simple = spec.retry is None
        self._as_given = spec.kind == "map"
        self._fn = cast("Callable[[object], Any]", spec.fn)

    # ---- what is taken, and begun

    def wants_more(self) -> bool:
        """Tell whether more records would be begun, if they were there."""
        queue = self.queue
        return queue.unbegun < self._spec.max_size and queue.open + queue.unbegun < self._room

    def next_ready(self) -> tuple[ChannelIndex, Batch | Signal] | None:
        """Give what may be emitted now."""
        return self.queue.next_ready()

    def add(self, channel: ChannelIndex, item: Batch | Signal) -> None:
        """Take what came on a channel; what a checkpoint had kept of a record is taken over."""
        if self._grouped and self._gathered_since is None:
            self._gathered_since = self._world.clock.monotonic()
        before = self.queue.unbegun
        added = self.queue.add(channel, item)
        if added is not None:
            for place in range(len(added.values) - (self.queue.unbegun - before), len(added.values)):
                if added.values[place].__class__ is Kept:
                    self._take_over(added, place, cast("Kept", added.values[place]))

    def _take_over(self, item: CallItem, place: int, kept: Kept) -> None:
        item.values[place] = kept.value
        self._twins.take_over(item, place, kept)
        if kept.results is not None:
            item.results[place] = kept.results[0]

    def begin(self) -> bool:
        """Begin what there is room for; tell whether there is more to begin in another turn."""
        queue, left = self.queue, BEGIN_MAX
        while left and queue.unbegun and queue.open < self._room and self.failure is None:
            if self._grouped:
                if not self._group_is_due():
                    break
                self._begin_group()
                left -= 1
            else:
                many = self._may_begin(min(left, self._room - queue.open))
                if not many:
                    break
                item, places = queue.begin(many)
                left -= len(places)
                values, results = item.values, item.results
                for place in places:
                    if results[place] is PENDING:
                        self._start(_Call(self, item, place), values[place])
                    else:  # kept with its result
                        queue.finish(item, place, results[place])
        current_call.set(None)
        return not left

    def _may_begin(self, many: int) -> int:
        """Tell how many of `many` calls the rate lets begin now."""
        if not self._interval:
            return many
        now = self._world.clock.monotonic()
        if now < self._next_begin:
            self._wake_in(self._next_begin - now)
            return 0
        self._next_begin = max(self._next_begin, now - self._interval) + self._interval
        return 1

    def _group_is_due(self) -> bool:
        if self.running >= self._spec.concurrency:
            return False
        if self.flush or self.queue.unbegun >= self._spec.max_size:
            return True
        since = self._world.clock.monotonic() if self._gathered_since is None else self._gathered_since
        left = since + self._spec.max_delay_us / 1e6 - self._world.clock.monotonic()
        if left <= 0:
            return True
        self._wake_in(left)
        return False

    def _wake_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._wake()

    def _begin_group(self) -> None:
        places, left = list[tuple[CallItem, int]](), self._spec.max_size
        while self.queue.unbegun and left:
            item, begun = self.queue.begin(left)
            left -= len(begun)
            for place in begun:
                if item.results[place] is PENDING:
                    places.append((item, place))
                else:
                    self.queue.finish(item, place, item.results[place])
        self._gathered_since = self._world.clock.monotonic() if self.queue.unbegun else None
        if places:
            self._start(_Call(self, *places[0], places), [item.values[place] for item, place in places])

    # ---- one call

    def _start(self, call: _Call, argument: object) -> None:
        current_call.set(call)
        try:
            if not self._simple:
                coroutine = self._attempts(call, argument)
            elif self._spec.is_async:
                coroutine = self._fn(argument)
                if type(coroutine) is not CoroutineType:
                    coroutine = to_await(coroutine)
            else:
                self.note(call, self._fn(argument))
                return
        except Exception as error:  # noqa: BLE001  (a function of the user's)
            self.fail(call, error)
            return
        self.running += 1
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(call.on_done)
        if self._spec.timeout_us is not None:
            call.timer = self._loop.call_later(self._spec.timeout_us / 1e6, self._on_timeout, call, task)

    async def _attempts(self, call: _Call, argument: object) -> object:
        retry, attempt = self._spec.retry, 1
        while True:
            try:
                given = self._fn(argument)
                return await (given if type(given) is CoroutineType else to_await(given))
            except Exception as error:
                if retry is None or attempt >= retry.attempts or not isinstance(error, retry.on):
                    raise
            attempt += 1
            call.attempts = attempt
            await asyncio.sleep(retry.seconds_before(attempt, self._world.random.fraction()))

    def on_done(self, call: _Call, task: asyncio.Task[object]) -> None:
        """Take what a call has come to, unless its time was over before."""
        self._tasks.discard(task)
        if call.settled:
            if not task.cancelled():
                task.exception()  # seen
            return
        self.running -= 1
        if task.cancelled():
            self.fail(call, RuntimeError("the call was cancelled, and not by the job"))
        elif (error := task.exception()) is not None:
            self.fail(call, error)
        else:
            self.note(call, task.result())
        self._wake()

    def _on_timeout(self, call: _Call, task: asyncio.Task[object]) -> None:
        if not call.settled:
            self.running -= 1
            task.cancel()
            seconds = cast("int", self._spec.timeout_us) / 1e6
            self.fail(call, TimeoutError(f"no result within {seconds:g} s (timeout=)"))
            self._wake()

    def note(self, call: _Call, result: object) -> None:
        """Put what a call gave at the places of its records."""
        call.settle()
        if self._as_given:
            self.queue.finish(call.item, call.place, result)
            return
        try:
            if call.places is not None:
                for (item, place), each in zip(call.places, _one_each(result, len(call.places)), strict=True):
                    self.queue.finish(item, place, each)
            elif self._spec.kind == "filter":
                self.queue.finish(call.item, call.place, bool(result))
            else:
                self.queue.finish(call.item, call.place, any_number(result))
        except Exception as error:  # noqa: BLE001  (whatever the user's objects do)
            self.fail(call, error)

    def fail(self, call: _Call, error: BaseException) -> None:
        """Let the actor fail with what a call raised; the first one counts."""
        call.settle()
        item, place = call.item, call.place
        position = item.origin
        if self._letters is not None and is_of_record(error) and isinstance(error, Exception):
            for each, at in call.places or ((item, place),):
                self._origin = each.origin
                stamps = each.timestamps
                at_us = None if stamps is None else stamps[at]
                letter = self._letters.write(error, each.values[at], at_us, attempts=call.attempts)
                self.queue.finish(each, at, Aside(letter))
            return
        read = "" if position is None else f", read from split {position[0]!r} up to position {position[1]!r}"
        tries = f" after {call.attempts} attempts" if call.attempts > 1 else ""
        if self.failure is None:
            self.failure = UserCodeError(
                f"{self._place.name} (subtask {self._place.subtask}) raised {type(error).__name__}: {error}{tries} at "
                f"a record of type {type(item.values[place]).__name__}{read}",
                operator=self._place.name,
                subtask=self._place.subtask,
                position=position,
                record=item.values[place],
            )
            self.failure.__cause__ = error

    # ---- identity

    def key_of(self, call: _Call) -> str:
        """Give the key of a call: that of its record, and which of the equal records in flight that is.

        Raises:
            StateAccessError: It is for many records: which these are may be another choice after a recovery.
        """
        if self._grouped:
            raise StateAccessError(
                "idempotency_key() was used in map_batches, where a recovery may put records together anew: give each "
                "record an id of its own, or use map"
            )
        return self._twins.key_of(call.item, call.place)

    # ---- from outside

    def makes(self, task: asyncio.Task[Any]) -> bool:
        """Tell whether a task is one of these calls; in any thread."""
        return task in self._tasks

    async def close(self) -> None:
        """Cancel what is running, and wait for it, but not for ever."""
        if self._timer is not None:
            self._timer.cancel()
        await end_all(self._tasks, self._place.name, self._place.subtask)


class _Call:
    """One call: for a record, or for those at its `places`."""

    __slots__ = ("_calls", "attempts", "item", "place", "places", "settled", "timer")

    def __init__(
        self, calls: Calls, item: CallItem, place: int, places: Sequence[tuple[CallItem, int]] | None = None
    ) -> None:
        self._calls = calls
        self.item = item
        self.place = place
        self.places = places
        self.attempts = 1
        self.settled = False
        self.timer: asyncio.TimerHandle | None = None

    def on_done(self, task: asyncio.Task[object]) -> None:
        """Take what has become of it."""
        self._calls.on_done(self, task)

    def settle(self) -> None:
        """Say that it has its result: what comes later does not count (T68)."""
        self.settled = True
        if self.timer is not None:
            self.timer.cancel()

    def idempotency_key(self) -> str:
        """Give the key by which a service knows this call again."""
        return self._calls.key_of(self)


def _one_each(result: object, count: int) -> Sequence[object]:
    if isinstance(result, str | bytes) or not hasattr(result, "__len__") or not hasattr(result, "__iter__"):
        raise TypeError(f"gave {type(result).__name__}, expected a sequence of {count} results")
    results = list(cast("Sequence[object]", result))
    if len(results) != count:
        raise TypeError(f"gave {len(results)} results for {count} records, expected one for each")
    return results
