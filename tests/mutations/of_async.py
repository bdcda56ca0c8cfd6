"""Bugs around async functions: what is in flight, in which order it is emitted, and how far event time may go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.errors import JobFailed
from actorstream.model.batch import Batch
from actorstream.runtime.call_items import CallItem
from actorstream.runtime.call_queue import CallQueue
from actorstream.testing import simulate
from actorstream.testing.session import BrokenPromiseError
from tests.mutations.entering import Area
from tests.mutations.hunting import by_seeds
from tests.simulation.test_async_functions import asking, counts, in_windows, nothing, one_after_the_other, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from contextlib import AbstractContextManager

    from actorstream.api.pipeline import Pipeline
    from tests.mutations.hunting import Apply, Hunt

AREA = Area("async")


def of(
    pipeline: Callable[[], Pipeline],
    reference: Callable[[], Sequence[object]],
    *,
    ordered: bool = False,
    lane: Callable[[Any], Hashable] | None = None,
) -> Hunt:
    """Hunt in a pipeline, by the public simulation."""

    def run_seed(seed: int, apply: Apply) -> None:
        in_order = nothing if ordered else lane
        try:
            with apply():
                report = simulate(pipeline, seeds=[seed], reference=reference, in_order_by=in_order)
        except JobFailed as failed:
            raise BrokenPromiseError("undisturbed", str(failed)) from failed
        if report.failures:
            raise BrokenPromiseError(report.failures[0].partition(":")[0], report.failures[0])

    return by_seeds(run_seed)


COUNTS = of(asking("unordered, few slots"), lambda: counts("unordered, few slots"))
IN_ORDER = of(one_after_the_other, lambda: list(range(1, 81)), ordered=True)
SEVERAL = of(asking("flat_map"), lambda: counts("flat_map"))


@AREA.enter("what is in flight is in no checkpoint", COUNTS)
def _not_recorded() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(CallQueue, "in_flight", lambda self, **_: iter(()))]


@AREA.enter("what was emitted of a batch is in the checkpoint once more", IN_ORDER)
def _emitted_too() -> Sequence[AbstractContextManager[object]]:
    real = CallItem.in_flight

    def in_flight(self: CallItem, **how: Any) -> Batch:
        emitted, self.emitted = self.emitted, 0
        try:
            return real(self, **how)
        finally:
            self.emitted = emitted

    return [patch.object(CallItem, "in_flight", in_flight)]


@AREA.enter("results are emitted as they come where they should be in order", IN_ORDER)
def _out_of_order() -> Sequence[AbstractContextManager[object]]:
    real = CallItem.__init__

    def init(self: CallItem, *args: Any, ordered: bool) -> None:
        del ordered
        real(self, *args, ordered=False)

    return [patch.object(CallItem, "__init__", init)]


@AREA.enter("what found no room behind a call is forgotten", SEVERAL)
def _forgotten() -> Sequence[AbstractContextManager[object]]:
    real = CallQueue.emitted
    return [patch.object(CallQueue, "emitted", lambda self, left: real(self, 0))]


@AREA.enter("a watermark does not wait for the calls before it", of(in_windows, windows))
def _no_fence() -> Sequence[AbstractContextManager[object]]:
    real = CallQueue.next_ready

    def next_ready(self: CallQueue) -> Any:
        for item in self._items:
            if not isinstance(item, CallItem):
                self._items.remove(item)
                return item
        return real(self)

    return [patch.object(CallQueue, "next_ready", next_ready)]


@AREA.enter("a channel has ended when its end is taken, not when its last record is out", COUNTS)
def _early_end() -> Sequence[AbstractContextManager[object]]:
    real = CallQueue.add

    def add(self: CallQueue, channel: Any, item: Any) -> Any:
        if isinstance(item, Batch):
            return real(self, channel, item)
        self._items.appendleft((channel, item))
        return None

    return [patch.object(CallQueue, "add", add)]
