"""The ends of event time, which is counted in microseconds since 1970, signed, in 64 bits."""

from __future__ import annotations

from typing import Final

TIME_MIN: Final = -(1 << 63)
"""Before all time: the watermark before the first, which promises nothing."""
TIME_MAX: Final = (1 << 63) - 1
"""Behind all time: the watermark after the last, which no record follows."""
