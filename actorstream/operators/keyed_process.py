"""Process classes: a handler for each record of a key.

The states that a class declares are attributes of its object while a handler runs: how, says process_binding.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Iterable
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from actorstream.operators.contexts import BroadcastContext, Context, ElementContext, OperatorContext
    from actorstream.operators.process_timers import Timer

K = TypeVar("K")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
U_contra = TypeVar("U_contra", contravariant=True)
Emits: TypeAlias = Iterable[R] | AsyncIterable[R] | Awaitable[Iterable[R] | None] | None


class Keyed(Generic[K]):
    """What process classes share. Attributes declared as state hold the current key's value."""

    async def open(self, ctx: OperatorContext, /) -> None:
        """Prepare, once for each subtask and attempt, before its first record."""

    async def close(self) -> None:
        """Let go of what `open` took: also called when the job fails."""


class KeyedProcess(Keyed[K], Generic[K, T_contra, R]):
    """Subclass it: `on_element` is called with each record, one record of a key at a time."""

    def on_element(self, value: T_contra, ctx: Context[K], /) -> Emits[R]:
        """Give back what to emit: a list, a generator, or nothing."""
        raise NotImplementedError

    def on_timer(self, timer: Timer, ctx: Context[K], /) -> Emits[R]:
        """Take a timer that has fired; emits as `on_element`, results have the timer's time."""
        raise NotImplementedError


class KeyedCoProcess(Keyed[K], Generic[K, T_contra, U_contra, R]):
    """Two inputs, one state: `on_left` is called with the records of the first, `on_right` with those of the second.

    Between the two there is no order but what their keys' records happen to arrive in.
    """

    def on_left(self, value: T_contra, ctx: Context[K], /) -> Emits[R]:
        """Give back what to emit: a list, a generator, or nothing."""
        raise NotImplementedError

    def on_right(self, value: U_contra, ctx: Context[K], /) -> Emits[R]:
        """Give back what to emit: a list, a generator, or nothing."""
        raise NotImplementedError

    def on_timer(self, timer: Timer, ctx: Context[K], /) -> Emits[R]:
        """Take a timer that has fired; emits as the others, results have the timer's time."""
        raise NotImplementedError


class BroadcastProcess(Keyed[K], Generic[K, T_contra, U_contra, R]):
    """Records by key, beside a stream that every subtask has whole: rules, prices, a configuration.

    `on_element` has the current key's states and reads the broadcast ones; `on_broadcast` has no key and writes the
    broadcast ones, in every subtask the same. Between the two inputs there is no order.
    """

    def on_element(self, value: T_contra, ctx: Context[K], /) -> Emits[R]:
        """Give back what to emit: a list, a generator, or nothing."""
        raise NotImplementedError

    def on_broadcast(self, value: U_contra, ctx: BroadcastContext, /) -> Emits[R]:
        """Take a record of the broadcast stream; what it emits comes out once for each subtask."""
        raise NotImplementedError

    def on_timer(self, timer: Timer, ctx: Context[K], /) -> Emits[R]:
        """Take a timer that has fired; emits as the others, results have the timer's time."""
        raise NotImplementedError


class Process(Generic[T_contra, R]):
    """No key: `on_element` is called with each record that comes to a subtask. State is `OperatorListState` only."""

    async def open(self, ctx: OperatorContext, /) -> None:
        """Prepare, once for each subtask and attempt, before its first record."""

    def on_element(self, value: T_contra, ctx: ElementContext, /) -> Emits[R]:
        """Give back what to emit: a list, a generator, or nothing."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of what `open` took: also called when the job fails."""


_NO_TIMERS = {KeyedProcess.on_timer, KeyedCoProcess.on_timer, BroadcastProcess.on_timer, None}


def has_timers(process: object) -> bool:
    """Tell whether a process has written its own `on_timer`."""
    own = getattr(type(process), "on_timer", None)
    return own not in _NO_TIMERS
