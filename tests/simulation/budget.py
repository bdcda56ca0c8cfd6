"""How long the simulation may go on: a few seeds by default, for as many seconds as somebody wants to give it.

SIMULATION_SECONDS=3600 pytest -n 2 tests/simulation      goes through all places for a crash, and an hour through seeds

SIMULATION_FIRST=5000 begins with that seed: those from 0 on were met in every run before.

The seconds are those on the wall where two workers run: the suites share two workers' time.
"""

from __future__ import annotations

import os
import time
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = float(os.environ.get("SIMULATION_SECONDS", "0"))
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
WORKERS = 2

SHARES = {
    "topologies": 0.4,
    "upgrades and forks": 0.2,
    "topologies with zombies": 0.1,
    "loops": 0.1,
    "jobs": 0.3,
    "zombies": 0.06,
    "event time": 0.3,
    "evolution": 0.34,
    "async functions": 0.08,
    "async handlers": 0.12,
}
"""What each suite has of the time of one worker; together, that of all."""


def stride(usual: int, in_time: int = 1) -> int:
    """Give the distance between two places of a sweep: every `in_time`-th is taken where there is time."""
    return in_time if SECONDS else usual


def seeds(usual: int, suite: str, among: int = 1) -> Iterator[int]:
    """Give so many seeds, or new ones for the share of one of `among` tests of a suite."""
    end = time.monotonic() + SECONDS * SHARES[suite] / among
    for number in count():
        if number >= usual and time.monotonic() >= end:
            return
        yield FIRST + number
