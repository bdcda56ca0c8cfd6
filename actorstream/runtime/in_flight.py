"""Makes recorded records durable: a subtask's part of a checkpoint, through the host's layer writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.runtime.messages import InFlightReport
from actorstream.state.writer import SMALL_BYTES, SMALL_ENTRIES

if TYPE_CHECKING:
    from actorstream.checkpoints.in_flight import InFlightWriter
    from actorstream.model.ids import SubtaskId
    from actorstream.state.layer import LayerFile
    from actorstream.state.writer import LayerWriter

RUN_BYTES = 1 << 20
"""No run handed to the writer is much larger."""
RUN_ENTRIES = 2_000


async def write_in_flight(
    writer: LayerWriter, subtask: SubtaskId, recorded: InFlightWriter, *, alone: bool = False
) -> InFlightReport | None:
    """Write all that was recorded; None if that is nothing. A small part shares its file with others, or is `alone`.

    Raises:
        StoreError: It could not be written.
    """
    if not recorded.items:
        return None
    file = await _write(writer, subtask, recorded, alone=alone)
    counts = recorded.items, recorded.overtaken, recorded.records, recorded.size_bytes
    return InFlightReport((file,), *counts, written=recorded.chain)


async def _write(writer: LayerWriter, subtask: SubtaskId, recorded: InFlightWriter, *, alone: bool) -> LayerFile:
    # Its owner is not the subtask: state of it, frozen at the same barrier, may be in the same file.
    owner = (subtask, "in flight")
    entries = recorded.take_entries()
    if not alone and len(entries) <= SMALL_ENTRIES and recorded.size_bytes <= SMALL_BYTES:
        layer = await writer.write(owner, [entries])
    else:
        async with writer.streaming, writer.stream(owner) as stream:
            at = 0
            while at < len(entries):
                end, size = at, 0
                while end < len(entries) and end - at < RUN_ENTRIES and size < RUN_BYTES:
                    size += len(entries[end][1])
                    end += 1
                await stream.send(entries[at:end])
                at = end
            layer = await stream.finish()
    # Nobody reads it here: what a manifest lists stays, whoever has it open.
    file = layer.file
    layer.release()
    return file
