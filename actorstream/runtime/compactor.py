"""The compactor: merges layers beside the running job, so that no stack grows without end.

    complete checkpoint ─┐
    layer pushed        ─┴─> choose ─> merge, in a thread or a child ─> replace in every stack at once
                               └─ no stack over 8 layers: nothing to do

One task of the attempt, for all its subtasks: a layer that several of them see is
read once, and goes from all their stacks at the same instant. What is pushed
meanwhile lies on top and stays. A merge that fails leaves everything as it was, is
logged, and is tried again after the next checkpoint or push; it never fails the job.

Which layers: from the newest of the deepest stack down, while the next one is at
most twice the sum so far, so that each entry is written about log(size) times; more
where that would leave the stack over 24.

Back-pressure: `hold(True)` while a stack is over 24 layers and a merge is at work,
`hold(False)` as soon as there is none over 24, the merge has failed, or none is left
to do. What holds never waits for a checkpoint: merges need none, and whatever the
layers are, a stack of over 24 has some to merge. So it cannot deadlock.

Who deletes what was replaced:
- A layer that the newest complete manifest lists (or the restored one): retention,
  once that manifest is dropped. It alone deletes what a manifest has ever listed.
- A layer that no manifest lists, such as an early freeze: a report on its way may
  still list it, that of the one checkpoint in progress. So it waits for two complete
  checkpoints. If one of them lists it, it is retention's; else every report made
  before the replacement is in a manifest or dropped, those after it do not know the
  layer, and the compactor removes the file. Where no checkpoint completes any more,
  the next attempt's retention does, by its attempt's number.
- A merged file that was not put to use: removed at once.

Invariants:
- In every stack the chosen layers stand side by side, so that nothing between two
  of them gets older or younger by the merge.
- A report made before the merge lists the old files, one made after it the new one,
  never both: stacks are replaced in one step, between two turns of the loop.
- Small merges run as one call in the world's offload, so a simulation repeats them.
- A value is dropped only if its state has a time-to-live now, and by the time of its own subtask (expiry_clocks.py).
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from actorstream.errors import ActorstreamError
from actorstream.runtime.mailbox import Wakeup
from actorstream.runtime.merging import carry_out
from actorstream.state.compaction import Merge, Piece, Source
from actorstream.system.log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from actorstream.model.ids import LayerName, OperatorNumber
    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.model.world import FileSystem, World
    from actorstream.state.layer import Layer, LayerFile
    from actorstream.state.stack import LayerStack

LAYERS_AIM = 8
LAYERS_MAX = 24
MERGED_MIN = 4

_FLOOR_BYTES = 1 << 20
_COMPLETIONS = 2  # after these no report from before a replacement is left


class OwnedStack(NamedTuple):
    """The stack of one subtask of an operator, and what tells the time for its states that expire."""

    operator: OperatorNumber
    stack: LayerStack
    clocks: Callable[[], dict[int, int]] = dict


class StackedRun(NamedTuple):
    """What some key groups of an operator see, newest first."""

    operator: OperatorNumber
    groups: KeyGroupRange
    layers: tuple[Layer, ...]
    clocks: Callable[[], dict[int, int]] = dict


def choose(runs: Sequence[StackedRun]) -> list[Layer]:
    """Choose what to merge into one layer; nothing, mostly.

    Args:
        runs: Every stack of the attempt.
    """
    deepest = max((run.layers for run in runs), key=len, default=())
    if len(deepest) <= LAYERS_AIM:
        return []
    needed = max(MERGED_MIN, len(deepest) - LAYERS_MAX + 1)
    return _closed_over(runs, _while_small(deepest, needed))


def pieces_of(runs: Sequence[StackedRun], chosen: Sequence[Layer]) -> list[Piece]:
    """Say which key groups see which of the chosen layers, and what time it is for them."""
    index = {layer: number for number, layer in enumerate(chosen)}
    return [
        Piece(
            run.operator,
            run.groups.start,
            run.groups.end,
            [index[layer] for layer in run.layers if layer in index],
            bottom=run.layers[-1] in index,
            clocks=run.clocks(),
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
        stacks: Sequence[OwnedStack],
        *,
        hold: Callable[[bool], None] = lambda held: None,
        child: bool = True,
    ) -> None:
        """Merge what is in `stacks`, where every layer is one that the restored manifest lists.

        Args:
            world: Files and threads.
            folder: Where the layers are.
            names: Gives names that nobody else is given.
            stacks: The attempt's.
            hold: Told True when actors must take no more records, and then False when they may again.
            child: Whether large merges may run as child processes; not in a simulation.
        """
        self._world = world
        self._folder = folder
        self._names = names
        self._stacks = stacks
        self._hold = hold
        self._child = child
        self._listed = frozenset(layer.file.name for owned in stacks for layer in _layers_of(owned.stack))
        self._unlisted: dict[LayerName, int] = {}
        self._unneeded: list[LayerName] = []
        self._left_deep = 0
        self._merging = False
        self._held = False
        self._due = False
        self._arrival = Wakeup()

    def on_complete(self, listed: frozenset[LayerName]) -> None:
        """A checkpoint is complete, whose manifest lists these layers. One is in progress at a time."""
        self._listed = listed
        for name, completions in list(self._unlisted.items()):
            if name not in listed and completions + 1 < _COMPLETIONS:
                self._unlisted[name] += 1
                continue
            del self._unlisted[name]
            if name not in listed:
                self._unneeded.append(name)
        self._wake()

    def on_pushed(self, stack: LayerStack) -> None:
        """A layer was put on `stack`, which is one of the attempt's."""
        depth = _depth_of(stack)
        if depth > max(LAYERS_AIM, self._left_deep):
            self._wake()
        if depth > LAYERS_MAX and self._merging:
            self._set_held(held=True)

    async def run(self) -> None:
        """Merge what there is to merge, for ever."""
        while True:
            while not self._due:
                await self._arrival.wait()
            self._due = False
            await self._remove_unneeded()
            try:
                while (chosen := choose(self._runs())) and await self._compact(chosen):
                    pass
            finally:
                self._merging = False
                self._set_held(held=False)
            self._left_deep = self._deepest()

    def _wake(self) -> None:
        self._due = True
        self._arrival.wake()

    async def _compact(self, chosen: list[Layer]) -> bool:
        """Merge what was chosen; tell whether that has made the stacks lower."""
        self._merging = True
        self._set_held(held=self._deepest() > LAYERS_MAX)
        pieces = pieces_of(self._runs(), chosen)
        sources = [self._source(layer.file) for layer in chosen]
        task = Merge(sources, pieces, f"{self._folder}/{self._names()}")
        opened: list[Layer] = []
        in_use = False
        for layer in chosen:
            layer.retain()
        try:
            await carry_out(self._world, task, opened, child=self._child)
            in_use = self._replace(chosen, pieces, opened[0] if opened else None)
        except (ActorstreamError, OSError) as error:
            log.warning("layers stay unmerged", layers=len(chosen), reason=f"{type(error).__name__}: {error}")
        finally:
            for layer in opened:
                layer.release()
            await _release_each(chosen)
            if not in_use:
                with anyio.CancelScope(shield=True):
                    await self._world.offload.run(_remove, self._world.files, [task.target])
        return in_use

    def _replace(self, chosen: Sequence[Layer], pieces: list[Piece], new: Layer | None) -> bool:
        """Put `new` where the chosen layers stand, in every stack; nowhere if they do not stand as they did."""
        if pieces_of(self._runs(), chosen) != pieces:
            log.warning("merged layer dropped", reason="the stacks changed meanwhile")
            return False
        gone = set(chosen)
        for stack in (owned.stack for owned in self._stacks):
            for groups, layers in stack.runs():
                old = [layer for layer in layers if layer in gone]
                if old:
                    stack.replace(old, new, within=groups)
        self._unlisted.update((layer.file.name, 0) for layer in chosen if layer.file.name not in self._listed)
        log.debug("layers merged", layers=len(chosen), bytes=0 if new is None else new.file.size)
        return True

    async def _remove_unneeded(self) -> None:
        if self._unneeded:
            paths, self._unneeded = [f"{self._folder}/{name}" for name in self._unneeded], []
            await self._world.offload.run(_remove, self._world.files, paths)

    def _set_held(self, *, held: bool) -> None:
        if held is not self._held:
            self._held = held
            if held:
                log.warning("records wait for a merge of layers", layers=self._deepest(), most=LAYERS_MAX)
            self._hold(held)

    def _deepest(self) -> int:
        return max((_depth_of(owned.stack) for owned in self._stacks), default=0)

    def _runs(self) -> list[StackedRun]:
        return [StackedRun(operator, *run, clocks) for operator, stack, clocks in self._stacks for run in stack.runs()]

    def _source(self, file: LayerFile) -> Source:
        return Source(f"{self._folder}/{file.name}", file.name, file.size, file.digest, file.entries)


def _layers_of(stack: LayerStack) -> Iterator[Layer]:
    return chain.from_iterable(layers for _, layers in stack.runs())


def _depth_of(stack: LayerStack) -> int:
    return max(len(layers) for _, layers in stack.runs())


def _while_small(layers: Sequence[Layer], least: int) -> list[Layer]:
    taken = list(layers[:least])
    size = sum(layer.file.size for layer in taken)
    for layer in layers[least:]:
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


async def _release_each(layers: Sequence[Layer]) -> None:
    """Let go of layers, one a turn of the loop: the last to do so unmaps the file, which takes 5 ms for 500 MB."""
    for layer in layers:
        layer.release()
        await cancel_shielded_checkpoint()


def _remove(files: FileSystem, paths: Sequence[str]) -> None:
    for path in paths:
        with suppress(OSError):
            files.unlink(path)
