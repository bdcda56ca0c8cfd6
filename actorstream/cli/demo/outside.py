"""What an outsider can see of the job: committed output in the logs, and manifests in the store.

Nothing here asks the job itself, so it is true also in the instant after a SIGKILL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from os.path import join
from typing import TYPE_CHECKING

from actorstream.checkpoints.view import StoreView
from actorstream.errors import StoreError
from actorstream.eventlog.untyped import open_untyped
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from actorstream.eventlog.log import EventLog
    from actorstream.model.ids import CheckpointId, LayerName


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One completed checkpoint: how long it took, and how many bytes of state it added."""

    number: int
    seconds: float
    new_bytes: int


@dataclass(slots=True)
class Checkpoints:
    """Every checkpoint that was ever complete in the store, seen while it was there."""

    store: str
    seen: dict[CheckpointId, Checkpoint] = field(default_factory=dict)
    _layers: set[LayerName] = field(default_factory=set)

    def look(self) -> None:
        """Take note of new ones. Blocking."""
        view = StoreView(current_world().files, self.store)
        for checkpoint in view.checkpoint_ids():
            if checkpoint in self.seen:
                continue
            try:
                manifest = view.read(checkpoint)
            except StoreError:
                continue  # not published yet
            new = [layer for layer in manifest.layers if layer.name not in self._layers]
            self._layers.update(layer.name for layer in new)
            size = sum(layer.size for layer in new)
            self.seen[checkpoint] = Checkpoint(checkpoint, manifest.duration_us / 1e6, size)


class Output:
    """One of the job's output logs, read without its type."""

    def __init__(self, folder: str, name: str) -> None:
        """Take the place; the job makes the log when it first starts."""
        self._document = join(folder, name, "LOG")
        self._log: EventLog[object] = open_untyped(join(folder, name))

    async def committed(self) -> int:
        """Count the records that are there."""
        world = current_world()
        if not await world.offload.run(world.files.exists, self._document):
            return 0
        return sum((await self._log.summary()).next)

    async def records(self) -> list[tuple[object, ...]]:
        """Give every record as a plain tuple of its fields."""
        found: list[tuple[object, ...]] = []
        view = self._log.view(stop="now")
        for split in await view.splits():
            async for fetched in view.read(split, None):
                found += map(_fields, fetched.values)
        return found

    async def aclose(self) -> None:
        """Close the files."""
        await self._log.aclose()


def _fields(value: object) -> tuple[object, ...]:
    """Give what a dataclass or a NamedTuple has become in the log."""
    if isinstance(value, dict):
        return tuple(value.values())
    return tuple(value) if isinstance(value, list | tuple) else (value,)
