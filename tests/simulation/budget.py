"""How long the simulation may go on: a few seeds by default, for as many seconds as somebody wants to give it.

SIMULATION_SECONDS=3600 pytest tests/simulation      goes through all places for a crash, and through seeds until then
"""

from __future__ import annotations

import os
import time
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = float(os.environ.get("SIMULATION_SECONDS", "0"))


def stride(usual: int, in_time: int = 1) -> int:
    """Give the distance between two places of a sweep: every `in_time`-th is taken where there is time."""
    return in_time if SECONDS else usual


def seeds(usual: int, share: float) -> Iterator[int]:
    """Give so many seeds, or new ones for the test's share of the time."""
    end = time.monotonic() + SECONDS * share
    for seed in count():
        if seed >= usual and time.monotonic() >= end:
            return
        yield seed
