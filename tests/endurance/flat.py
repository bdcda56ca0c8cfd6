"""Whether a row of readings stays where it is: the slope that most pairs of readings agree on.

The median of the slopes of all pairs (Theil and Sen) does not see outliers, and little of a saw-tooth that has five
teeth or more, so what is left is what goes on growing. Warm-up is the caller's to leave out.

Source: P. K. Sen 1968, "Estimates of the regression coefficient based on Kendall's tau".
"""

from __future__ import annotations

from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def growth(times: Sequence[float], values: Sequence[float]) -> float:
    """Give by how much the values grow from the first time to the last, as their pairs agree on; below 0: they shrink.

    Args:
        times: Rising.
        values: One a time; at least two.
    """
    readings = list(zip(times, values, strict=True))
    slopes = [(late - early) / (end - start) for (start, early), (end, late) in combinations(readings, 2)]
    return median(slopes) * (times[-1] - times[0])
