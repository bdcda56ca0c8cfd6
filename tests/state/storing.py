"""Bringing encoded generations into layers: one file by hand, or the layer writer, with a fault or none."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import anyio

from actorstream.errors import StoreError
from actorstream.model.world import World
from actorstream.state.layer import open_checked
from actorstream.state.layer_builder import write_layer
from actorstream.state.writer import LayerWriter
from actorstream.system.current import current_world
from actorstream.testing.faults import FaultyFiles

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from typing import TypeAlias

    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer
    from actorstream.testing.faults import Fault
    from tests.state.rig import Shelf

    Owned: TypeAlias = "tuple[Hashable, list[list[Entry]]]"


def store_at_once(shelf: Shelf, owned: Sequence[Owned], fault: Fault | None) -> list[Layer | None]:
    """Write all into one file, an owner once; each gets a count of the layer, None where the disk failed."""
    if not owned:
        return []
    path = f"{shelf.folder}/{shelf.name()}"
    try:
        file = write_layer(FaultyFiles(shelf.files, fault), path, [part for _, parts in owned for part in parts])
    except StoreError:
        assert not os.path.exists(path)
        return [None] * len(owned)
    with open_checked(shelf.files, path, file) as layer:
        for _ in owned:
            layer.retain()
        return [layer] * len(owned)


def store_in_a_group(shelf: Shelf, owned: Sequence[Owned], fault: Fault | None) -> list[Layer | None]:
    """Submit all to a layer writer at one moment; an owner may have several."""
    return asyncio.run(_in_a_group(shelf, owned, FaultyFiles(shelf.files, fault)))


async def _in_a_group(shelf: Shelf, owned: Sequence[Owned], files: FaultyFiles) -> list[Layer | None]:
    real = current_world()
    writer = LayerWriter(World(real.clock, files, real.offload, real.random), str(shelf.folder), shelf.name)
    layers: list[Layer | None] = [None] * len(owned)

    async def submit(at: int, owner: Hashable, parts: list[list[Entry]]) -> None:
        try:
            if at == 0 and len(parts) > 3:
                async with writer.streaming, writer.stream(owner) as stream:
                    for part in parts:
                        await stream.send(part)
                    layers[at] = await stream.finish()
            else:
                layers[at] = await writer.write(owner, parts)
        except StoreError:
            assert files.fired is not None

    try:
        async with anyio.create_task_group() as group:
            for at, (owner, parts) in enumerate(owned):
                group.start_soon(submit, at, owner, parts)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return layers
