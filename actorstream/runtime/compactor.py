"""The compactor: merges layers beside the running job, so that no stack grows without end.

    complete checkpoint ─> choose ─> merge, in a thread or a child ─> replace in every stack at once
                              └─ no stack over 8 layers: nothing to do

One task of the attempt, for all its subtasks: a layer that several of them see is
read once, and goes from all their stacks at the same instant. What is pushed
meanwhile lies on top and stays. A merge that fails leaves everything as it was,
is logged, and is tried again after the next checkpoint; it never fails the job.

Which layers: from the newest of the deepest stack down, while the next one is at
most twice the sum so far, so that each entry is written about log(size) times; all
of them above 24. Nothing holds the job up there yet: where checkpoints make layers
faster than merges take them away, stacks go on growing, and a miss gets slower.

Invariants:
- In every stack the chosen layers stand side by side, so that nothing between two
  of them gets older or younger by the merge.
- Only layers that the newest complete manifest lists are merged. Each will be in a
  manifest that is dropped one day, and the coordinator's retention, which alone
  deletes, finds it there. A report still on its way may list what was replaced:
  that file stays, since a kept manifest lists it too.
- A file that was not put to use is removed at once; one that a crash leaves behind
  carries its attempt's number, and the next attempt's retention removes it.
- Small merges run as one call in the world's offload, so a simulation repeats them.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import dropwhile, takewhile
from typing import TYPE_CHECKING, NamedTuple

import anyio

from actorstream.codec.documents import decode_json, encode_json
from actorstream.errors import ActorstreamError, StoreError
from actorstream.model.ids import LayerName
from actorstream.runtime.mailbox import Wakeup
from actorstream.state.compaction import Merge, Merged, Piece, Source, merge
from actorstream.state.layer import LayerFile, open_checked
from actorstream.system.log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from actorstream.model.ids import OperatorNumber
    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.model.world import FileSystem, World
    from actorstream.state.layer import Layer
    from actorstream.state.stack import LayerStack

LAYERS_AIM = 8
LAYERS_MAX = 24
MERGED_MIN = 4
CHILD_BYTES = 4 << 20
"""From so many bytes on a merge runs as a child process: in a thread it would stall the loop."""

_FLOOR_BYTES = 1 << 20
_COMMAND = ("-m", "actorstream.state.compaction_child")


class StackedRun(NamedTuple):
    """What some key groups of an operator see, newest first."""

    operator: OperatorNumber
    groups: KeyGroupRange
    layers: tuple[Layer, ...]


def choose(runs: Sequence[StackedRun], listed: Collection[LayerName]) -> list[Layer]:
    """Choose what to merge into one layer; nothing, mostly.

    Args:
        runs: Every stack of the attempt.
        listed: The layers of the newest complete manifest: no others are taken.
    """
    deepest = max((run.layers for run in runs), key=len, default=())
    if len(deepest) <= LAYERS_AIM:
        return []
    # On top is what came after that manifest; an unlisted one further down was merged after it.
    older = dropwhile(lambda layer: layer.file.name not in listed, deepest)
    taken = list(takewhile(lambda layer: layer.file.name in listed, older))
    if len(deepest) <= LAYERS_MAX:
        taken = _while_small(taken)
    if len(taken) < MERGED_MIN:
        return []
    chosen = _closed_over(runs, taken)
    return chosen if all(layer.file.name in listed for layer in chosen) else []


def pieces_of(runs: Sequence[StackedRun], chosen: Sequence[Layer]) -> list[Piece]:
    """Say which key groups see which of the chosen layers."""
    index = {layer: number for number, layer in enumerate(chosen)}
    return [
        Piece(
            run.operator,
            run.groups.start,
            run.groups.end,
            [index[layer] for layer in run.layers if layer in index],
            bottom=run.layers[-1] in index,
        )
        for run in runs
        if not index.keys().isdisjoint(run.layers)
    ]


class Compactor:
    """Merges layers of one attempt."""

    def __init__(
        self,
        world: World,
        folder: str,
        names: Callable[[], LayerName],
        stacks: Sequence[tuple[OperatorNumber, LayerStack]],
    ) -> None:
        """Write into `folder`, under names that nobody else is given; replace layers in `stacks`."""
        self._world = world
        self._folder = folder
        self._names = names
        self._stacks = stacks
        self._listed: frozenset[LayerName] | None = None
        self._arrival = Wakeup()

    def on_complete(self, listed: frozenset[LayerName]) -> None:
        """A checkpoint is complete, whose manifest lists these layers."""
        self._listed = listed
        self._arrival.wake()

    async def run(self) -> None:
        """Merge what there is to merge after each complete checkpoint, for ever."""
        while True:
            while self._listed is None:
                await self._arrival.wait()
            listed, self._listed = self._listed, None
            chosen = choose(self._runs(), listed)
            if chosen:
                await self._compact(chosen)

    async def _compact(self, chosen: list[Layer]) -> None:
        pieces = pieces_of(self._runs(), chosen)
        sources = [self._source(layer.file) for layer in chosen]
        task = Merge(sources, pieces, f"{self._folder}/{self._names()}")
        opened: list[Layer] = []
        in_use = False
        try:
            await self._merge(task, opened)
            in_use = self._replace(chosen, pieces, opened[0] if opened else None)
        except (ActorstreamError, OSError) as error:
            log.warning("layers stay unmerged", layers=len(chosen), reason=f"{type(error).__name__}: {error}")
        finally:
            for layer in opened:
                layer.release()
            if not in_use:
                with anyio.CancelScope(shield=True):
                    await self._world.offload.run(_remove, self._world.files, task.target)

    async def _merge(self, task: Merge, opened: list[Layer]) -> None:
        """Put the merged layer into `opened`, where a cancelled caller finds it too; none if nothing was left."""
        files, offload = self._world.files, self._world.offload
        if sum(source.size for source in task.sources) < CHILD_BYTES:
            await offload.run(_merge_here, files, task, opened)
        else:
            await offload.run(_open, files, task, await _merge_in_child(task), opened)

    def _replace(self, chosen: Sequence[Layer], pieces: list[Piece], new: Layer | None) -> bool:
        """Put `new` where the chosen layers stand, in every stack; nowhere if they do not stand as they did."""
        if pieces_of(self._runs(), chosen) != pieces:
            log.warning("merged layer dropped", reason="the stacks changed meanwhile")
            return False
        gone = set(chosen)
        for _, stack in self._stacks:
            for groups, layers in stack.runs():
                old = [layer for layer in layers if layer in gone]
                if old:
                    stack.replace(old, new, within=groups)
        log.debug("layers merged", layers=len(chosen), bytes=0 if new is None else new.file.size)
        return True

    def _runs(self) -> list[StackedRun]:
        return [StackedRun(operator, *run) for operator, stack in self._stacks for run in stack.runs()]

    def _source(self, file: LayerFile) -> Source:
        return Source(f"{self._folder}/{file.name}", file.name, file.size, file.digest, file.entries)


def _while_small(layers: Sequence[Layer]) -> list[Layer]:
    taken = list(layers[:MERGED_MIN])
    size = sum(layer.file.size for layer in taken)
    for layer in layers[MERGED_MIN:]:
        if layer.file.size > 2 * max(size, _FLOOR_BYTES):
            break
        taken.append(layer)
        size += layer.file.size
    return taken


def _closed_over(runs: Sequence[StackedRun], taken: Collection[Layer]) -> list[Layer]:
    """Add what lies between chosen layers in any stack; in the order of the stacks, so that it can be repeated."""
    chosen = set(taken)
    before = 0
    while len(chosen) > before:
        before = len(chosen)
        for run in runs:
            places = [place for place, layer in enumerate(run.layers) if layer in chosen]
            if places:
                chosen.update(run.layers[places[0] : places[-1] + 1])
    return list(dict.fromkeys(layer for run in runs for layer in run.layers if layer in chosen))


async def _merge_in_child(task: Merge) -> Merged:
    result = await anyio.run_process([sys.executable, *_COMMAND], input=encode_json(task), check=False)
    if result.returncode:
        said = result.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise StoreError(f"the child that merged {task.target} ended with {result.returncode}: {said or 'no word'}")
    return decode_json(Merged, result.stdout)


def _merge_here(files: FileSystem, task: Merge, opened: list[Layer]) -> None:
    _open(files, task, merge(files, task), opened)


def _open(files: FileSystem, task: Merge, merged: Merged, opened: list[Layer]) -> None:
    if merged.name is not None:
        file = LayerFile(LayerName(merged.name), merged.size, merged.digest, merged.entries)
        opened.append(open_checked(files, task.target, file))


def _remove(files: FileSystem, path: str) -> None:
    with suppress(OSError):
        files.unlink(path)
