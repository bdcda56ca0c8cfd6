"""Bugs in the event log: commits that come again, what is synced, and the fence against who was replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.eventlog.ledger import Committed
from actorstream.eventlog.transaction import LogTransaction, RaiseFence
from actorstream.testing.disk import SimulatedDisk
from actorstream.testing.session import Session
from tests.mutations.circumstances import act, in_turns, unsynced
from tests.mutations.entering import Area
from tests.simulation.evolution_plans import Part, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

AREA = Area("log")


@AREA.in_jobs("a commit that comes again is made again (T102)")
def _double_commit() -> Sequence[AbstractContextManager[object]]:
    real = LogTransaction.document

    def document(self: LogTransaction, key: bytes, type_: Any) -> Any:
        return None if type_ is Committed else real(self, key, type_)

    return [patch.object(LogTransaction, "document", document)]


@AREA.in_jobs("a commit to the log is not synced")
def _commit_not_synced() -> Sequence[AbstractContextManager[object]]:
    return [unsynced("synced", lambda path: "/out" in path or "/all" in path or "/odd" in path)]


@AREA.in_topologies("the names of a log's files are not made durable", "kept", poison=False)
def _names_not_durable() -> Sequence[AbstractContextManager[object]]:
    real = SimulatedDisk.sync_dir

    def sync_dir(self: SimulatedDisk, path: str, /) -> None:
        if "/simulated/" not in f"{path}/":
            real(self, path)

    return [patch.object(SimulatedDisk, "sync_dir", sync_dir)]


_TWO = in_turns(
    Turn(Session(power=True), (Part(acts=(act(0.1, "savepoint"), act(0.4, "stop", "t")), parallelism=2),)),
    Turn(Session(power=True), (Part("move"), Part("move", after=0.15))),
)


@AREA.in_jobs("of two with one attempt number both write", evolve=_TWO)
def _holder_ignored() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(LogTransaction, "refuse_another", lambda *_: None)]


def _as_before(kind: type[Any], same: Callable[[Any, RaiseFence], bool]) -> Sequence[AbstractContextManager[object]]:
    """Let a writer that opens see only those entries of this kind that are the `same`."""
    real, everything = RaiseFence.apply, LogTransaction.each_document

    def apply(self: RaiseFence, txn: LogTransaction, /) -> None:
        def each(txn: LogTransaction, prefix: bytes, type_: type[Any]) -> Iterator[Any]:
            return (entry for entry in everything(txn, prefix, type_) if type_ is not kind or same(entry, self))

        with patch.object(LogTransaction, "each_document", each):
            real(self, txn)

    return [patch.object(RaiseFence, "apply", apply)]


_FEWER = in_turns(
    Turn(Session(power=True), (Part(acts=(act(0.1, "savepoint"), act(0.4, "stop", "t")), parallelism=4),)),
    Turn(Session(power=True), (Part("move", parallelism=1, pick=0.0),)),
)


@AREA.in_jobs("a log looks only at what the same subtask has committed (T111)", evolve=_FEWER)
def _own_mark() -> Sequence[AbstractContextManager[object]]:
    return _as_before(Committed, lambda mark, writer: mark.subtask == writer.subtask)


@AREA.in_jobs(
    "a log looks only at what was committed under the same name (T111)",
    evolve=in_turns(
        Turn(Session(power=True), (Part(acts=(act(0.1, "savepoint"), act(0.4, "stop", "t")), parallelism=4),)),
        Turn(Session(power=True), (Part("move", pick=0.0),), version=1),
    ),
)
def _own_name() -> Sequence[AbstractContextManager[object]]:
    return _as_before(Committed, lambda mark, writer: mark.operator == writer.operator)
