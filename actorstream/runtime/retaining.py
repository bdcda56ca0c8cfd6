"""What sources must keep: the positions of the oldest kept checkpoint, told to those that delete.

Two sources of a job may read one log, so each registers under a name of its own: <job id>/<source>.
A job without a store never comes back and registers nothing: nobody would ever take it out again.
"""

from __future__ import annotations

from collections import deque
from os.path import basename
from typing import TYPE_CHECKING, NamedTuple

from actorstream.graph.nodes import SourceSpec
from actorstream.model.connect import ReleasingSource, RetainingSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from actorstream.graph.plan import Plan
    from actorstream.runtime.messages import SplitPosition

    Positions = Mapping[str, Mapping[str, SplitPosition]]


async def release(plan: Plan, job: str) -> None:
    """Let every source forget a job that has ended for good."""
    for chain in plan.chains:
        spec = chain.head.spec
        if isinstance(spec, SourceSpec) and isinstance(spec.source, ReleasingSource):
            await spec.source.release(f"{job}/{chain.head.name}")


def consumer_of(job: str, source: str, savepoint: str) -> str:
    """Name a savepoint among those that a log keeps records for; `savepoint` is its folder."""
    return f"{job}/{source}@{basename(savepoint)}"


class ClaimedSavepoint(NamedTuple):
    """A savepoint that is the job's to delete; `consumers`: under these names sources may keep records for it."""

    folder: str
    consumers: Sequence[str]


class Retaining:
    """One attempt's register of positions. Positions only grow, so the oldest kept checkpoint's are the lowest."""

    def __init__(self, plan: Plan, job: str, store: str | None, kept: Sequence[Positions], retained: int) -> None:
        """Start from the positions of the checkpoints in the store, oldest first; `retained` of them are kept.

        `store` None: the job's state goes with its process.
        """
        self._sources = {
            chain.head.name: chain.head.spec.source
            for chain in plan.chains
            if store is not None
            and isinstance(chain.head.spec, SourceSpec)
            and isinstance(chain.head.spec.source, RetainingSource)
        }
        self._job = job
        self._store = store or ""
        self._kept: deque[Positions] = deque(kept, maxlen=retained)
        self._told: dict[str, dict[str, object]] = {}

    async def before_reading(self) -> None:
        """Register every source, so that nothing it needs goes from now on."""
        for name in self._sources:
            await self._tell(name, force=True)

    async def on_complete(self, positions: Positions) -> None:
        """Take the positions of a complete checkpoint; an older one may have gone."""
        self._kept.append(positions)
        for name in self._sources:
            await self._tell(name, force=False)

    async def on_savepoint(self, folder: str, positions: Positions) -> None:
        """Keep what a savepoint needs until somebody says that it is gone: the job does not follow it."""
        for name, consumer in self.consumers_of(folder).items():
            read = {split: place.position for split, place in positions.get(name, {}).items()}
            await self._sources[name].keep_for(consumer, folder, read)

    def consumers_of(self, folder: str) -> dict[str, str]:
        """Give the names under which the sources keep what the savepoint in `folder` needs."""
        return {name: consumer_of(self._job, name, folder) for name in self._sources}

    async def forget(self, folder: str, consumers: Iterable[str]) -> None:
        """Let every source forget the savepoint that was in `folder`, under whichever of these names it knows it."""
        consumers = list(consumers)
        for source in self._sources.values():
            if isinstance(source, ReleasingSource):
                for name in consumers:
                    await source.release(name, folder)

    async def _tell(self, name: str, *, force: bool) -> None:
        oldest = self._kept[0].get(name, {}) if self._kept else {}
        positions = {split: place.position for split, place in oldest.items()}
        if force or positions != self._told.get(name):
            await self._sources[name].keep_for(f"{self._job}/{name}", self._store, positions)
            self._told[name] = positions
