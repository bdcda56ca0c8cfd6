"""The layers that one subtask's state consists of, for each key group newest first.

    key groups   [0 ........ 40)[40 ........ 64)
    newest        L9             L9                 pushed by this subtask
                  L4             L7                 from before a rescale: each key group
    oldest        L1             L2                 keeps the stack of its old owner

What is seen is decided by this reference alone, never by what a file holds: a
layer file also carries entries of other subtasks, and of this one from after a
barrier that the restored checkpoint does not know (T134).

Runs of key groups are disjoint, in order and without a gap. A stack counts once
each layer that it holds; `runs()` gives what is fixed at that moment, as tuples.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from actorstream.errors import InvariantError
from actorstream.model.key_groups import KeyGroupRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actorstream.state.layer import Layer

Run: TypeAlias = "tuple[KeyGroupRange, tuple[Layer, ...]]"


class LayerStack:
    """A row of runs. Its own counts are beside those of whoever hands layers in."""

    def __init__(self, runs: Sequence[tuple[KeyGroupRange, Sequence[Layer]]]) -> None:
        """Take runs in order of their key groups, each with its layers newest first.

        Raises:
            InvariantError: A run is empty, or does not begin where the one before it ends.
        """
        for (before, _), (after, _) in pairwise(runs):
            if before.end != after.start:
                raise InvariantError(f"a stack's runs leave a gap or overlap: {before} is followed by {after}")
        if not runs or any(groups.start >= groups.end for groups, _ in runs):
            raise InvariantError(f"a stack needs runs of at least one key group each, not {[r for r, _ in runs]}")
        self._runs: list[Run] = []
        self._held: set[Layer] = set()
        self._settle([(groups, tuple(layers)) for groups, layers in runs])

    @classmethod
    def covering(
        cls, key_groups: KeyGroupRange, runs: Iterable[tuple[KeyGroupRange, Sequence[Layer]]] = ()
    ) -> LayerStack:
        """Make the stack of `key_groups` from runs of any split: clipped to it, empty where there is none."""
        clipped: list[tuple[KeyGroupRange, Sequence[Layer]]] = []
        at = key_groups.start
        for groups, layers in sorted(runs, key=lambda run: run[0]):
            start, end = max(groups.start, key_groups.start), min(groups.end, key_groups.end)
            if start >= end:
                continue
            if start > at:
                clipped.append((KeyGroupRange(at, start), ()))
            clipped.append((KeyGroupRange(start, end), layers))
            at = end
        if at < key_groups.end:
            clipped.append((KeyGroupRange(at, key_groups.end), ()))
        return cls(clipped)

    @property
    def key_groups(self) -> KeyGroupRange:
        """The key groups that the runs cover."""
        return KeyGroupRange(self._runs[0][0].start, self._runs[-1][0].end)

    @property
    def layers(self) -> int:
        """How many files there are."""
        return len(self._held)

    def layers_for(self, key_group: int) -> tuple[Layer, ...]:
        """Give the layers of one key group, newest first."""
        if len(self._runs) == 1:
            return self._runs[0][1]
        return self._runs[bisect_right(self._starts, key_group) - 1][1]

    def runs(self) -> list[Run]:
        """Give the stack as it is now, for a manifest."""
        return list(self._runs)

    def push(self, layer: Layer) -> None:
        """Put a new layer on top, for every key group."""
        self._settle([(groups, (layer, *layers)) for groups, layers in self._runs])

    def replace(self, old: Sequence[Layer], new: Layer | None, *, within: KeyGroupRange | None = None) -> None:
        """Put `new` where the layers `old` stand, newest first and side by side; None only drops them.

        Runs that hold none of them, or reach out of `within`, stay as they are.

        Raises:
            InvariantError: A run holds some of them, or not in that order.
        """
        wanted, inserted = tuple(old), () if new is None else (new,)
        runs: list[Run] = []
        for groups, layers in self._runs:
            if not set(wanted) & set(layers) or (
                within and not within.start <= groups.start < groups.end <= within.end
            ):
                runs.append((groups, layers))
                continue
            at = layers.index(wanted[0]) if wanted[0] in layers else len(layers)
            if layers[at : at + len(wanted)] != wanted:
                raise InvariantError(f"{list(wanted)} do not stand side by side in {groups}: {list(layers)}")
            runs.append((groups, (*layers[:at], *inserted, *layers[at + len(wanted) :])))
        self._settle(runs)

    def release(self) -> None:
        """Give up every layer; the stack is then empty."""
        self._settle([(groups, ()) for groups, _ in self._runs])

    def _settle(self, runs: list[Run]) -> None:
        joined: list[Run] = []
        for groups, layers in runs:
            if joined and joined[-1][1] == layers:
                joined[-1] = KeyGroupRange(joined[-1][0].start, groups.end), layers
            else:
                joined.append((groups, layers))
        held = {layer for _, layers in joined for layer in layers}
        for layer in held - self._held:
            layer.retain()
        for layer in self._held - held:
            layer.release()
        self._runs, self._held = joined, held
        self._starts = [groups.start for groups, _ in joined]
