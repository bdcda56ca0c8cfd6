"""What an attempt starts from: its number, and the snapshot it goes on from, opened.

claim ─> decide ─┬─> the newest checkpoint ───────────────┬─> adapt to the code's names ─> open its layers
├─> a savepoint, linked into the store ──┘
├─> nothing yet
└─> refuse
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from actorstream.errors import InvariantError, RestoreError
from actorstream.graph.fingerprint import names_in_doubt
from actorstream.protocol.attempts import next_claim
from actorstream.protocol.recovery import (
    Refuse,
    RestoreFrom,
    RestoreSavepoint,
    StartEmpty,
    decide,
    decide_savepoint,
    not_void,
)
from actorstream.runtime.adapting import adapt, drops, renames
from actorstream.runtime.restoring import Restored, check_restorable, positions_in, restore
from actorstream.runtime.retaining import ClaimedSavepoint, consumer_of
from actorstream.runtime.schema_check import evolved_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from actorstream.checkpoints.manifest import Manifest
    from actorstream.model.ids import CheckpointId
    from actorstream.operators.columns import Column
    from actorstream.protocol.attempts import Claim
    from actorstream.protocol.recovery import Decision, ManifestFact
    from actorstream.runtime.building import JobContext
    from actorstream.runtime.messages import SplitPosition


def claim_attempt(context: JobContext) -> Claim:
    """Take the next attempt's number, above all that the store, and what it begins from, have seen; blocking.

    Raises:
        FencedError: Another process took it.
    """
    directory, beginning = context.directory, context.beginning
    above = [] if beginning is None else [beginning.claim]
    ids = [*directory.checkpoint_ids(), *(claim.first_checkpoint for claim in above)]
    return directory.claim(next_claim([*directory.claims(), *above], ids))


async def open_restored(context: JobContext, columns: Mapping[str, Sequence[Column]], claim: Claim) -> Restored:
    """Open what the newest checkpoint lists, or the snapshot that was asked for; in a thread.

    Raises:
        RestoreError: It cannot be restored, or not into this plan.
        StoreError: A file of it is missing or damaged.
    """
    directory = context.directory
    manifests, claims = await context.documents.run(lambda: (directory.manifests(), directory.claims()))
    match _decide(context, manifests, claims):
        case RestoreFrom(checkpoint):
            valid = not_void(manifests, claims).values()
            return await _opened(context, partial(_open, context, columns, valid, checkpoint))
        case RestoreSavepoint():
            return await _opened(context, partial(_open_savepoint, context, columns, claim))
        case Refuse(reason):
            raise RestoreError(reason)
        case StartEmpty():
            return Restored()


async def _opened(context: JobContext, opening: Callable[[], Restored]) -> Restored:
    """Open in a thread; a cancellation meanwhile takes effect once all is open, and must not leave it so."""
    opened: list[Restored] = []
    try:
        await context.world.offload.run(lambda: opened.append(opening()))
    except BaseException:
        for restored in opened:
            restored.close()
        raise
    return opened[0]


def _decide(
    context: JobContext, manifests: Sequence[ManifestFact], claims: Sequence[Claim]
) -> Decision | RestoreSavepoint:
    settings, beginning = context.settings, context.beginning
    if context.statistics.checkpoints or any(map(context.directory.is_of_this_run, manifests)):
        # What a person asked for is where the run begins; once it has a checkpoint of its own, that is the newest.
        return decide(manifests, claims, accept_duplicates=settings.accept_duplicates)
    if beginning is None:
        return decide(manifests, claims, restore=settings.restore, accept_duplicates=settings.accept_duplicates)
    return decide_savepoint(
        manifests,
        claims,
        savepoint=beginning.checkpoint,
        begun_from=context.directory.note.origin == beginning.origin,
        accept_duplicates=settings.accept_duplicates,
    )


def _open(
    context: JobContext,
    columns: Mapping[str, Sequence[Column]],
    valid: Iterable[ManifestFact],
    checkpoint: CheckpointId,
) -> Restored:
    directory = context.directory
    manifest = _adapted(context, columns, directory.load(checkpoint))
    check_restorable(manifest, context.plan, columns)
    good = [fact.checkpoint for fact in valid if fact.problem is None and fact.checkpoint <= checkpoint]
    kept = [_positions(context, columns, directory.read(kept)) for kept in sorted(good)]
    evolved = evolved_columns(manifest, columns)
    restored = restore(context.world.files, directory, manifest)
    restored.in_doubt = names_in_doubt(context.plan.graph, manifest.graph)
    restored.kept, restored.columns = kept, evolved
    return restored


def _open_savepoint(context: JobContext, columns: Mapping[str, Sequence[Column]], claim: Claim) -> Restored:
    if context.beginning is None:
        raise InvariantError("there is no savepoint to restore")
    manifest = _adapted(context, columns, context.beginning.manifest)
    check_restorable(manifest, context.plan, columns)
    evolved = evolved_columns(manifest, columns)
    beginning = replace(context.beginning, manifest=manifest)
    linked = beginning.adopt(context.world.files, context.layers_folder, claim.attempt)
    restored = restore(context.world.files, context.directory, linked)
    restored.in_doubt = names_in_doubt(context.plan.graph, linked.graph)
    restored.kept, restored.columns = [positions_in(linked)], evolved
    if context.settings.claim and beginning.is_savepoint:
        job, folder = beginning.manifest.job, beginning.place.folder
        names_in_it = positions_in(context.beginning.manifest)
        restored.claimed = ClaimedSavepoint(folder, [consumer_of(job, name, folder) for name in names_in_it])
    return restored


def _adapted(context: JobContext, columns: Mapping[str, Sequence[Column]], manifest: Manifest) -> Manifest:
    """Also for a checkpoint of this very run, of which all that is asked for is done: it was told the same."""
    settings, present = context.settings, _present(context, columns)
    return adapt(manifest, restore_as=settings.restore_as, allow_dropped=settings.allow_dropped, present=present)


def _positions(
    context: JobContext, columns: Mapping[str, Sequence[Column]], manifest: Manifest
) -> dict[str, dict[str, SplitPosition]]:
    """Give the positions in a kept checkpoint by the names of now: what was another source's is not told to one.

    It need not be one that could be restored: of its operators, two may have one name now.
    """
    settings, present = context.settings, _present(context, columns)
    names = renames(manifest, settings.restore_as, present)
    dropped = drops(manifest, settings.allow_dropped, present)
    renamed = {names.get(name, name): splits for name, splits in positions_in(manifest).items()}
    return {name: splits for name, splits in renamed.items() if name not in dropped}


def _present(context: JobContext, columns: Mapping[str, Sequence[Column]]) -> frozenset[str]:
    """Name the pipeline's operators, and their states as `operator.state`."""
    states = {f"{name}.{column.name}" for name, each in columns.items() for column in each}
    return frozenset(states.union(node.name for node in context.plan.graph.nodes))
