"""How long fuzzing may go on: the same few hundred inputs each time, or new ones for as long as somebody gives it.

FUZZ_SECONDS=3600 pytest tests/fuzz      each decoder gets its share of the hour, with another seed each round
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
_ROUND = 500


def fuzz(strategy: SearchStrategy[T], check: Callable[[T], None], *, examples: int, share: float) -> None:
    """Check so many inputs, the same in each run; then new ones for a share of `FUZZ_SECONDS`.

    Args:
        strategy: Gives inputs.
        check: Raises where something is wrong; hypothesis then looks for the smallest such input, and shows it.
        examples: How many in each run.
        share: Of the time that is given.
    """
    end = time.monotonic() + SECONDS * share
    _round(strategy, check, examples, None)
    while time.monotonic() < end:
        _round(strategy, check, _ROUND, random.SystemRandom().getrandbits(64))


def _round(strategy: SearchStrategy[T], check: Callable[[T], None], examples: int, with_seed: int | None) -> None:
    @settings(
        max_examples=examples,
        derandomize=with_seed is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(strategy)
    def checked(data: T) -> None:
        check(data)

    (checked if with_seed is None else seed(with_seed)(checked))()
