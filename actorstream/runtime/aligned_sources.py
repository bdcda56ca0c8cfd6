"""Sources that are kept together: what is far ahead of the others of its group is not read on.

    orders    12:00:10  ───────────────────> paused until the least of the group is at 12:00:05 or later
    payments  12:00:00  ──>                  max drift 5 s

One for all sources of a job: its members are splits, each with the actor that reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from actorstream.errors import PlanError
from actorstream.protocol.watermark_alignment import IDLE, AlignmentGroup, Pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorstream.protocol.watermark_alignment import Effect

Member: TypeAlias = "tuple[str, int, str]"
"""Chain, subtask, split."""


class AlignedSources:
    """The groups of one attempt."""

    def __init__(self) -> None:
        """Start without groups."""
        self._groups: dict[str, tuple[int, AlignmentGroup[Member]]] = {}
        self._pause: dict[Member, Callable[[bool], None]] = {}

    def join(self, group: str, max_drift_us: int, member: Member, pause: Callable[[bool], None]) -> None:
        """Let a split take part; `pause(True)` has it read no more, `pause(False)` lets it go on.

        Raises:
            PlanError: The group has another drift already.
        """
        known = self._groups.setdefault(group, (max_drift_us, AlignmentGroup(max_drift_us)))
        if known[0] != max_drift_us:
            raise PlanError(
                f"WatermarkAlignment {group!r} has a max_drift of {known[0] / 1e6:g} s and one of "
                f"{max_drift_us / 1e6:g} s: make one object and give it to all sources of the group"
            )
        known[1].join(member)
        self._pause[member] = pause

    def report(self, group: str, member: Member, watermark: int, *, idle: bool) -> None:
        """Take in how far a split has come, or that nobody need wait for it."""
        self._carry_out(self._groups[group][1].report(member, IDLE if idle else watermark))

    def leave(self, group: str, member: Member) -> None:
        """Do without a split: it has ended."""
        self._carry_out(self._groups[group][1].leave(member))
        del self._pause[member]

    def _carry_out(self, effects: Iterable[Effect[Member]]) -> None:
        for effect in effects:
            self._pause[effect.member](isinstance(effect, Pause))
