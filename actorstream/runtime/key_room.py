"""What there is of one key in a process with async handlers, and who of it may be called next.

line      r3 r4           records that wait, in order
at work   r2              one handler at a time
ended     r1              what it changed lies in `changes` until the queue hands r1 on
due       12:00           a timer waits until none of the key's records is between its call and its turn; then it
                          goes first
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from actorstream.model.times import TIME_MAX
from actorstream.operators.private_states import KeyChanges

if TYPE_CHECKING:
    from actorstream.runtime.key_call import KeyCall


class KeyRoom:
    """One key.

    Attributes:
        key: It.
        line: Records whose handlers were not called.
        due: Timers whose handlers were not called, or have not fired, in order.
        at_work: The call that is running.
        unstored: How many calls have begun, and are not state yet.
        changes: What those of them have changed that have ended.
        soonest: The earliest event time to which they have set a timer.
        asked: It stands in the row of those that may be called.
    """

    __slots__ = ("asked", "at_work", "changes", "due", "key", "line", "soonest", "unstored")

    def __init__(self, key: object) -> None:
        """Begin empty."""
        self.key = key
        self.line: deque[KeyCall] = deque()
        self.due: deque[KeyCall] = deque()
        self.at_work: KeyCall | None = None
        self.unstored = 0
        self.changes = KeyChanges()
        self.soonest = TIME_MAX
        self.asked = False

    def next_call(self) -> KeyCall | None:
        """Give whose turn it is, if nobody is at work: a timer that is due, else the first record."""
        if self.at_work is not None:
            return None
        if self.due:
            return self.due[0] if not self.unstored else None
        return self.line[0] if self.line else None

    def wait_for_turn(self, call: KeyCall) -> None:
        """Put a timer that is due behind the others, one of event time before those of the clock."""
        if call.of_clock:
            self.due.append(call)
            return
        place = sum(not each.of_clock for each in self.due)
        self.due.insert(place, call)

    def give_way(self) -> None:
        """Let the clock's timer whose handler has ended, and which has not fired, be handled anew behind the others.

        One that event time has made due meanwhile comes before it, and all else waits for that.
        """
        if self.at_work is None and self.due and not self.due[0].of_clock:
            for each in self.due:
                if each.of_clock and each.ended:
                    each.again()
                    self.stored()

    def begin(self, call: KeyCall) -> None:
        """Take the call whose turn it is."""
        if call.timer is None:
            self.line.popleft()
        self.at_work = call
        self.unstored += 1

    def stored(self) -> None:
        """One of them has become state."""
        self.unstored -= 1
        if not self.unstored:
            self.changes = KeyChanges()
            self.soonest = TIME_MAX

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing left of it."""
        return not (self.line or self.due or self.unstored)
