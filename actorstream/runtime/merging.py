"""Carries out one merge of layers away from the event loop: small ones in a thread, large ones in a child process.

    under CHILD_BYTES    offload, so that a simulation repeats it
    from there on        a child      (state/compaction_child.py)

A thread shares the interpreter with the loop as long as it works, a child does not.
So what would take a thread longer than a child takes to start goes to a child.

Invariant: whatever happens, cancellation and a killed child included, the child is
over when the call is, and what it wrote is at `task.target` or nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from actorstream.codec.documents import decode_json, encode_json
from actorstream.errors import CodecError, StoreError
from actorstream.model.ids import LayerName
from actorstream.state.compaction import Merged, merge
from actorstream.state.layer import LayerFile, open_checked
from actorstream.system.child import Child

if TYPE_CHECKING:
    from actorstream.model.world import FileSystem, World
    from actorstream.state.compaction import Merge
    from actorstream.state.layer import Layer

CHILD_BYTES = 4 << 20
"""From so many bytes of layers on a merge runs as a child process."""

_MODULE = "actorstream.state.compaction_child"


async def carry_out(world: World, task: Merge, opened: list[Layer], *, child: bool) -> None:
    """Merge, and put the new layer into `opened`, where a cancelled caller finds it too; none if nothing was left.

    Args:
        world: Where files and threads are.
        task: What to merge.
        opened: Gets the layer, with one count for the caller.
        child: Whether a large merge may run as a child process.

    Raises:
        StoreError: A source is damaged, the target cannot be written, or the child died. There may be
            a file at the target: the caller's to remove.
        ChildLostError: No child can be started.
    """
    files, offload = world.files, world.offload
    if child and sum(source.size for source in task.sources) >= CHILD_BYTES:
        merged = await _in_child(task)
        await offload.run(_open, files, task, merged, opened)
    else:
        await offload.run(_merge_here, files, task, opened)


async def _in_child(task: Merge) -> Merged:
    """Give the child its task; its input stays open as long as we live, since it ends with us."""
    said = bytearray()
    over = anyio.Event()
    child = Child(_MODULE, said.extend, over.set)
    try:
        child.feed(encode_json(task).replace(b"\n", b"") + b"\n")
        await over.wait()
    finally:
        child.kill("its merge is not wanted any more")
    try:
        return decode_json(Merged, bytes(said))
    except CodecError:
        raise StoreError(f"layers were not merged into {task.target}: {child.loss}") from None


def _merge_here(files: FileSystem, task: Merge, opened: list[Layer]) -> None:
    _open(files, task, merge(files, task), opened)


def _open(files: FileSystem, task: Merge, merged: Merged, opened: list[Layer]) -> None:
    if merged.name is not None:
        file = LayerFile(LayerName(merged.name), merged.size, merged.digest, merged.entries)
        opened.append(open_checked(files, task.target, file))
