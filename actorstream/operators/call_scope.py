"""What an awaited function may ask while it runs: the key by which a service knows this call again.

    digest of (job, operator, record), and which of the equal records in flight it is

The same for every attempt and after every recovery: a checkpoint holds the record of a call that was not emitted, and
which one it was. Two equal records have different keys while both are in flight; one that comes after the other was
emitted has the key of that one, so records that are to count twice need something that tells them apart.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Protocol, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from actorstream.errors import StateAccessError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
R = TypeVar("R")


class CallScope(Protocol):
    """The call that is running."""

    def idempotency_key(self) -> str:
        """Give the call's key."""
        ...


current_call: ContextVar[CallScope | None] = ContextVar("actorstream_call", default=None)


def idempotency_key() -> str:
    """Give the key by which a service knows this call again; use it inside an async function of a stream.

    It is the same for every retry and after every recovery. Two equal records have different keys while both are in
    flight; an equal one that comes later has the same: give records an id if they are to count twice.

    Returns:
        32 hexadecimal digits.

    Raises:
        StateAccessError: No call of a stream's function is running here.
        CodecError: The record has no encoding.
    """
    scope = current_call.get()
    if scope is None:
        raise StateAccessError(
            "idempotency_key() was used where no async function of a stream is running: call it inside the function "
            "that was given to map, filter, flat_map or map_batches"
        )
    return scope.idempotency_key()


THREADS = 32
"""So many functions given to `in_thread` run at once, in one event loop."""

_limiter: RunVar[CapacityLimiter] = RunVar("actorstream_in_thread")


def in_thread(fn: Callable[[T], R]) -> Callable[[T], Awaitable[R]]:
    """Give an async function that calls a blocking one in a thread: `stream.map(in_thread(resize))`.

    At most 32 such threads run in one event loop, beside those in which checkpoints are written. A thread cannot be
    stopped: a call that timed out or was cancelled goes on in it to its end, and its result is dropped.
    """

    @wraps(fn)
    async def call(value: T) -> R:
        try:
            limiter = _limiter.get()
        except LookupError:
            limiter = CapacityLimiter(THREADS)
            _limiter.set(limiter)
        return await to_thread.run_sync(fn, value, abandon_on_cancel=True, limiter=limiter)

    return call
