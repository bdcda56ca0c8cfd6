"""How far two logs agree: by the definition, also when it is asked again after more was appended."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from actorstream.errors import StoreError
from actorstream.eventlog.agreement import agree
from actorstream.eventlog.inside import look_inside
from actorstream.eventlog.log import EventLog
from tests.eventlog.setting import SMALL, begin_at

if TYPE_CHECKING:
    from pathlib import Path


def never(left: bytes, right: bytes) -> bool:
    assert left != right
    return False


def first_difference(a: list[int], b: list[int]) -> int:
    pairs = enumerate(zip(a, b, strict=False))
    return next((at for at, (x, y) in pairs if x != y), min(len(a), len(b)))


async def test_the_first_difference_of_each_partition_is_found_also_in_steps(tmp_path: Path) -> None:
    rng = random.Random(5)
    for number in range(25):
        parts = [[[0] * rng.randrange(40) for _ in range(2)] for _ in range(3)]
        logs = [
            EventLog(tuple[int, int], tmp_path / f"{number}{name}", partitions=2, key=lambda pair: pair[0])
            for name in "ab"
        ]
        known = None
        keys = [0, 1, 2, 3]
        sides: list[dict[int, list[int]]] = [{0: [], 1: []}, {0: [], 1: []}]
        for _ in parts:
            for side, log in enumerate(logs):
                for _ in range(rng.randrange(30)):
                    key, value = rng.choice(keys), rng.choice([0] * 40 + [1])
                    position = await log.append((key, value))
                    sides[side][position.partition].append(hash((key, value)))
            a, b = [(await look_inside(log)).log for log in logs]
            known = agree(a, b, never, known)
            fresh = agree(a, b, never)
            expected = [first_difference(sides[0][p], sides[1][p]) for p in (0, 1)]
            assert known == fresh
            assert known.differs == expected


async def test_records_that_are_the_same_in_other_bytes_do_not_differ(tmp_path: Path) -> None:
    a, b = EventLog(object, tmp_path / "a"), EventLog(object, tmp_path / "b")
    await a.extend([{"x": 1, "y": 2}, {"x": 1}])
    await b.extend([{"y": 2, "x": 1}, {"x": 2}])
    left, right = [(await look_inside(log)).log for log in (a, b)]
    assert agree(left, right, never).differs == [0]
    assert agree(left, right, lambda x, y: sorted(x) == sorted(y)).differs == [1]
    assert agree(left, right, lambda x, y: True).differs == [2]


async def test_a_log_without_the_others_beginning_is_refused(tmp_path: Path) -> None:
    begin_at(tmp_path / "a", [5])
    begin_at(tmp_path / "b", [7])
    a, b = [(await look_inside(EventLog(int, tmp_path / name, settings=SMALL))).log for name in "ab"]
    with pytest.raises(StoreError, match=r"begins at offset 7, and .* has it from 5 on"):
        agree(a, b, never)
    assert agree(b, a, never).differs == [5], "nothing shows that offsets mean the same"
