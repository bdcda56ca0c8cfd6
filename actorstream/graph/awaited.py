"""The operators that await a function of the user's: what is said of the calls.

async def ask(order): ...     stream.map(ask, concurrency=100, timeout=2, retry=Retry(3), rate=50)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

AsyncKind: TypeAlias = Literal["map", "filter", "flat_map", "map_batches", "process"]


class RetryPolicy(Protocol):
    """Whether and when a call that failed is made again."""

    @property
    def attempts(self) -> int:
        """How often it is made at most."""
        ...

    @property
    def on(self) -> type[Exception] | tuple[type[Exception], ...]:
        """After which errors."""
        ...

    def seconds_before(self, attempt: int, fraction: float) -> float:
        """Give how long to wait before the second attempt, the third ...; `fraction` in [0, 1) is by chance."""
        ...


@dataclass(frozen=True, slots=True)
class AsyncSpec:
    """Awaits `fn` for each record, or for many at once, while others wait; `kind` says what becomes of the result.

    At most `concurrency` calls are begun and not emitted. `timeout_us` is for all attempts of a call together, `rate`
    the most calls begun in a second, in the whole job. Of `map_batches`: up to `max_size` records go into a call, for
    which the first of them waits `max_delay_us` at most; `is_async` False: a plain function. `errors`: the side output
    of what `fn` raises; "" fails the job.
    """

    kind: AsyncKind
    fn: Callable[..., object]
    concurrency: int = 16
    ordered: bool = True
    timeout_us: int | None = None
    retry: RetryPolicy | None = None
    rate: float | None = None
    max_size: int = 1
    max_delay_us: int = 0
    is_async: bool = True
    errors: str = ""


@dataclass(frozen=True, slots=True)
class HandlerCalls:
    """How the async handlers of a process are called: so many of a subtask at a time, `timeout_us` for all attempts."""

    concurrency: int = 16
    timeout_us: int | None = None
    retry: RetryPolicy | None = None
