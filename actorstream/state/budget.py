"""The memory that all keyed state of one process may take, and who gives some up when it is used up.

    ├──────────────────────── limit ────────────────────────┤
    │ live: changed │ waiting: frozen, on its way │  clean   │
      at most a third   two generations of a third           evicted first, the oldest epoch first

After each batch an actor asks `relieve`. Mostly there is room, and the answer costs less
than a microsecond: the dicts are weighed again only when records have made them larger,
or after some batches, because values may grow in place. When all states together are over
the limit, a slice of clean entries is dropped, of the state that has most of them. When what
was changed takes over a third of it, each state that has more than its share of that third
is to be frozen early: a layer without a checkpoint. A third, because two generations may be
on their way at the same time. With two waiting, `generations_waiting` tells the actor to take
no more records; then all that is held is live, waiting, and soon in a layer. What was written
settles meanwhile (state/epochs.py), some of it after each batch: a large generation before
many small ones must not leave a long row of dicts to look through.

A dict that grows is copied by one C call. So a state is frozen early also when it has
changed 300,000 entries, however small they are.

All of this is estimates (state/footprint.py), of state only: batches, caches of LMDB pages
and the interpreter come on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from actorstream.errors import InvariantError
from actorstream.state.epochs import CLEAN_ENTRIES_MAX, Weight

if TYPE_CHECKING:
    from actorstream.state.operator_state import OperatorState

LIVE_ENTRIES_MAX = CLEAN_ENTRIES_MAX
WAITING_MAX = 2
"""How many generations of a state may be on their way to disk."""

_EVICTED_AT_ONCE = 2_000  # entries, about 1 ms
_SETTLED_AT_ONCE = 500  # entries, about 0.1 ms
_EVICTED_BYTES = 8 * 1024 * 1024
_BATCHES = 256  # between two looks, where neither the number of entries nor their sizes grow
_GROWTH = 4_096  # entries between two looks
_MOVED_AT_ONCE = 32  # states weighed again in one look
_NOTHING = Weight(0, 0, 0)


@dataclass(frozen=True, slots=True)
class BudgetStatistics:
    """A reading, in estimated bytes; `evicted` counts entries."""

    limit_bytes: int
    live_bytes: int
    waiting_bytes: int
    clean_bytes: int
    evicted: int


class _Member:
    """What is known of one state."""

    __slots__ = ("early", "looks_in", "pause", "room", "settling", "weight")

    def __init__(self) -> None:
        self.weight = _NOTHING
        self.looks_in = 0
        self.pause = 1
        self.room = 0
        self.early = False
        self.settling = True


class Budget:
    """One for a process. All calls come from its event loop.

    Attributes:
        limit_bytes: What all states together may take.
        over: They take more, as of the last look at each.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Keep all states that join within `limit_bytes`.

        Raises:
            InvariantError: The limit is not positive.
        """
        if limit_bytes <= 0:
            raise InvariantError(f"a budget of {limit_bytes} bytes was asked for: it must be positive")
        self.limit_bytes = limit_bytes
        self._members: dict[OperatorState, _Member] = {}
        self._moved: dict[OperatorState, None] = {}
        self._live = self._waiting = self._clean = 0
        self._evicted = 0
        self.over = False

    def join(self, state: OperatorState) -> None:
        """Count `state` from now on."""
        if state not in self._members:
            self._members[state] = _Member()
            state.join(self)
            self._weigh(state)

    def leave(self, state: OperatorState) -> None:
        """Count `state` no more; one that never joined is fine. See `OperatorState.dismantle` for a large one."""
        member = self._members.pop(state, None)
        if member is not None:
            self._moved.pop(state, None)
            self._count(member, _NOTHING)
            state.join(None)

    def relieve(self, state: OperatorState) -> bool:
        """Make room where there is none; True: freeze `state` early now. Between two batches, never inside a handler.

        Raises:
            InvariantError: `state` has not joined.
        """
        member = self._members.get(state)
        if member is None:
            raise InvariantError("a state that has not joined the budget asks it for room")
        member.looks_in -= 1
        if member.settling:
            member.settling = state.settle(_SETTLED_AT_ONCE)
        if (
            member.looks_in > 0
            and not member.early
            and not self._moved
            and not self.over
            and state.growing_entries < member.room
        ):
            return False
        for moved in list(islice(self._moved, _MOVED_AT_ONCE)):
            self._weigh(moved)
        self._weigh(state)
        if self.over:
            self._evict()
        return member.early

    def on_moved(self, state: OperatorState) -> None:
        """Take note that entries of `state` were frozen, written or taken back: what is known of it is out of date."""
        self._moved[state] = None
        self._members[state].settling = True

    def statistics(self) -> BudgetStatistics:
        """Read how the budget is used, as of the last look at each state."""
        return BudgetStatistics(self.limit_bytes, self._live, self._waiting, self._clean, self._evicted)

    def _weigh(self, state: OperatorState) -> None:
        self._moved.pop(state, None)
        member = self._members[state]
        before = sum(member.weight)
        self._count(member, state.weigh())
        count, third = len(self._members), self.limit_bytes / 3
        over_share = self._live > third and member.weight.live > third / count
        entries = state.live_entries
        member.early = state.generations_waiting < WAITING_MAX and (over_share or entries > LIVE_ENTRIES_MAX)
        growing = state.growing_entries
        mean = (member.weight.live + member.weight.clean) / growing if growing else 1_000.0
        step = min(_GROWTH, int(self.limit_bytes / (64 * mean * count)))
        member.room = growing + max(step, 16)
        now = sum(member.weight)
        hurry = now > before * 1.03 and now > self.limit_bytes / (16 * count)
        member.pause = max(member.pause // 4, 1) if hurry else member.pause * 2
        member.looks_in = member.pause = min(member.pause, _BATCHES)

    def _count(self, member: _Member, weight: Weight) -> None:
        self._live += weight.live - member.weight.live
        self._waiting += weight.waiting - member.weight.waiting
        self._clean += weight.clean - member.weight.clean
        member.weight = weight
        self.over = self._live + self._waiting + self._clean > self.limit_bytes

    def _evict(self) -> None:
        state, member = max(self._members.items(), key=lambda each: each[1].weight.clean)
        if member.weight.clean:
            dropped = state.evict(_EVICTED_AT_ONCE, _EVICTED_BYTES)
            self._evicted += dropped
            self._weigh(state)
            if not dropped:
                # Empty dicts have a weight too: this state is not asked again before it is weighed again.
                self._count(member, member.weight._replace(clean=0))
