"""What two logs hold in common, and what not: counted, with examples.

    without a key   equal records are paired, however often they come and wherever they lie
    with a key      a key's k-th record in A with its k-th in B: the same, or different; the rest is in one alone

Both logs are read once, up to where they end at the call. Where they hold the same bytes side by side nothing is
decoded. Memory is bounded, whatever the logs hold (pairing.py): about 64 MiB beside a fetch of each partition.

A key's records have one order if they lie in one partition. Those that are spread over several are taken from the
partitions in turn, a record of each (inside.py): the order in which a log without a key was written.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003  (a field's type: tools look it up)
from contextlib import ExitStack
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cast

import anyio
from anyio.lowlevel import checkpoint
from xxhash import xxh3_128_digest

from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import PlanError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.inside import Inside, Piece, RecordStream, look_inside, record_at
from actorstream.evolve.pairing import PENDING_MAX, A, B, Pairing, Tally
from actorstream.evolve.sameness import Sameness
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.eventlog.log import EventLog

T = TypeVar("T")

SAMPLES = 10
_SLICE = 256
"""How many records are decoded before others may run: a few milliseconds."""
_SHOWN_CHARS = 60


class Comparison(NamedTuple):
    """How two logs compare. True when nothing differs.

    Attributes:
        only_a: Records that A has more of.
        only_b: Records that B has more of.
        different: Pairs of equal key and unequal rest; 0 without a key.
        same: Pairs of equal records.
        samples: The first of what differs, as (key, in A, in B), in A's order, then in B's. None: not there. Without a
            key, the key is None.
    """

    only_a: int
    only_b: int
    different: int
    same: int
    samples: Sequence[tuple[object, object | None, object | None]]

    def __bool__(self) -> bool:
        """Tell whether nothing differs."""
        return not (self.only_a or self.only_b or self.different)

    def __str__(self) -> str:
        """Say it in a line, and show the samples side by side."""
        lines = [counts_text(self)]
        for key, a, b in self.samples:
            place = "" if key is None else f"{_short(key)}: "
            lines.append(f"  {place}{_short(a)} | {_short(b)}")
        return "\n".join(lines)


def counts_text(comparison: Comparison) -> str:
    """Say the counts in a line."""
    only_a, only_b, different, same, _ = comparison
    if comparison:
        return f"equal: {same:,} records in both"
    return f"{same:,} the same, {different:,} different, {only_a:,} only in A, {only_b:,} only in B"


async def compare(
    a: EventLog[T],
    b: EventLog[T],
    *,
    key: Callable[[T], object] | None = None,
    ignore: Sequence[str] = (),
    samples: int = SAMPLES,
) -> Comparison:
    """Compare all records of two logs, up to where these end now. Times and offsets do not count, values do.

    Args:
        a: One log.
        b: The other one; it may have other partitions.
        key: What a record is about: a str, an int, ... or a tuple of them. A key's k-th record in A is held against
            its k-th in B. None: equal records are paired, in any order.
        ignore: Fields of the records that do not count.
        samples: How many examples to give at most.

    Raises:
        PlanError: `samples` is below 0, or no record has a field that is to be ignored.
        CodecError: A key is none, or a record is not of the log's type.
        StoreError: A log is missing or damaged.
    """
    return await compare_within(a, b, key, ignore, samples, room=PENDING_MAX)


async def compare_within(
    a: EventLog[T],
    b: EventLog[T],
    key: Callable[[T], object] | None,
    ignore: Sequence[str],
    samples: int,
    *,
    room: int,
) -> Comparison:
    """Do what `compare` does with at most `room` records that wait in memory."""
    if samples < 0:
        raise PlanError(f"samples={samples}: give how many examples you want, 0 for none")
    sides = (await look_inside(a), await look_inside(b))
    world = current_world()
    tally = Tally(samples)
    sameness = Sameness(ignore)
    folder = world.files.temporary(f"actorstream-compare-{world.random.token()}")
    pairing = Pairing(tally, world.files, folder, room=room)
    try:
        run = _Run(sides, pairing, tally, sameness, key)
        with disk_errors(folder):
            await run.read_all(bytes_tell=not ignore and await _of_one_type(sides))
            await world.offload.run(pairing.finish)
    finally:
        with anyio.CancelScope(shield=True):
            await world.offload.run(world.files.remove_tree, folder)
    if tally.same + tally.different + sum(tally.only):
        sameness.check_ignored()
    found: list[tuple[object, T | None, T | None]] = []
    for in_a, in_b in tally.samples():
        left: T | None = None
        right: T | None = None
        if in_a is not None:
            left = await record_at(sides[A], in_a)
        if in_b is not None:
            right = await record_at(sides[B], in_b)
        known = cast("T", right if in_a is None else left)
        found.append((None if key is None else key(known), left, right))
    return Comparison(tally.only[A], tally.only[B], tally.different, tally.same, found)


class _Run(Generic[T]):
    """One comparison at work: two streams, side by side."""

    def __init__(
        self,
        sides: tuple[Inside[T], Inside[T]],
        pairing: Pairing,
        tally: Tally,
        sameness: Sameness,
        key: Callable[[T], object] | None,
    ) -> None:
        self._sides = sides
        self._pairing = pairing
        self._tally = tally
        self._sameness = sameness
        self._key = key
        self._bytes_tell = False

    async def read_all(self, *, bytes_tell: bool) -> None:
        """Read both logs to their present ends; `bytes_tell`: records of equal bytes are the same."""
        self._bytes_tell = bytes_tell
        pairing, offload = self._pairing, self._sides[A].log.world.offload
        with ExitStack() as stack:
            a, b = [_Side(stack.enter_context(await _stream(inside))) for inside in self._sides]
            while True:
                left, right = await a.ready(), await b.ready()
                if not left and not right:
                    return
                count = min(left, right)
                if count:
                    count = self._side_by_side(a, b, count)
                else:
                    side, count = (A, min(left, _SLICE)) if left else (B, min(right, _SLICE))
                    pairing.end(1 - side)
                    self._alone(side, a if side == A else b, count)
                for taken in (a, b):
                    taken.at += min(count, len(taken.piece.payloads) - taken.at)
                if pairing.flush_due:
                    await offload.run(pairing.flush)
                await checkpoint()

    def _side_by_side(self, a: _Side, b: _Side, count: int) -> int:
        """Take up to `count` records of both; give how many."""
        left, right = (side.piece.payloads[side.at : side.at + count] for side in (a, b))
        keyed, pairing, tally = self._key is not None, self._pairing, self._tally
        if self._bytes_tell and left == right and (not keyed or pairing.level):
            tally.same += count
            return count
        count = min(count, _SLICE)
        for at, (payload_a, payload_b) in enumerate(zip(left[:count], right[:count], strict=True)):
            # With a key only while no earlier record of any key waits: then both stand at the same k.
            if self._bytes_tell and payload_a == payload_b and (not keyed or pairing.level):
                tally.same += 1
            else:
                self._add(A, payload_a, a.piece.place(a.at + at))
                self._add(B, payload_b, b.piece.place(b.at + at))
        return count

    def _alone(self, side: int, stream: _Side, count: int) -> None:
        for at in range(stream.at, stream.at + count):
            self._add(side, stream.piece.payloads[at], stream.piece.place(at))

    def _add(self, side: int, payload: bytes, place: int) -> None:
        value = self._sides[side].schemas.read(payload)
        content = self._sameness.content(value)
        group = content if self._key is None else xxh3_128_digest(encode_key(self._key(value)))
        self._pairing.add(side, group, content, place)


class _Side:
    """One stream, and how far its newest piece was taken."""

    def __init__(self, stream: RecordStream) -> None:
        self._stream = stream
        self.piece = Piece([], [])
        self.at = 0

    async def ready(self) -> int:
        """Give how many records are there to be taken, 0 at the end."""
        if self.at == len(self.piece.payloads):
            self.piece, self.at = await self._stream.next_piece() or Piece([], []), 0
        return len(self.piece.payloads) - self.at


async def _stream(inside: Inside[T]) -> RecordStream:
    log = inside.log
    ends = await log.world.offload.run(lambda: log.row.newest().ends())
    return RecordStream(log, await log.world.offload.run(log.row.first_offsets), ends)


async def _of_one_type(sides: tuple[Inside[T], Inside[T]]) -> bool:
    """Tell whether equal bytes in both logs are equal records: all were written with one type, or none has any."""
    types = [
        {
            (declared.fingerprint, declared.version)
            for declared in await inside.log.world.offload.run(inside.log.declared_types)
        }
        for inside in sides
    ]
    return types[A] == types[B] and len(types[A]) <= 1


def _short(value: object) -> str:
    text = "—" if value is None else repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"
