"""Bugs in the small operators, in states that are added to, and around dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.operators.accumulating_declarations import AggregatingState, ReducingState
from actorstream.operators.distinct import Distinct
from actorstream.operators.failures import Aside, DeadLetters
from actorstream.operators.ranking import Ranking
from actorstream.runtime import calls
from actorstream.runtime.call_items import EMITTED, CallItem
from actorstream.runtime.call_queue import CallQueue
from actorstream.runtime.calls import Calls
from actorstream.runtime.chain_runner import ChainRunner
from actorstream.runtime.key_calls import KeyCalls
from actorstream.state.missing import MISSING
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from actorstream.model.batch import Batch

AREA = Area("small")
DROPPED = object()


@AREA.in_topologies("a record goes before its equals in a ranking", "prefix", tail="small", events=40, poison=False)
def _before_its_equals() -> Sequence[AbstractContextManager[object]]:
    def enter(self: Ranking, ranking: tuple[object, ...], record: object) -> tuple[object, ...]:
        by: Any = self._by
        rest = sorted((record, *ranking), key=by, reverse=True)[: self._n]
        return ranking if rest == [*ranking] else tuple(rest)

    return [patch.object(Ranking, "enter", enter)]


@AREA.in_topologies("a reducing state takes no second value", "prefix", tail="small", poison=False)
def _first_only() -> Sequence[AbstractContextManager[object]]:
    real = ReducingState.plus

    def plus(self: ReducingState[Any], held: Any, value: Any) -> object:
        return real(self, held, value) if held is MISSING else held

    return [patch.object(ReducingState, "plus", plus)]


@AREA.in_topologies("all keys have one accumulator", "prefix", tail="small", poison=False)
def _one_for_all() -> Sequence[AbstractContextManager[object]]:
    shared: dict[int, Any] = {}

    def plus(self: AggregatingState[Any, Any, Any], held: Any, value: Any) -> object:
        if held is MISSING:
            held = shared.setdefault(id(self), self._aggregate.create())
        return self._aggregate.add(held, value)

    return [patch.object(AggregatingState, "plus", plus)]


@AREA.in_topologies("a dead letter does not know of the tries before", "prefix", tail="asking", poison=False)
def _one_try() -> Sequence[AbstractContextManager[object]]:
    real = DeadLetters.write

    def write(self: DeadLetters, *args: Any, **how: Any) -> object:
        return real(self, *args, **how)._replace(attempts=1)

    return [patch.object(DeadLetters, "write", write)]


@AREA.in_topologies("a dead letter that waits is in no checkpoint", "complete", tail="asking", events=40, poison=False)
def _lost() -> Sequence[AbstractContextManager[object]]:
    real = CallItem.in_flight

    def in_flight(self: CallItem, **how: Any) -> Batch:
        letters = [place for place, result in enumerate(self.results) if _is_letter(result)]
        if self.in_order or not letters:
            return real(self, **how)
        before = list(self.results)
        for place in letters:
            self.results[place] = EMITTED
        try:
            return real(self, **how)
        finally:
            self.results[:] = before

    return [patch.object(CallItem, "in_flight", in_flight)]


def _is_letter(result: object) -> bool:
    return isinstance(result, Aside) or (isinstance(result, (list, tuple)) and any(map(_is_letter, result)))


@AREA.in_topologies("a call whose time is over has come to nothing", "complete", tail="calling", poison=False)
def _overdue_forgotten() -> Sequence[AbstractContextManager[object]]:
    def on_timeout(self: Calls, call: Any, task: Any) -> None:
        if not call.settled:
            self.running -= 1
            task.cancel()
            call.settle()
            self.queue.finish(call.item, call.place, DROPPED)
            self._wake()

    real = CallQueue._given

    def given(self: CallQueue, item: CallItem, places: Any) -> Any:
        values, stamps, counts = real(self, item, places)
        if DROPPED not in values:
            return values, stamps, counts
        kept = [place for place, value in enumerate(values) if value is not DROPPED]
        stamps = None if stamps is None else [stamps[place] for place in kept]
        return [values[place] for place in kept], stamps, [int(value is not DROPPED) for value in values]

    return [patch.object(Calls, "_on_timeout", on_timeout), patch.object(CallQueue, "_given", given)]


@AREA.in_topologies("what a handler changed before it raised is kept", "prefix", tail="calling", poison=False)
def _kept_though_it_raised() -> Sequence[AbstractContextManager[object]]:
    def on_error(self: KeyCalls, call: Any, error: BaseException, /) -> None:
        call.error = error
        if call.states is not None:
            call.states.finish()
            call.room.changes.put(call.states)
        self._settle(call)

    return [patch.object(KeyCalls, "on_error", on_error)]


@AREA.in_topologies("several results are dealt out the wrong way round", "prefix", tail="calling", poison=False)
def _dealt_out() -> Sequence[AbstractContextManager[object]]:
    real = calls._one_each
    return [patch.object(calls, "_one_each", lambda result, count: [*reversed(real(result, count))])]


@AREA.in_topologies("distinct lets a key through once in each process", "prefix", tail="small", poison=False)
def _once_a_process() -> Sequence[AbstractContextManager[object]]:
    known: set[str] = set()

    def on_element(self: Distinct, value: Any, ctx: Any, /) -> tuple[object, ...] | None:
        if ctx.key in known:
            return None
        known.add(ctx.key)
        return (value,)

    return [patch.object(Distinct, "on_element", on_element)]


@AREA.in_topologies(
    "what a throttle holds back is not in the snapshot",
    "complete",
    {"pause": 0.005},
    tail="small",
    events=40,
    poison=False,
)
def _held_back() -> Sequence[AbstractContextManager[object]]:
    real = ChainRunner.rest_of

    def rest_of(self: ChainRunner, batch: Batch, start: int, part: int) -> Batch | None:
        rest = real(self, batch, start, part)
        return None if self.throttles else rest

    return [patch.object(ChainRunner, "rest_of", rest_of)]
