"""A gate in front of all actors of a host: while it is closed they take no records, but serve control messages.

It closes while layers pile up faster than they are merged. Barriers wait in the lanes
with the records, so whoever closes it must not need a checkpoint to open it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Gate:
    """Open at first."""

    def __init__(self) -> None:
        """Start open, with nobody waiting behind it."""
        self.closed = False
        self._behind: list[Callable[[], None]] = []

    def stand_behind(self, on_open: Callable[[], None]) -> None:
        """Have `on_open` called whenever the gate opens."""
        self._behind.append(on_open)

    def hold(self, closed: bool) -> None:  # noqa: FBT001  (a state, not a flag)
        """Close it, or open it; again is fine."""
        opens = self.closed and not closed
        self.closed = closed
        if opens:
            for on_open in self._behind:
                on_open()
