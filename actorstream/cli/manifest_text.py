"""A manifest in words: positions, state, layers, output that waits for its commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import CodecError
from actorstream.operators.user_time import datetime_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.checkpoints.manifest import Manifest, OperatorEntry, SplitEntry


def instant_text(us: int) -> str:
    """Give a time to the second, UTC; the first or last that there is for one that is no date."""
    return datetime_of(us).strftime("%Y-%m-%d %H:%M:%S")


def manifest_lines(manifest: Manifest) -> Iterator[str]:
    """Give the lines of `checkpoints show`."""
    final = ", final" if manifest.final else ""
    yield f"checkpoint {manifest.checkpoint} of pipeline {manifest.pipeline}{final}"
    yield f"job {manifest.job}, attempt {manifest.attempt}, max parallelism {manifest.max_parallelism}"
    yield f"taken {instant_text(manifest.created_us)} UTC in {manifest.duration_us / 1000:,.0f} ms"
    for name, splits in manifest.sources.items():
        yield ""
        yield f"source {name}"
        for split, entry in splits.items():
            yield f"  split {split}: {_position(entry)}"
    for name, operator in manifest.operators.items():
        yield ""
        yield f"operator {name}, parallelism {operator.parallelism}"
        yield from _states(manifest, operator)
    if manifest.sinks:
        yield ""
        yield "output not known to be committed"
        for token in manifest.sinks:
            yield (
                f"  sink {token.operator}, subtask {token.subtask}, from checkpoint {token.checkpoint}: "
                f"a token of {len(token.token)} bytes"
            )
    if manifest.in_flight:
        yield ""
        yield "in flight"
        for part in manifest.in_flight:
            yield f"  to {part.chain}, subtask {part.subtask}: {part.records:,} records, {part.size:,} bytes"
    yield ""
    yield f"layers: {len(manifest.layers)}, {sum(layer.size for layer in manifest.layers):,} bytes"
    for layer in manifest.layers:
        yield f"  {layer.name}  {layer.entries:,} entries, {layer.size:,} bytes, {layer.digest}"


def _states(manifest: Manifest, operator: OperatorEntry) -> Iterator[str]:
    for name, state in operator.states.items():
        yield f"  state {name}, a {state.kind} of schema {state.fingerprint}"
    for start, end, stack in operator.stacks:
        names = ", ".join(manifest.layers[index].name for index in stack) or "nothing yet"
        yield f"  key groups {start} to {end - 1}: {names}"


def _position(entry: SplitEntry) -> str:
    if entry.position is None:
        read = "nothing read"
    else:
        try:
            read = f"read up to {SELF_DESCRIBING.decode(entry.position)!r}"
        except CodecError:
            # Its class belongs to a program that is not loaded here.
            read = f"read up to a position of {len(entry.position)} bytes"
    return f"{read}, finished" if entry.finished else read
