"""What is said of the calls of async functions and handlers: how many at once, how long, how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorstream.api.settings import duration_us
from actorstream.errors import PlanError
from actorstream.graph.awaited import HandlerCalls
from actorstream.operators.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

CONCURRENCY: Final = 16
"""So many calls overlap in a subtask if nothing is said."""
CONCURRENCY_MAX: Final = 1_000_000


def handler_calls(what: str, said: Mapping[str, Any]) -> HandlerCalls:
    """Read how calls are made; `what` names the operator.

    Raises:
        PlanError: A word makes no sense.
    """
    concurrency, timeout, retry = said.get("concurrency", CONCURRENCY), said.get("timeout"), said.get("retry")
    if type(concurrency) is not int or not 1 <= concurrency <= CONCURRENCY_MAX:
        raise PlanError(f"{what}: concurrency is {concurrency!r}, expected 1 to {CONCURRENCY_MAX:,}")
    if retry is not None and not isinstance(retry, Retry):
        raise PlanError(f"{what}: retry is {retry!r}, expected Retry(attempts, backoff=...)")
    timeout_us = None if timeout is None else duration_us(timeout, f"{what}: timeout", least_us=1)
    return HandlerCalls(concurrency, timeout_us, retry)
