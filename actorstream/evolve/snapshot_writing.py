"""Writing a savepoint without a job: from nothing, or from another snapshot with something changed.

    with write_savepoint(pipeline, "seed") as writer:                          bootstrap
        writer.put("visits", "count", rows)

    with write_savepoint(pipeline, "wider", base="data/shop") as writer:       change
        writer.transform("visits", "count", lambda key, count: (key.lower(), count))
        writer.rename("views", "visits")
        writer.drop("experiment")

The savepoint is there when the block has ended, as a whole; after an error nothing is. What nobody touches is linked,
not copied, unless `max_parallelism` changes: then every key goes into its new key group. Everything else goes through a
sort in bounded memory into one new layer an operator (evolve/rewritten.py).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from actorstream.errors import CodecError, PlanError, StoreError
from actorstream.evolve.assembly import assemble, blank
from actorstream.evolve.carried import Carried
from actorstream.evolve.declared_states import declared_in, plan_of
from actorstream.evolve.gathered import Gathered
from actorstream.evolve.registering import register_written
from actorstream.evolve.rewritten import PUT, TRANSFORMED
from actorstream.evolve.savepoint_draft import SavepointDraft
from actorstream.evolve.snapshot_places import open_layers, path_of
from actorstream.evolve.snapshots import Snapshot
from actorstream.evolve.sorting import SORTED_AT_ONCE
from actorstream.model.key_groups import MAX_PARALLELISM_LIMIT
from actorstream.state.entries import EXPIRING_TAG, expiring
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from os import PathLike

    from actorstream.api.pipeline import Pipeline
    from actorstream.evolve.snapshot_places import SnapshotPath
    from actorstream.model.world import FileSystem

_TRIES = 10


class SnapshotWriter:
    """A savepoint that is being written. Names of operators are those that they have at that moment."""

    def __init__(self, gathered: Gathered) -> None:
        """Begin with what the base holds."""
        self._gathered = gathered
        self._over = False
        self._half_done = ""

    def put(self, operator: str, name: str, items: Iterable[tuple[Any, Any]]) -> None:
        """Put items into a state, over what the base holds of them; all are read before this returns.

        Args:
            operator: An operator of the pipeline.
            name: One of its states. What an item is goes by its kind: see `OfflineState`.
            items: Items and their values, of the types that the pipeline declares, in any order, each once.

        Raises:
            PlanError: The pipeline has no such state.
            CodecError: An item or value is not of the declared type, or keys are of several types.
            StoreError: The disk is full or fails.
        """
        gathered = self.gathered()
        expiry = gathered.expiry_of(operator, gathered.declared_state(operator, name))
        number, of, entries, timers = gathered.target(operator, name)
        self._half_done = f"put({operator!r}, {name!r})"
        for item, value in items:
            place, tagged = of.place_of(item), of.tagged_of(item, value)
            if of.keyed:
                entries.check_key(of.key_of(item), of.name)
            if expiry is not None:
                tagged = expiring(tagged, expiry)
            entries.add(number, place, tagged, PUT, timers=timers)
        self._half_done = ""

    def transform(self, operator: str, name: str, fn: Callable[[Any, Any], tuple[Any, Any] | None]) -> None:
        """Put what `fn` gives for each item of the base's state in its place; all is done before this returns.

        Args:
            operator: An operator of the base, by the name that it has in the pipeline: rename it before.
            name: One of its states.
            fn: Given an item and its value, gives both anew, or None to leave it out. The value is of the type that
                the pipeline declares if what is stored can be read so; else it is plain, as without a pipeline.
                Values that expire keep their time.

        Raises:
            PlanError: The base or the pipeline has no such state, or it was transformed before.
            CodecError: What `fn` gave is of another type, or keys are of several types.
            StoreError: The disk is full or fails.
        """
        gathered = self.gathered()
        declared = gathered.declared_state(operator, name)
        state = gathered.base_state(operator, name)
        number, of, entries, timers = gathered.target(operator, name)
        self._half_done = f"transform({operator!r}, {name!r})"
        del gathered.carried.operators[operator].kept[name]
        for found, stored, expiry in state.found():
            given = fn(found, stored)
            if given is None:
                continue
            item, value = _pair(given, of.name, found)
            place, tagged = of.place_of(item), of.tagged_of(item, value)
            if of.keyed:
                entries.check_key(of.key_of(item), of.name)
            if expiry is not None and declared.ttl is not None:
                tagged = EXPIRING_TAG + expiry + tagged[1:]
            entries.add(number, place, tagged, TRANSFORMED, timers=timers)
        self._half_done = ""

    def rename(self, operator: str, to: str) -> None:
        """Give an operator of the base, a source or a sink the name that it has in the pipeline.

        Raises:
            PlanError: There is none, or the new name is taken.
        """
        self.gathered().carried.rename(operator, to)

    def drop(self, operator: str, name: str | None = None) -> None:
        """Leave out an operator's state, or one state of it.

        Of a source its positions: it is read from the start. Of a sink its output that is not known to be committed.

        Raises:
            PlanError: There is none.
        """
        self.gathered().carried.drop(operator, name)

    def close(self) -> None:
        """Take nothing any more, and remove what was put into files."""
        self._over = True
        for entries in self._gathered.entries.values():
            entries.close()

    def gathered(self) -> Gathered:
        """Give what was gathered.

        Raises:
            StoreError: The block has ended, or an earlier call failed half-way.
        """
        if self._over:
            raise StoreError("this savepoint is over: write it inside of the `with` block")
        if self._half_done:
            raise StoreError(
                f"{self._half_done} has failed, a part of it is taken: let its error leave the block, then begin anew"
            )
        return self._gathered


def _pair(given: object, state: str, item: object) -> tuple[object, object]:
    if isinstance(given, tuple) and len(given) == 2:
        return given
    raise CodecError(f"state {state}, {item!r:.100}: fn gave {given!r:.100}, expected (key, value) or None")


@contextmanager
def write_savepoint(
    pipeline: Pipeline,
    path: str | PathLike[str],
    *,
    base: SnapshotPath | None = None,
    max_parallelism: int | None = None,
    sorted_at_once: int = SORTED_AT_ONCE,
) -> Iterator[SnapshotWriter]:
    """Write a savepoint that `pipeline` can start from. Blocking: in a service, do it in a thread.

    Args:
        pipeline: Whose operators, states and types they are.
        path: A folder of its own, not there yet; its name is the savepoint's.
        base: The checkpoint or savepoint to begin with, as for `open_snapshot`: its state, positions and times. None:
            nothing, and sources are read from their beginning.
        max_parallelism: Of the result; that of the pipeline if not given. The pipeline that starts from it must say the
            same.
        sorted_at_once: Bytes that the entries of an operator may take in memory while they are sorted.

    Raises:
        PlanError: The pipeline cannot run, or max_parallelism is out of range.
        RestoreError: At the end: the pipeline could not start from it.
        CodecError: At the end: an item was given twice.
        StoreError: The base cannot be read, the folder is taken, the disk is full or fails, or a log that the pipeline
            reads cannot be told to keep what is behind the base's positions. Nothing is left behind.
    """
    plan = plan_of(pipeline)
    if max_parallelism is None:
        max_parallelism = plan.graph.max_parallelism
    if not 1 <= max_parallelism <= MAX_PARALLELISM_LIMIT:
        raise PlanError(f"max_parallelism is {max_parallelism!r}, expected 1 to {MAX_PARALLELISM_LIMIT}")
    declared, world = declared_in(plan), current_world()
    draft = SavepointDraft(world.files, path_of(path))
    snapshot: Snapshot | None = None
    try:
        draft.begin()
        if base is not None:
            snapshot = _take(world.files, draft, path_of(base), max_parallelism)
            _refuse_in_flight(snapshot)
        other = snapshot is not None and snapshot.manifest.max_parallelism != max_parallelism
        base_manifest = blank(world, plan.graph.name, max_parallelism) if snapshot is None else snapshot.manifest
        carried = Carried(base_manifest, rewritten=other)
        gathered = Gathered(world, declared, draft, snapshot, carried, max_parallelism, sorted_at_once)
        writer = SnapshotWriter(gathered)
        try:
            yield writer
            manifest = assemble(writer.gathered(), plan)
        finally:
            writer.close()
        draft.publish(manifest)
        if snapshot is not None:
            register_written(path_of(path), manifest)
    except BaseException as error:
        draft.abandon(error)
        raise
    finally:
        if snapshot is not None:
            snapshot.close()


def _refuse_in_flight(base: Snapshot) -> None:
    """Refuse what would be lost: no entry of a state says what becomes of a record on its way to it."""
    manifest = base.manifest
    if manifest.in_flight:
        records = sum(entry.records for entry in manifest.in_flight)
        rounds = [entry.chain for entry in manifest.in_flight if entry.items > entry.overtaken]
        what = f"records that were awaited by, or went round in loop {rounds[0]!r}" if rounds else "records in flight"
        make = "job.stop(savepoint=..., drain=True), which lets them all out" if rounds else "job.savepoint"
        raise StoreError(
            f"checkpoint {manifest.checkpoint} of job {manifest.job} holds {records:,} {what}, which cannot "
            f"be written into a savepoint: have the running job make one ({make}), and name that as the base"
        )


def _take(files: FileSystem, draft: SavepointDraft, path: str, max_parallelism: int) -> Snapshot:
    """Open the base, and link its layers at once: a job that runs may remove their names at any time."""
    for tried in range(1, _TRIES + 1):
        opened = open_layers(files, path)
        try:
            if opened.manifest.max_parallelism == max_parallelism:
                for entry in opened.manifest.layers:
                    draft.take(opened.path_of(entry.name), entry.name)
            return Snapshot(opened)
        except FileNotFoundError as error:
            draft.clear()
            if tried == _TRIES:
                raise StoreError(
                    f"{path}: {error.filename} is gone: its job deletes checkpoints faster than they are linked; "
                    "raise its Settings(retained=...), or give a savepoint"
                ) from error
        finally:
            opened.close()
    raise StoreError(f"{path} could not be opened")
