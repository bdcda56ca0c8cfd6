"""One call of an async handler: for a record of a key, or for one of its timers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorstream.errors import InvariantError
from actorstream.operators.private_states import end_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from actorstream.operators.awaited_timers import DueTimer
    from actorstream.operators.contexts import RecordContext
    from actorstream.operators.private_context import PrivateContext
    from actorstream.operators.private_states import PrivateStates
    from actorstream.runtime.call_items import CallItem
    from actorstream.runtime.key_room import KeyRoom


class KeyCall:
    """What was taken, and what its handler has come to.

    Attributes:
        room: Its key's.
        handler: The name of the handler.
        argument: The record, or the timer.
        timestamp: The event time of it; None: it has none.
        watermark: How far event time has come before it.
        item: Of a record: where it stands in the queue, at `place`.
        timer: Of a timer: that.
        ended: There is a result, or an error.
        patience: Ends it, when its time is over.
        key_of: What gives its idempotency key.
    """

    __slots__ = (
        "argument",
        "attempts",
        "context",
        "ended",
        "error",
        "handler",
        "item",
        "key_of",
        "patience",
        "place",
        "private",
        "results",
        "room",
        "states",
        "timer",
        "timestamp",
        "watermark",
    )

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        room: KeyRoom,
        handler: str,
        argument: object,
        timestamp: int | None,
        watermark: int,
        key_of: Callable[[KeyCall], str],
        timer: DueTimer | None = None,
        item: CallItem | None = None,
        place: int = 0,
    ) -> None:
        """Wait to be called."""
        self.room = room
        self.handler = handler
        self.argument = argument
        self.timestamp = timestamp
        self.watermark = watermark
        self.item = item
        self.place = place
        self.timer = timer
        self.ended = False
        self.attempts = 0
        self.error: BaseException | None = None
        self.results: list[object] = []
        self.states: PrivateStates | None = None
        self.context: PrivateContext | None = None
        self.private: Any = None
        self.patience: asyncio.TimerHandle | None = None
        self.key_of = key_of

    @property
    def of_clock(self) -> bool:
        """Tell whether it is for a timer of the clock."""
        return self.timer is not None and self.timer.number == 1

    def again(self) -> None:
        """Forget what the handler has come to: it is called again."""
        self.ended, self.error, self.results, self.states, self.context = False, None, [], None, None
        if self.timer is not None:
            self.timer.ended = False

    def idempotency_key(self) -> str:
        """Give the key by which a service knows this call again."""
        return self.key_of(self)

    def begin(self, private: object, states: PrivateStates, context: PrivateContext) -> None:
        """An attempt begins, with states that nobody has touched."""
        self.end()
        self.attempts += 1
        self.private, self.states, self.context = private, states, context

    def end(self) -> None:
        """Let the handler have nothing more, whatever it goes on to do."""
        if self.private is not None:
            end_of(self.private)
            self.private = None
        if self.context is not None:
            self.context.close()

    def become_state(self, context: RecordContext) -> list[object]:
        """Store what the handler has changed, and give its results: its turn has come.

        Raises:
            BaseException: The handler had raised it.
        """
        if self.error is not None:
            raise self.error
        if self.states is None or self.context is None:
            raise InvariantError("a record was handed on before its handler had ended")
        self.states.store()
        self.context.carry_out(context)
        results, self.results, self.states, self.context = self.results, [], None, None
        return results
