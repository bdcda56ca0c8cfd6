"""Sources wait for each other: none gets further ahead of the slowest than the drift that was agreed on.

    max drift 10      a  ──────── 12             least 12, limit 22
                      b  ─────────────── 20      goes on
                      c  ───────────────── 25    paused, until a has come to 15
                      d  idle                    not waited for, and not paused

Without it a join or window keeps in state all that the faster source is ahead. Members are sources or splits. One
that is idle, or has not reported yet, counts as if at TIME_MAX; the limit is clamped there (T45), so a group that is
idle altogether pauses nobody. The member that stands lowest is never paused: some member can always go on.

A paused member takes no records; it must still snapshot and stop when told to (T45), for which its reader is
responsible. Its idle clock stands meanwhile (protocol/idleness.py).

Pure: no clock, no I/O, no asyncio. The caller carries the effects out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from actorstream.errors import InvariantError
from actorstream.model.times import TIME_MAX

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

Member = TypeVar("Member", bound="Hashable")

IDLE: Final = TIME_MAX
"""What a member reports that shall not be waited for: it is idle, or at its end."""


@dataclass(frozen=True, slots=True)
class Pause(Generic[Member]):
    """Take no more records from `member` until it is resumed."""

    member: Member


@dataclass(frozen=True, slots=True)
class Resume(Generic[Member]):
    """Take records from `member` again."""

    member: Member


Effect: TypeAlias = Pause[Member] | Resume[Member]


class AlignmentGroup(Generic[Member]):
    """The watermarks of sources that shall stay together.

    A report costs O(1) unless it moves the lowest watermark, then O(members).

    Invariant: a member is paused if and only if it is not idle and its watermark is above `limit`.
    """

    def __init__(self, max_drift_us: int) -> None:
        """Start without members.

        Raises:
            InvariantError: The drift is negative.
        """
        if max_drift_us < 0:
            raise InvariantError(f"sources may drift apart by 0 us or more, got {max_drift_us}")
        self._max_drift_us = max_drift_us
        self._watermarks: dict[Member, int] = {}
        self._paused: set[Member] = set()
        self._least = TIME_MAX

    @property
    def limit(self) -> int:
        """The highest watermark at which a member goes on."""
        return min(self._least + self._max_drift_us, TIME_MAX)

    def paused(self, member: Member) -> bool:
        """Tell whether a member must wait. A stranger need not."""
        return member in self._paused

    def join(self, member: Member) -> None:
        """Let a member take part: from its first report on it is waited for.

        Raises:
            InvariantError: It is in the group already.
        """
        if member in self._watermarks:
            raise InvariantError(f"{member!r} joined a group of aligned sources in which it is already")
        self._watermarks[member] = IDLE

    def leave(self, member: Member) -> list[Effect[Member]]:
        """Do without a member: it ended, or stops. It is resumed if it was paused, so that it can.

        Raises:
            InvariantError: It is not in the group.
        """
        effects = self.report(member, IDLE)
        del self._watermarks[member]
        return effects

    def report(self, member: Member, watermark: int) -> list[Effect[Member]]:
        """Take in how far a member has come, or that it is `IDLE`; give who must wait, and who need not any more.

        Raises:
            InvariantError: It is not in the group.
        """
        before = self._watermarks.get(member)
        if before is None:
            raise InvariantError(f"{member!r} reported to a group of aligned sources which it has not joined")
        self._watermarks[member] = watermark
        least = self._least
        if watermark < least:
            self._least = watermark
        elif before == least:
            self._least = min(self._watermarks.values())
        return self._judged(self._watermarks if self._least != least else (member,))

    def _judged(self, members: Iterable[Member]) -> list[Effect[Member]]:
        """Pause and resume, in the order of joining, so that the same events always give the same effects."""
        limit, effects = self.limit, list[Effect[Member]]()
        for member in members:
            ahead = limit < self._watermarks[member] != IDLE
            if ahead and member not in self._paused:
                self._paused.add(member)
                effects.append(Pause(member))
            elif not ahead and member in self._paused:
                self._paused.remove(member)
                effects.append(Resume(member))
        return effects
