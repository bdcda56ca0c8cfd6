"""Where slices and windows begin and end: arithmetic on microseconds, for windows of one size at equal distances.

    slice     |--|--|--|--|--|--|--|--|--|           gcd(size, slide) long
    windows   |--------------|                       Sliding(10, slide=4): slices of 2
                    |--------------|
                          |--------------|

All windows begin and end where slices do, so a slice lies wholly in a window or wholly outside.
`//` and `%` round down, so times before 1970 are like all others (T59).
"""

from __future__ import annotations

from math import gcd


class SliceGrid:
    """The slices and windows of one operator.

    Attributes:
        size: How long a window is.
        slide: From one window's end to the next one's.
        slice_us: How long a slice is.
        offset: The least start of a slice that is not below 0.
    """

    __slots__ = ("_end", "offset", "size", "slice_us", "slide")

    def __init__(self, size_us: int, slide_us: int, offset_us: int) -> None:
        """Let windows of `size_us` begin at `offset_us` and every `slide_us` from there on, in both directions."""
        self.size = size_us
        self.slide = slide_us
        self.slice_us = gcd(size_us, slide_us)
        self.offset = offset_us % self.slice_us
        self._end = offset_us + size_us

    def end_from(self, time: int) -> int:
        """Give the first end of a window that is not before `time`."""
        return time + (self._end - time) % self.slide

    def first_end(self, start: int) -> int:
        """Give the end of the first window that the slice is in, or of a later one if it is in none."""
        return self.end_from(start + self.slice_us)

    def last_end(self, start: int) -> int:
        """Give the end of the last window that the slice is in, or of an earlier one if it is in none."""
        end = start + self.size
        return end - (end - self._end) % self.slide

    def first_kept(self, dropped_to: int) -> int:
        """Give the first slice that is needed, when all windows with an end of at most `dropped_to` are gone."""
        return self.end_from(dropped_to + 1) - self.size
