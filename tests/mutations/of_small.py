"""Bugs in the small operators, in states that are added to, and around dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.operators.accumulating_declarations import AggregatingState, ReducingState
from actorstream.operators.failures import Aside, DeadLetters
from actorstream.operators.ranking import Ranking
from actorstream.runtime.call_items import EMITTED, CallItem
from actorstream.state.missing import MISSING
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from actorstream.model.batch import Batch

AREA = Area("small")


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
