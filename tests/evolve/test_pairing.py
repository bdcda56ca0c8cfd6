"""Pairing by definition, in bounded memory."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from xxhash import xxh3_128_digest

from actorstream.evolve.pairing import A, B, Pairing, Sample, Tally
from actorstream.system.files import RealFiles

if TYPE_CHECKING:
    from pathlib import Path


def digest(text: object) -> bytes:
    return xxh3_128_digest(str(text).encode())


class Watched(Pairing):
    """Knows how many records waited in memory at most, of all pairings."""

    longest = 0

    def add(self, side: int, group: bytes, content: bytes, place: int) -> None:
        super().add(side, group, content, place)
        waiting = sum(1 if isinstance(w, tuple) else len(w) for pending in self._pending for w in pending.values())
        Watched.longest = max(Watched.longest, waiting)


def run(sides: list[list[tuple[str, int]]], folder: Path, room: int, rng: random.Random) -> Tally:
    """Pair, in a random order of the sides."""
    tally = Tally(6)
    pairing = Pairing(tally, RealFiles(), str(folder), room=room)
    at = [0, 0]
    while open_sides := [side for side in (A, B) if at[side] < len(sides[side])]:
        side = rng.choice(open_sides)
        group, content = sides[side][at[side]]
        pairing.add(side, digest(group), digest(content), at[side])
        at[side] += 1
        if at[side] == len(sides[side]):
            pairing.end(side)
    pairing.end(A)
    pairing.end(B)
    pairing.finish()
    return tally


def expected(sides: list[list[tuple[str, int]]]) -> tuple[int, int, list[int], list[Sample]]:
    groups: dict[str, tuple[list[tuple[int, int]], list[tuple[int, int]]]] = defaultdict(lambda: ([], []))
    for side in (A, B):
        for place, (group, content) in enumerate(sides[side]):
            groups[group][side].append((content, place))
    counted: Counter[str] = Counter()
    samples: list[Sample] = []
    for left, right in groups.values():
        for (x, in_a), (y, in_b) in zip(left, right, strict=False):
            counted["same" if x == y else "different"] += 1
            if x != y:
                samples.append(Sample(in_a, in_b))
        paired = min(len(left), len(right))
        samples += [Sample(place, None) for _, place in left[paired:]]
        samples += [Sample(None, place) for _, place in right[paired:]]
        counted["a"] += len(left) - paired
        counted["b"] += len(right) - paired
    samples.sort(key=lambda s: (s.in_a is None, s.in_a if s.in_a is not None else s.in_b))
    return counted["same"], counted["different"], [counted["a"], counted["b"]], samples[:6]


def test_any_order_of_reading_and_any_memory_give_the_defined_pairs(tmp_path: Path) -> None:
    rng = random.Random(3)
    for number in range(40):
        groups = rng.choice([1, 3, 200])
        sides = [[(f"g{rng.randrange(groups)}", rng.randrange(3)) for _ in range(rng.randrange(400))] for _ in (A, B)]
        for room in (1, 20, 100_000):
            tally = run(sides, tmp_path / f"{number}-{room}", room, rng)
            assert (tally.same, tally.different, tally.only, tally.samples()) == expected(sides)


def test_no_more_wait_in_memory_than_there_is_room_for(tmp_path: Path) -> None:
    """Also where all records are of one group, which no bucket can divide."""
    for groups in (1, 5_000):
        Watched.longest = 0
        tally = Tally(0)
        pairing = Watched(tally, RealFiles(), str(tmp_path / str(groups)), room=100)
        count = 10_000
        for number in range(count):
            pairing.add(A, digest(number % groups), digest(number), number)
        pairing.end(A)
        for number in range(count // 2):
            pairing.add(B, digest(number % groups), digest(number), number)
        pairing.end(B)
        pairing.finish()
        assert (tally.same, tally.only) == (count // 2, [count // 2, 0])
        assert Watched.longest <= 101
