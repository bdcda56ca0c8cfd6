"""Bugs on the way of records through an actor: chains, a key in the middle of one, lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.operators.step_text import Lists
from actorstream.runtime.chain_runner import ChainRunner
from actorstream.runtime.mailbox import Lane
from actorstream.testing.session import Session
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

AREA = Area("chains")

_ALONE: dict[str, Any] = {"job": "around", "sessions": (Session(1, stop_after=0.12), Session(1, power=True))}


@AREA.in_jobs("the part after the key is run twice for what was fetched", **_ALONE)
def _after_key_twice() -> Sequence[AbstractContextManager[object]]:
    real = ChainRunner._before_key

    async def before_key(self: ChainRunner, *piece: Any, timed: bool) -> tuple[float, Lists]:
        seconds, lists = await real(self, *piece, timed=timed)
        compiled = self._step_for("after key", timed=timed)
        results = compiled.step.run(lists.values, lists.keys, lists.timestamps, lists.marks, 0, len(lists.values))
        await self._deliver(compiled, results)
        return seconds, lists

    return [patch.object(ChainRunner, "_before_key", before_key)]


@AREA.in_jobs("what the part before the key gives to others is lost", **_ALONE)
def _before_key_not_delivered() -> Sequence[AbstractContextManager[object]]:
    real_deliver, real_before = ChainRunner._deliver, ChainRunner._before_key

    async def nothing(self: ChainRunner, compiled: Any, results: Any) -> None:
        """Lose it."""

    async def before_key(self: ChainRunner, *piece: Any, timed: bool) -> tuple[float, Lists]:
        with patch.object(ChainRunner, "_deliver", nothing):
            return await real_before(self, *piece, timed=timed)

    return [patch.object(ChainRunner, "_before_key", before_key), patch.object(ChainRunner, "_deliver", real_deliver)]


@AREA.in_jobs("the chain is done whole after its part before the key", **_ALONE)
def _whole_after_part() -> Sequence[AbstractContextManager[object]]:
    real = ChainRunner._before_key

    async def before_key(self: ChainRunner, values: Any, *rest: Any, timed: bool) -> tuple[float, Lists]:
        seconds, _ = await real(self, values, *rest, timed=timed)
        timestamps, marks, start, count = rest
        whole = self._step_for("whole", timed=timed, marked=marks is not None)
        await self._deliver(whole, whole.step.run(values, None, timestamps, marks, start, count))
        return seconds, Lists([], [], None)

    return [patch.object(ChainRunner, "_before_key", before_key)]


@AREA.in_topologies("a batch is put into its lane twice", "prefix")
def _twice() -> Sequence[AbstractContextManager[object]]:
    real = Lane.put
    puts = [0]

    def put(self: Lane[Any], item: Any, records: int = 0, size_bytes: int = 0) -> None:
        real(self, item, records, size_bytes)
        puts[0] += records > 0
        if records and puts[0] % 9 == 0 and hasattr(item, "values"):
            real(self, item, records, size_bytes)

    return [patch.object(Lane, "put", put)]
