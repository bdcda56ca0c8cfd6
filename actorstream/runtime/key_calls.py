"""The async handlers of one process in one subtask: those of one key one after another, those of others meanwhile.

    taken records ──> line of their key ──call──> task ──ended──> handed on in order ──> state and results, in one step
    timers that are due ──> before the line ──────┘                 fire in order ──┘

A handler works on private copies (operators/private_states.py). What it changed becomes state in the step in which the
chain runs over its record, or its timer, as over those of a plain handler: `become_state` stands where the handler
would. So states, results, timers and side outputs come about in the order in which plain handlers would have made
them, whatever order the handlers ended in, and a snapshot knows nothing of those that are under way: it holds the
records, which are handled anew.

A record that comes after a watermark may be handled before timers of *other* keys that this makes due; it waits for
those of its own. A timer waits for the records of its key that were called before it, and those that were not wait
for it. A slot is taken by a call that is running; those that have ended and wait for their turn are bounded by `ROOM`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from actorstream.errors import InvariantError
from actorstream.model.batch import Batch
from actorstream.model.signals import EndOfInput, Idle, Watermark
from actorstream.model.times import TIME_MIN
from actorstream.operators.awaited_timers import AwaitedTimers
from actorstream.operators.call_scope import current_call
from actorstream.operators.private_context import PrivateContext
from actorstream.operators.private_states import PrivateClass
from actorstream.operators.process_timers import Timer
from actorstream.operators.user_time import datetime_of
from actorstream.runtime.call_items import Kept
from actorstream.runtime.call_queue import Ended
from actorstream.runtime.key_call import KeyCall
from actorstream.runtime.key_queue import KeyQueue
from actorstream.runtime.key_room import KeyRoom
from actorstream.runtime.key_tasks import KeyTasks
from actorstream.runtime.twins import Twins

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from actorstream.graph.awaited import HandlerCalls
    from actorstream.model.ids import ChannelIndex
    from actorstream.model.world import World
    from actorstream.operators.awaited_timers import DueTimer
    from actorstream.operators.contexts import RecordContext
    from actorstream.operators.failures import DeadLetters
    from actorstream.operators.floors import Floors
    from actorstream.operators.process_binding import ProcessBinding
    from actorstream.runtime.call_queue import Signal
    from actorstream.runtime.event_time import EventTime
    from actorstream.runtime.operator_life import OperatorPlace
    from actorstream.state.operator_state import OperatorState

BEGIN_MAX: Final = 256
"""So many calls are begun before others have a turn."""
ROOM: Final = 16
"""So many records are taken for each that may be at work: others of a busy key wait among them."""
ROOM_MIN: Final = 256


class KeyCalls:
    """What was taken and has not become state, and the handlers that are running.

    Attributes:
        queue: The records, in order.
        flush: Nothing more comes.
        failure: None: what a handler raises is raised in its turn.
        floors: How far event time has come for some keys.
        letters: What writes the failures, if there is an output for them.
        reached: How far it has come for what is handed on, and how far all that this made due is done.
    """

    failure: Exception | None = None

    def __init__(
        self, calls: HandlerCalls, place: OperatorPlace, job: str, world: World, wake: Callable[[], None]
    ) -> None:
        """Begin with nothing taken; `wake` is called when something is to be asked again."""
        self._twins = Twins(job, place.name)
        self.queue = KeyQueue(self._twins.let_go)
        self.flush = False
        self.floors: Callable[[], Floors | None] = lambda: None
        self.reached: Callable[[], tuple[int, int]] = lambda: (TIME_MIN, TIME_MIN)
        self.letters: Callable[[], DeadLetters | None] = lambda: None
        self._calls = calls
        self._place = place
        self._world = world
        self._tasks = KeyTasks(self, calls, place, world, wake)
        self._room = max(ROOM_MIN, ROOM * calls.concurrency)
        self._rooms: dict[object, KeyRoom] = {}
        self._asked: deque[KeyRoom] = deque()
        self._behind_time: set[KeyRoom] = set()
        self._told: tuple[ChannelIndex, Watermark] | None = None
        self._fired: KeyCall | None = None
        self._sides: Sequence[str] = ("on_element",)
        self._inputs: Sequence[int] = ()
        self._handlers: dict[str, Callable[..., object]] = {}
        self._ahead: EventTime | None = None
        self._binding: ProcessBinding | None = None
        self._class: PrivateClass | None = None
        self._timers: AwaitedTimers | None = None

    @property
    def running(self) -> int:
        """How many handlers are at work."""
        return self._tasks.running

    def bind(
        self,
        binding: ProcessBinding,
        state: OperatorState,
        sides: Sequence[str],
        inputs: Sequence[int],
        ahead: EventTime | None,
    ) -> None:
        """Tie them to their process object.

        Args:
            binding: Its.
            state: Its subtask's.
            sides: The handler of each input.
            inputs: The input of each channel.
            ahead: The clocks by which records are told how far event time has come before them.

        Raises:
            PlanError: The class has something that handlers which overlap cannot have.
        """
        self._binding, self._sides, self._inputs, self._ahead = binding, sides, inputs, ahead
        self._class = PrivateClass(binding, state)
        names = [*sides, *(["on_timer"] if binding.timers is not None else [])]
        self._handlers = {name: getattr(self._class.made, name) for name in names}
        binding.ended_handlers = {**dict.fromkeys(sides, self._record_ended), "on_timer": self._timer_ended}
        if isinstance(binding.timers, AwaitedTimers):
            self._timers = binding.timers
            self._timers.listener = self

    # ---- what is taken

    def wants_more(self) -> bool:
        """Tell whether more records may be taken."""
        return self.queue.open < self._room

    def add(self, channel: ChannelIndex, item: Batch | Signal) -> None:
        """Take what came on a channel."""
        if isinstance(item, Batch) and item.values:
            self._add_records(channel, item)
            return
        self.queue.add(channel, item)
        self.pass_time(channel, item)

    def pass_time(self, channel: ChannelIndex, item: object) -> None:
        """Take in what something without records says of event time."""
        ahead = self._ahead
        if ahead is None:
            return
        match item:
            case Batch():
                if item.watermark is not None:
                    ahead.on_watermark(channel, item.watermark)
            case Watermark():
                ahead.on_watermark(channel, item.time_us)
            case Idle():
                ahead.on_idle(channel)
            case Ended() | EndOfInput():
                ahead.on_end(channel)
            case _:
                pass

    def _add_records(self, channel: ChannelIndex, batch: Batch) -> None:
        marks, now = None, TIME_MIN
        if self._ahead is not None:
            marks = self._ahead.begin(channel, batch.marks)
            now = self._ahead.clock.now
        added = self.queue.add(channel, batch)
        if added is None or batch.keys is None:
            raise InvariantError(f"{self._place.name} got records without keys")
        first = len(added.values) - len(batch.values)
        self.queue.begin(len(batch.values))
        handler = self._sides[self._inputs[channel] if len(self._sides) > 1 else 0]
        stamps, rooms = batch.timestamps, self._rooms
        for number, (key, given) in enumerate(zip(batch.keys, batch.values, strict=True)):
            place, value = first + number, given
            room = rooms.get(key)
            if room is None:
                room = rooms[key] = KeyRoom(key)
            if isinstance(value, Kept):
                kept = value
                added.values[place] = value = kept.value
                self._twins.take_over(added, place, kept)
            at = None if stamps is None else stamps[number]
            mark = now if marks is None else marks[number]
            room.line.append(KeyCall(room, handler, value, at, mark, self._key_of_record, None, added, place))
            if not room.asked:
                self._ask(room)
        if self._ahead is not None:
            said = batch.watermark if batch.watermark is not None or not batch.marks else batch.marks[-1]
            self._ahead.end(channel, said)

    def next_ready(self) -> tuple[ChannelIndex, Batch | Signal] | None:
        """Give what may be handed on now: records whose handlers have ended, or how far event time has come."""
        ready = self.queue.next_ready()
        if ready is None and self._behind_time and (time := self.queue.time_of_first()) != self._told:
            ready = self._told = time
        return ready

    # ---- who is called

    def _ask(self, room: KeyRoom) -> None:
        room.asked = True
        self._asked.append(room)

    def begin(self) -> bool:
        """Call whom there is a slot for; tell whether there are more, in another turn."""
        asked, tasks, left, most = self._asked, self._tasks, BEGIN_MAX, self._calls.concurrency
        while asked and left and tasks.running < most:
            room = asked.popleft()
            room.asked = False
            call = room.next_call()
            if call is None:
                continue
            if call.timer is None and self._is_behind_time(call, room):
                self._behind_time.add(room)  # asked again when something of its key has had its turn
                continue
            self._behind_time.discard(room)
            room.begin(call)
            left -= 1
            tasks.start(call)
        current_call.set(None)
        return not left and bool(asked)

    def _is_behind_time(self, call: KeyCall, room: KeyRoom) -> bool:
        """Tell whether a timer of its key is due before a record."""
        timers = self._timers
        if timers is None:
            return False
        mark = call.watermark
        floors = self.floors()
        if floors is not None:
            mark = max(mark, floors.of(room.key))
        if room.soonest <= mark:
            return True
        return timers.soonest[0] <= mark and timers.first_of(room.key) <= mark

    # ---- one call

    def attempt(self, call: KeyCall, /) -> Any:  # noqa: ANN401  (whatever a handler gives)
        """Call a handler, with states that are as they were before."""
        binding, owner = self._binding, self._class
        if binding is None or owner is None:
            raise InvariantError(f"{self._place.name} calls handlers before it is open")
        if call.timer is not None and not call.attempts:
            now, done = self.reached()
            call.watermark = now if call.timer.number else max(call.timer.place[0], done)
        watermark, at = call.watermark, call.timestamp
        if (floors := self.floors()) is not None:
            watermark = max(watermark, floors.of(call.room.key))
        written = watermark if at is None or call.timer is not None else max(at, watermark)
        states = owner.states(call.room.key, call.room.changes, watermark, written)
        context = PrivateContext(binding, states, self._world.clock, call.room.key, at, watermark)
        private = owner.new(states)
        call.begin(private, states, context)
        return self._handlers[call.handler](private, call.argument, context)

    def on_end(self, call: KeyCall, results: list[object], /) -> None:
        """A handler has ended: the next of its key goes on with what it changed."""
        if call.states is None or call.context is None:
            raise InvariantError(f"a handler of {self._place.name} ended before it began")
        call.states.finish()
        call.results = results
        room = call.room
        room.changes.put(call.states)
        room.soonest = min(room.soonest, call.context.soonest)
        self._settle(call)

    def on_error(self, call: KeyCall, error: BaseException, /) -> None:
        """A handler raised: what it changed is forgotten."""
        call.error = error
        call.states = None
        self._settle(call)

    def _settle(self, call: KeyCall) -> None:
        call.end()
        call.ended = True
        if call.patience is not None:
            call.patience.cancel()
        room = call.room
        room.at_work = None
        if call.timer is not None:
            call.timer.ended = True
        elif call.item is not None:
            self.queue.finish(call.item, call.place, call)
        room.give_way()
        if not room.asked:
            self._ask(room)

    # ---- its turn has come: what stands in the place of handlers in the chain

    def _record_ended(self, value: object, context: RecordContext) -> list[object]:
        del value
        call = self.queue.offered.popleft()
        if not isinstance(call, KeyCall):
            raise InvariantError(f"{self._place.name} was handed a record whose handler has not ended")
        return self._turn_of(call, context)

    def _timer_ended(self, timer: object, context: RecordContext) -> list[object]:
        del timer
        call, self._fired = self._fired, None
        if call is None:
            raise InvariantError(f"a timer of {self._place.name} fired whose handler was not called")
        return self._turn_of(call, context)

    def _turn_of(self, call: KeyCall, context: RecordContext) -> list[object]:
        room = call.room
        room.stored()
        if room.is_empty:
            del self._rooms[room.key]
        elif not room.asked:
            self._ask(room)
        if call.error is not None and call.attempts > 1:
            letters = self.letters()
            if letters is not None:
                letters.attempts = call.attempts
            else:
                call.error.add_note(f"after {call.attempts} attempts")
        return call.become_state(context)

    # ---- timers

    def on_due(self, timer: DueTimer, /) -> None:
        """A timer is due: its handler is called as soon as its key is free."""
        room = self._rooms.get(timer.key)
        if room is None:
            room = self._rooms[timer.key] = KeyRoom(timer.key)
        at = timer.place[0]
        argument = Timer(datetime_of(at), cast("str", timer.name), timer.domain)
        call = KeyCall(room, "on_timer", argument, at, TIME_MIN, self._key_of_timer, timer)
        timer.call = call
        room.wait_for_turn(call)
        room.give_way()
        if not room.asked:
            self._ask(room)

    def on_gone(self, timer: DueTimer, /) -> None:
        """A timer that was due is none any more."""
        call = cast("KeyCall", timer.call)
        call.room.due.remove(call)

    def on_fired(self, timer: DueTimer, /) -> None:
        """A timer fires: `_timer_ended` comes next."""
        call = cast("KeyCall", timer.call)
        call.room.due.remove(call)
        self._fired = call

    # ---- identity

    def _key_of_record(self, call: KeyCall) -> str:
        if call.item is None:
            raise InvariantError("a record without a place")
        return self._twins.key_of(call.item, call.place)

    def _key_of_timer(self, call: KeyCall) -> str:
        timer = cast("DueTimer", call.timer)
        return self._twins.key_of_other([timer.key, timer.name, timer.place[0], timer.number])

    # ---- from outside

    def makes(self, task: asyncio.Task[Any]) -> bool:
        """Tell whether a task is one of these calls; in any thread."""
        return self._tasks.makes(task)

    async def close(self) -> None:
        """Cancel what is running, and wait for it, but not for ever."""
        await self._tasks.close()
