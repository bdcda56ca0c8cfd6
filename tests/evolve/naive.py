"""Comparison as its documentation defines it, in memory, and logs with chosen contents."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from actorstream.eventlog.log import EventLog
from tests.eventlog.setting import SMALL

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from pathlib import Path

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    sensor: str
    value: int
    note: str = ""


async def log_of(
    path: Path, values: Iterable[Reading], partitions: int = 1, *, keyed: bool = False
) -> EventLog[Reading]:
    """Make a log; `keyed`: a sensor's readings in one partition, else dealt in turn."""
    by = (lambda reading: reading.sensor) if keyed else None
    log = EventLog(Reading, path, partitions=partitions, key=by, settings=SMALL)
    await log.extend(values)
    return log


def counts(a: Sequence[T], b: Sequence[T], key: Callable[[T], Hashable] | None) -> tuple[int, int, int, int]:
    """Give (only_a, only_b, different, same)."""
    groups: dict[Hashable, tuple[list[T], list[T]]] = defaultdict(lambda: ([], []))
    for side, values in enumerate((a, b)):
        for value in values:
            groups[value if key is None else key(value)][side].append(value)
    only_a = only_b = different = same = 0
    for left, right in groups.values():
        paired = min(len(left), len(right))
        only_a += len(left) - paired
        only_b += len(right) - paired
        equal = sum(x == y for x, y in zip(left, right, strict=False))
        same += equal
        different += paired - equal
    return only_a, only_b, different, same
