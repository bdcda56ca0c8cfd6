"""Records of two logs, paired within their groups: the k-th of a group in A with the k-th in B, in bounded memory.

    A ──> x1 y1 x2 ──┐   pending[x]: A's x2                     what waits for its pair stays in memory, up to a bound
    B ──> x1 z1    ──┴─> pairs: x1 x1                           at the end it is what one side alone has

    too much waits ──> 64 buckets in temporary files, by the group's digest ──> each is paired like a log of its own,
                                                                                  with buckets of its own if need be

Logs that hold about the same in about the same order need no file, however long they are. Groups never wait for a
side that has ended, and both sides of a bucket are read in turn: so one group of any size needs no memory either.
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.model.world import FileSystem

A, B = 0, 1
PENDING_MAX = 131_072
"""How many records may wait in memory: about 300 bytes each."""
_BUCKETS = 64
_FLUSH_BYTES = 4 * 1024 * 1024
_DEPTH_MAX = 8
_ENTRY = Struct(">16s16sQ")

Waiting: TypeAlias = "tuple[bytes, int] | deque[tuple[bytes, int]]"
"""Content and place of one record, or of several in order."""


class Sample(NamedTuple):
    """Where an example lies: in A, in B, or in both."""

    in_a: int | None
    in_b: int | None


class Tally:
    """What was counted, and the first examples in the order of A, then of B."""

    def __init__(self, samples: int) -> None:
        """Start with nothing; keep so many samples."""
        self.same = self.different = 0
        self.only = [0, 0]
        self._wanted = samples
        self._found: tuple[list[tuple[int, Sample]], list[tuple[int, Sample]]] = ([], [])

    def pair(self, place_a: int, place_b: int, *, same: bool) -> None:
        """Count one of each."""
        if same:
            self.same += 1
        else:
            self.different += 1
            self._note(A, place_a, Sample(place_a, place_b))

    def alone(self, side: int, place: int) -> None:
        """Count one that has no pair."""
        self.only[side] += 1
        self._note(side, place, Sample(place, None) if side == A else Sample(None, place))

    def samples(self) -> list[Sample]:
        """Give the first examples."""
        return [sample for found in self._found for _, sample in sorted(found)[: self._wanted]][: self._wanted]

    def _note(self, side: int, place: int, sample: Sample) -> None:
        found = self._found[side]
        found.append((place, sample))
        if len(found) > 2 * self._wanted + 64:
            found.sort()
            del found[self._wanted :]


class Pairing:
    """Pairs what is added. Blocking where it has spilled; one thread at a time."""

    def __init__(
        self, tally: Tally, files: FileSystem, folder: str, *, room: int = PENDING_MAX, depth: int = 0
    ) -> None:
        """Count in `tally`; make `folder`, a temporary one, once more than `room` records wait."""
        self._tally = tally
        self._files = files
        self._folder = folder
        self._room = room
        self._depth = depth
        self._pending: tuple[dict[bytes, Waiting], dict[bytes, Waiting]] = ({}, {})
        self._waiting = 0
        self._ended = [False, False]
        self._spill: _Spill | None = None

    @property
    def level(self) -> bool:
        """Whether every group has as many records on both sides so far."""
        return self._waiting == 0 and self._spill is None

    def add(self, side: int, group: bytes, content: bytes, place: int) -> None:
        """Take the next record of one side; group and content are digests of 16 bytes."""
        if self._spill is not None:
            self._spill.add(side, group, content, place)
            return
        others = self._pending[1 - side]
        other = others.get(group)
        if other is not None:
            if isinstance(other, tuple):
                del others[group]
            else:
                queue = other
                other = queue.popleft()
                if not queue:
                    del others[group]
            self._waiting -= 1
            first, second = (place, other[1]) if side == A else (other[1], place)
            self._tally.pair(first, second, same=content == other[0])
        elif self._ended[1 - side]:
            self._tally.alone(side, place)
        else:
            self._wait(side, group, (content, place))

    def end(self, side: int) -> None:
        """Take note that a side has no more."""
        self._ended[side] = True

    def flush(self, *, least_bytes: int = _FLUSH_BYTES) -> None:
        """Write what is to be written, if that is much."""
        if self._spill is not None and self._spill.buffered >= least_bytes:
            self._spill.flush()

    @property
    def flush_due(self) -> bool:
        """Whether `flush` would write."""
        return self._spill is not None and self._spill.buffered >= _FLUSH_BYTES

    def finish(self) -> None:
        """Count what is left, once both sides have ended."""
        if self._spill is not None:
            self._spill.flush()
            for bucket in range(_BUCKETS):
                self._settle(self._spill, bucket)
            return
        for side in (A, B):
            for group in self._pending[side].values():
                for _, place in [group] if isinstance(group, tuple) else group:
                    self._tally.alone(side, place)

    def _wait(self, side: int, group: bytes, entry: tuple[bytes, int]) -> None:
        mine = self._pending[side]
        before = mine.get(group)
        if before is None:
            mine[group] = entry
        elif isinstance(before, tuple):
            mine[group] = deque((before, entry))
        else:
            before.append(entry)
        self._waiting += 1
        if self._waiting > self._room and self._depth < _DEPTH_MAX:
            self._spill = _Spill(self._files, self._folder, self._depth)
            for owner in (A, B):
                for of, waiting in self._pending[owner].items():
                    for content, place in [waiting] if isinstance(waiting, tuple) else waiting:
                        self._spill.add(owner, of, content, place)
            self._pending = ({}, {})
            self._waiting = 0

    def _settle(self, spill: _Spill, bucket: int) -> None:
        """Pair one bucket, its sides in turn."""
        folder = f"{self._folder}/{bucket}"
        inner = type(self)(self._tally, self._files, folder, room=self._room, depth=self._depth + 1)
        sides = [spill.entries(A, bucket), spill.entries(B, bucket)]
        open_sides = [A, B]
        while open_sides:
            for side in tuple(open_sides):
                entry = next(sides[side], None)
                if entry is None:
                    inner.end(side)
                    open_sides.remove(side)
                else:
                    inner.add(side, *entry)
            inner.flush()
        inner.finish()
        spill.remove(bucket)


class _Spill:
    """Records of both sides in files, sorted out by one byte of their group's digest, each side in its order."""

    def __init__(self, files: FileSystem, folder: str, depth: int) -> None:
        files.make_temporary(folder)
        self.buffered = 0
        self._files = files
        self._folder = folder
        self._depth = depth
        self._buffers = [[bytearray() for _ in range(_BUCKETS)] for _ in (A, B)]

    def add(self, side: int, group: bytes, content: bytes, place: int) -> None:
        self._buffers[side][group[self._depth] % _BUCKETS] += _ENTRY.pack(group, content, place)
        self.buffered += _ENTRY.size

    def flush(self) -> None:
        for side in (A, B):
            for bucket, buffer in enumerate(self._buffers[side]):
                if buffer:
                    self._files.append(self._path(side, bucket), bytes(buffer))
                    buffer.clear()
        self.buffered = 0

    def entries(self, side: int, bucket: int) -> Iterator[tuple[bytes, bytes, int]]:
        if not self._files.exists(self._path(side, bucket)):
            return
        rest = b""
        for chunk in self._files.chunks(self._path(side, bucket)):
            data = rest + chunk
            whole = len(data) - len(data) % _ENTRY.size
            yield from _ENTRY.iter_unpack(data[:whole])
            rest = data[whole:]

    def remove(self, bucket: int) -> None:
        for side in (A, B):
            self._files.unlink(self._path(side, bucket))

    def _path(self, side: int, bucket: int) -> str:
        return f"{self._folder}/{'ab'[side]}{bucket}"
