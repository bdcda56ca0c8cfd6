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
from typing import TYPE_CHECKING, Self, TypeAlias

from xxhash import xxh3_64_intdigest

from actorstream.errors import InvariantError
from actorstream.model.key_groups import KeyGroupRange
from actorstream.state.filters import LOW, MASK_SHIFT, MASKS, probe_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from actorstream.state.layer import Layer

Run: TypeAlias = "tuple[KeyGroupRange, tuple[Layer, ...]]"

_READ_AT_ONCE = 1_000


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

    def get(self, key_group: int, entry: bytes) -> bytes | None:
        """Give the value of an entry key in the newest layer that holds it: tag and codec bytes, or None.

        For keys that nothing in them is shortened of (state/entries.py).
        """
        # `probe_of`, without the call: it would take a third of the time that one layer takes.
        digest = xxh3_64_intdigest(entry)
        low, mask = digest & LOW, MASKS[digest >> MASK_SHIFT]
        probes = self._probes
        for table, size, get in probes[0 if len(probes) == 1 else bisect_right(self._starts, key_group) - 1]:
            if table[low % size] & mask:
                continue
            value = get(entry)
            if value is not None:
                return value
        return None

    def get_many(self, key_group_entries: Sequence[tuple[int, bytes]]) -> dict[bytes, bytes]:
        """Do `get` for many, on the loop; in a thread use `pin` and the pinned stack's."""
        with self.pin() as pinned:
            return pinned.get_many(key_group_entries)

    def pin(self) -> PinnedStack:
        """Give the stack as it is now, whatever comes, for reading in a thread. Call it on the loop."""
        return PinnedStack(self._runs, self._held)

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
        self._probes = [tuple([layer.probe for layer in layers]) for _, layers in joined]


class PinnedStack:
    """What a stack was at one moment: its layers stay open until `release`."""

    def __init__(self, runs: Sequence[Run], held: Iterable[Layer]) -> None:
        """Count each of `held`, the layers of `runs`, once; on the loop."""
        self._runs = runs
        self._starts = [groups.start for groups, _ in runs]
        self._held = tuple(held)
        for layer in self._held:
            layer.retain()

    def __enter__(self) -> Self:
        """Go on."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Release."""
        self.release()

    def get_many(self, key_group_entries: Sequence[tuple[int, bytes]]) -> dict[bytes, bytes]:
        """Give the values of those entry keys that some layer holds, each from the newest one; blocking.

        Any thread may call it before `release`. Every C call takes at most 1,000 keys.
        """
        found: dict[bytes, bytes] = {}
        for at in range(0, len(key_group_entries), _READ_AT_ONCE):
            by_run: dict[int, list[bytes]] = {}
            for key_group, entry in key_group_entries[at : at + _READ_AT_ONCE]:
                by_run.setdefault(bisect_right(self._starts, key_group) - 1, []).append(entry)
            for index, entries in by_run.items():
                _read(self._runs[index][1], entries, found)
        return found

    def release(self) -> None:
        """Give up the layers, on the loop; a second call does nothing."""
        held, self._held = self._held, ()
        for layer in held:
            layer.release()


def _read(layers: Sequence[Layer], entries: list[bytes], found: dict[bytes, bytes]) -> None:
    asked = [(entry, *probe_of(entry)) for entry in sorted(entries)]
    for layer in layers:
        table, size, _ = layer.probe
        maybe = [entry for entry, low, mask in asked if not table[low % size] & mask]
        if maybe and (rows := layer.get_sorted(maybe)):
            found.update(rows)
            asked = [each for each in asked if each[0] not in found]
