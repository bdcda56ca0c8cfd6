"""What happens to one simulated process, and how its end is judged.

    Session(parallelism=2, crash_step=310, power=True)      dies at its step 310, and the machine loses its power

A run under simulation is a row of sessions on one disk: each process goes on from what the one before has left. Every
number is a place that is counted: a step of the loop, a change of the disk, a call of a user's function. So a session
says the same in every run of its seed, and a sweep is a loop over the number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actorstream.errors import JobFailed, RestoreError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class BrokenPromiseError(AssertionError):
    """An oracle is violated; `oracle` names it."""

    def __init__(self, oracle: str, what: str) -> None:
        """Say what was found, and what was to be there."""
        super().__init__(f"{oracle}: {what}")
        self.oracle = oracle


class DisturbanceError(Exception):
    """What a disturbed function of a user raises, and what a source raises that lost its connection."""


@dataclass(frozen=True)
class Session:
    """One process of a run. With neither crash nor stop nor cancel it runs to the end.

    Attributes:
        parallelism: Of the job.
        crash_step: Dies in place of this step of the loop.
        crash_operation: Dies in place of this change of the disk.
        power: The machine loses power after it, else the process is only gone.
        stop_after: Leaves the job, with a final checkpoint, after so many virtual seconds.
        cancel_step: The block that the job runs in is cancelled at this step of the loop, at whichever await that is.
        faults: errno by the number of the change of the disk that fails.
        failing: A part of the paths, "/layers" or another, where one change in ten fails.
        unread: The numbers of the looks at the disk that fail.
        kills: (step, which): at this step of the loop the `which`-th task of the running attempt is cancelled, alone.
        raises: The numbers of the calls of users' functions, handlers and sinks that raise.
        disconnects: The numbers of the readings that find a source out of reach.
        lost: The numbers of the notices between coordinator and actors that do not arrive.
        slow: Virtual seconds, at most, that each call of a sink takes.
        rescales: (seconds from the one before, parallelism): the job is rescaled while it runs.
        savepoints: After so many seconds each, from the one before, a savepoint is made.
        zombie: After so many seconds another process takes the store over, and this one goes on, as a zombie.
        keeps: Where it leaves the job, it makes a savepoint of that, from which the next process begins.
        version: Of the program; one that is given to `simulate` has no other than 0.
        fork: It is none of the job itself but goes on with a fork of this name, from the newest savepoint that there
            was when that was first named; with no savepoint it does nothing.
    """

    parallelism: int = 1
    crash_step: int | None = None
    crash_operation: int | None = None
    power: bool = False
    stop_after: float | None = None
    cancel_step: int | None = None
    faults: Mapping[int, int] = field(default_factory=dict)
    failing: str = ""
    unread: Sequence[int] = ()
    kills: Sequence[tuple[int, int]] = ()
    raises: Sequence[int] = ()
    disconnects: Sequence[int] = ()
    lost: Sequence[int] = ()
    slow: float = 0.0
    rescales: Sequence[tuple[float, int]] = ()
    savepoints: Sequence[float] = ()
    zombie: float | None = None
    keeps: bool = False
    version: int = 0
    fork: str = ""

    @property
    def may_give_up(self) -> bool:
        """Tell whether something is done to it that a job may answer by failing, with an error that says so."""
        done = self.faults, self.failing, self.unread, self.raises, self.disconnects, self.kills, self.lost
        return any(done) or self.zombie is not None


def judge(error: BaseException | None, session: Session) -> None:
    """A session ends by its crash or in good order; where something was done to it, it may also say so and give up.

    Raises:
        BrokenPromiseError: It ended otherwise, by `error`.
    """
    if error is None or (session.may_give_up and isinstance(error, JobFailed | StoreError | DisturbanceError)):
        return
    if session.unread and isinstance(error, RestoreError):
        return  # what it was to begin from cannot be read: that is for people to look at
    raise BrokenPromiseError("progress", f"{type(error).__name__}: {error}") from error


class Places:
    """Counts the places where something can be done, and tells which were drawn.

    Attributes:
        count: How many there were.
        hits: How many of them were drawn.
    """

    def __init__(self, numbers: Sequence[int] = ()) -> None:
        """Count from 1."""
        self.count = 0
        self.hits = 0
        self._numbers = frozenset(numbers)

    def here(self) -> bool:
        """Take one more place; tell whether it is one of those."""
        self.count += 1
        hit = self.count in self._numbers
        self.hits += hit
        return hit
