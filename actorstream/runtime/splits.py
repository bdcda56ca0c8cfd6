"""Which subtask reads which split: asked of the sources at each start, dealt in turn, with where each was left."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from actorstream.errors import ActorstreamError, RestoreError, StateAccessError, UserCodeError
from actorstream.graph.nodes import SourceSpec
from actorstream.model.ids import SubtaskId
from actorstream.runtime.messages import SplitPosition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorstream.graph.plan import Plan
    from actorstream.runtime.restoring import Restored


async def assign_splits(plan: Plan, restored: Restored, *, durable: bool) -> dict[SubtaskId, dict[str, SplitPosition]]:
    """Ask every source for its splits and deal them to its subtasks, restored positions with them."""
    assigned: dict[SubtaskId, dict[str, SplitPosition]] = {}
    for chain in plan.chains:
        if not isinstance(chain.head.spec, SourceSpec):
            continue
        known = restored.splits.get(chain.head.name, {})
        with blaming(chain.head.name, "when it was asked for its splits"):
            found = list(await chain.head.spec.source.splits())
        if not durable and known and all(place.finished for place in known.values()):
            found = list(known)  # it has ended: a split that is new would meet subtasks that have let go of their state
        missing = sorted(split for split, place in known.items() if split not in found and not place.finished)
        if missing:
            raise RestoreError(
                f"source {chain.head.name!r} has no split {missing[0]!r} any more (it has {found[:10]}), but the "
                "checkpoint holds a position in it: bring it back, or start in another store"
            )
        for subtask in chain.subtasks():
            assigned[subtask] = {}
        for number, split in enumerate(sorted({*found, *known})):
            subtask = SubtaskId(chain.name, number % chain.parallelism)
            assigned[subtask][split] = known.get(split, SplitPosition(None, finished=False))
    return assigned


def silent_subtasks(plan: Plan, splits: Mapping[SubtaskId, Mapping[str, SplitPosition]]) -> frozenset[SubtaskId]:
    """Find the subtasks that no record can come to: sources without an open split, and those behind only such."""
    silent: set[SubtaskId] = set()
    for chain in plan.chains:
        for identity in chain.subtasks():
            if identity in splits:
                nothing_comes = all(place.finished for place in splits[identity].values())
            else:
                nothing_comes = all(
                    SubtaskId(plan.chain_of[exchange.sender].name, sender) in silent
                    for exchange, sender in plan.senders(chain, identity.subtask)
                )
            if nothing_comes:
                silent.add(identity)
    return frozenset(silent)


@contextmanager
def blaming(operator: str, when: str) -> Iterator[None]:
    """Say which operator it was whose code raised before any actor ran."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ActorstreamError) and not isinstance(error, StateAccessError):
            raise
        raise UserCodeError(
            f"{operator} raised {type(error).__name__} {when}: {error}", operator=operator, subtask=0, position=None
        ) from error
