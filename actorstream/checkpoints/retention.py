"""Which files may go: a pure decision, so that it can be tried against every store there is.

    checkpoints   5    6    7    8*          * the newest known durable, keep = 2
                  drop drop keep keep
    layers        A    A B  B C  C D E       A: only in what is dropped   -> may go
                                             B: 7 lists it                -> stays

A layer goes only if (a) a dropped manifest listed it or its attempt is over, and
(b) no kept manifest, no pending checkpoint and no host refers to it. A manifest
goes only while enough newer ones are known durable: add first, delete after, and
what is unknown deletes nothing (T79).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actorstream.checkpoints.manifest import attempt_of
from actorstream.model.ids import LayerName

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from actorstream.model.ids import AttemptNumber, CheckpointId


@dataclass(frozen=True, slots=True)
class Published:
    """One manifest in the store. `layers` is None where it could not be read."""

    checkpoint: CheckpointId
    attempt: AttemptNumber
    layers: frozenset[LayerName] | None
    void: bool = False


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a store has, and what is asked of it.

    Attributes:
        manifests: Every manifest there is.
        present: Every file name among the layers.
        held: Layers that a host or a pending checkpoint refers to.
        listed_before: Layers of manifests that were dropped earlier, when something still held them.
    """

    manifests: Sequence[Published]
    present: Collection[str]
    held: frozenset[LayerName]
    listed_before: frozenset[LayerName] = frozenset()


@dataclass(frozen=True, slots=True)
class Retirement:
    """What may go, manifests first; `waiting` layers were listed by a dropped manifest and are still held."""

    checkpoints: tuple[CheckpointId, ...] = ()
    layers: tuple[LayerName, ...] = ()
    waiting: frozenset[LayerName] = frozenset()


def choose(holdings: Holdings, *, keep: int, durable: CheckpointId, attempt: AttemptNumber) -> Retirement:
    """Choose what `attempt` may delete.

    Args:
        holdings: The store.
        keep: How many readable manifests stay, counted from `durable` down; at least 1.
        durable: The newest checkpoint whose manifest a power cut can no longer take back.
        attempt: Who asks.

    Returns:
        Nothing at all if a manifest that must stay cannot be read: its layers are not known.
    """
    kept, dropped = _divide(holdings.manifests, max(keep, 1), durable, attempt)
    needed = set(holdings.held)
    for manifest in kept:
        if manifest.layers is None:
            return Retirement(waiting=holdings.listed_before)
        needed |= manifest.layers
    if not any(manifest.checkpoint <= durable and not manifest.void for manifest in kept):
        return Retirement(waiting=holdings.listed_before)
    listed = set(holdings.listed_before)
    for manifest in dropped:
        listed |= manifest.layers or frozenset()
    over = [LayerName(name) for name in holdings.present if _may_go(name, listed, attempt)]
    return Retirement(
        tuple(manifest.checkpoint for manifest in dropped),
        tuple(name for name in sorted(over) if name not in needed),
        frozenset(name for name in over if name in listed and name in holdings.held),
    )


def _divide(
    manifests: Sequence[Published], keep: int, durable: CheckpointId, attempt: AttemptNumber
) -> tuple[list[Published], list[Published]]:
    kept: list[Published] = []
    dropped: list[Published] = []
    readable = 0
    for manifest in sorted(manifests, key=lambda manifest: manifest.checkpoint, reverse=True):
        if manifest.attempt > attempt:
            kept.append(manifest)
        elif manifest.void:
            dropped.append(manifest)
        elif readable < keep:
            # One that may still be lost stays, and does not count.
            kept.append(manifest)
            readable += manifest.checkpoint <= durable and manifest.layers is not None
        else:
            dropped.append(manifest)
    return kept, dropped


def _may_go(name: str, listed: set[LayerName], attempt: AttemptNumber) -> bool:
    writer = attempt_of(name)
    return writer is not None and (writer < attempt or (writer == attempt and name in listed))
