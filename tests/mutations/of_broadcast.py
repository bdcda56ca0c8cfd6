"""Bugs in what belongs to no key: broadcast edges and state, and lists that are shared out."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.operators import unkeyed_states
from actorstream.operators.broadcast_view import Writable
from actorstream.operators.operator_list import OperatorList
from actorstream.runtime import building
from actorstream.runtime.outputs import ExchangeOutput
from actorstream.testing.session import Session
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from actorstream.state.unkeyed import Unkeyed

AREA = Area("broadcast")

_JOB: dict[str, Any] = {"job": "without-key"}
_RESTARTED = {"sessions": (Session(3, crash_step=300), Session(3)), "pause": 0.1}


@AREA.in_jobs("a broadcast record goes to one subtask", **_JOB)
def _to_one() -> Sequence[AbstractContextManager[object]]:
    real = ExchangeOutput.send

    def send(self: ExchangeOutput, result: Any, origin: Any, watermark: int | None = None) -> int:
        self._copies = False
        return real(self, result, origin, watermark)

    return [patch.object(ExchangeOutput, "send", send)]


@AREA.in_jobs("broadcast state is restored to its keeper only", **_JOB)
def _to_keeper() -> Sequence[AbstractContextManager[object]]:
    real = Writable.fill

    def fill(self: Writable, entries: Iterable[tuple[object, object]]) -> None:
        if self._table is not None:
            real(self, entries)

    return [patch.object(Writable, "fill", fill)]


@AREA.in_topologies("a subtask that keeps no broadcast state begins without", "prefix", _RESTARTED, shape="broadcast")
def _without() -> Sequence[AbstractContextManager[object]]:
    return _to_keeper()


@AREA.in_jobs("broadcast state is not restored", **_JOB)
def _forgotten() -> Sequence[AbstractContextManager[object]]:
    async def nothing(*_: object) -> dict[str, Unkeyed]:
        return {}

    return [patch.object(building, "read_unkeyed", nothing)]


@AREA.in_jobs("every subtask takes the lists of all", **_JOB)
def _all_lists() -> Sequence[AbstractContextManager[object]]:
    def restore(self: OperatorList, items: Iterable[object], *, moved: bool) -> None:
        del items
        self._items, self._changed = list(_everything), moved

    _everything: list[object] = []
    real = unkeyed_states._list

    def one(declaration: Any, owner: type, state: Any, place: Any, restored: Unkeyed) -> OperatorList:
        _everything[:] = chain.from_iterable(each.items for each in restored.lists.get(declaration.name, ()))
        return real(declaration, owner, state, place, restored)

    return [patch.object(OperatorList, "restore", restore), patch.object(unkeyed_states, "_list", one)]


@AREA.in_jobs("a list that was dealt out is not stored before it changes", **_JOB)
def _not_stored() -> Sequence[AbstractContextManager[object]]:
    real = OperatorList.restore
    return [patch.object(OperatorList, "restore", lambda self, items, moved: real(self, items, moved=False))]


@AREA.in_jobs("what is broadcast is stored with the next record only", **_JOB)
def _late() -> Sequence[AbstractContextManager[object]]:
    real, before = Writable.stored, dict[int, dict[object, None]]()

    def stored(self: Writable) -> None:
        touched = dict(self._touched)
        self._touched = before.get(id(self), {})
        before[id(self)] = touched
        real(self)

    return [patch.object(Writable, "stored", stored)]
