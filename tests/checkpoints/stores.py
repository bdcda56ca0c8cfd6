"""Small stores and manifests for the tests of checkpoints/."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xxhash import xxh3_128_hexdigest

from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.checkpoints.manifest import (
    ALIGNED_FORMAT,
    LayerEntry,
    Manifest,
    OperatorEntry,
    PendingToken,
    SplitEntry,
    StackRun,
    StateEntry,
)
from actorstream.checkpoints.numbers import Numbers
from actorstream.model.ids import LayerName
from actorstream.protocol.attempts import next_claim
from actorstream.system.files import RealFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from actorstream.model.world import FileSystem
    from actorstream.protocol.attempts import Claim

JOB = "0123456789abcdef0123456789abcdef"


def start(root: Path, *, files: FileSystem | None = None, token: str = JOB) -> tuple[CheckpointDirectory, Claim]:
    """Open a store and claim the next attempt, as a job does, but without the lock."""
    directory = CheckpointDirectory(files or RealFiles(), str(root))
    directory.open(token)
    claim = directory.claim(next_claim(directory.claims(), directory.checkpoint_ids()))
    return directory, claim


def write_layer(directory: CheckpointDirectory, name: str, content: bytes = b"layer") -> LayerEntry:
    """Put a file where a layer belongs. Its content is never looked into here."""
    layer = LayerName(name)
    with open(directory.layer_path(layer), "wb") as file:
        file.write(content)
    return LayerEntry(layer, len(content), xxh3_128_hexdigest(content), 1)


def manifest_of(claim: Claim, checkpoint: int, layers: Sequence[LayerEntry] = (), *, job: str = JOB) -> Manifest:
    """Give a manifest with one operator whose stack is all of `layers`."""
    stacks = [StackRun(0, 128, list(range(len(layers))))]
    numbers, operator = Numbers().number_operator("views")
    numbers, state = numbers.number_state("views", "count")
    return Manifest(
        format=ALIGNED_FORMAT,
        job=job,
        pipeline="page-views",
        attempt=claim.attempt,
        checkpoint=checkpoint,
        final=False,
        created_us=1_700_000_000_000_000,
        max_parallelism=128,
        numbers=numbers,
        layers=list(layers),
        operators={"views": OperatorEntry(operator, 2, stacks, {"count": StateEntry(state, "value", "00ff", "int")})},
        sources={"clicks": {"0": SplitEntry(b"\x93\x01", finished=False), "1": SplitEntry(None, finished=True)}},
        sinks=[PendingToken("out", 0, checkpoint, claim.attempt, b"token")],
        duration_us=12_000,
    )
