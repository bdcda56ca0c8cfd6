"""What the graph knows of operators that wait for time to pass: windows and joins."""

from __future__ import annotations

from typing import Protocol


class Timed(Protocol):
    """What the graph has to know of a window or join: see operators/timed.py.

    `kind` is the word for names and drawings; `inputs` 1 or 2; `event_time`: records need timestamps. Whoever says no
    more than that is a subclass, and has the rest from here.
    """

    @property
    def kind(self) -> str:
        """The user's word."""
        ...

    @property
    def inputs(self) -> int:
        """How many inputs there are."""
        ...

    @property
    def event_time(self) -> bool:
        """Whether records need timestamps."""
        ...

    @property
    def takes_time(self) -> bool:
        """Whether timestamps are looked at where there are some."""
        return self.event_time

    @property
    def asks_clock(self) -> bool:
        """Whether results may depend on processing time."""
        return not self.event_time

    @property
    def delay_us(self) -> int:
        """How far results may lie behind the watermark that made them due: an outer join's lonely rows do."""
        return 0

    @property
    def fetches_rows(self) -> bool:
        """Whether rows of keys that are to come may be fetched first, so that a chain is cut where the key is made."""
        return True

    @property
    def emits_aside(self) -> bool:
        """Whether something for side outputs may be among the results."""
        return False
