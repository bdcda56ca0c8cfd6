"""The work of both endurance runs: visits that begin, go on and end, so that keys come and go while their number stays.

    step n of visit v    amount is computed from both      first step: the key appears     last step: it is deleted

    visits  v0 v1 v2 ... each of `STEPS` steps, in turns; one that has ended is replaced by a new one
    result  one record for each visit that ended: its steps, its sum, and the sum once more, from a map state

What a visit must give is computed from its number, so a result is judged by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from actorstream import Context, KeyedProcess, ListState, MapState, ValueState

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = 12


@dataclass(frozen=True, slots=True)
class Step:
    """One record of the input."""

    visit: int
    number: int
    amount: int


@dataclass(frozen=True, slots=True)
class Ended:
    """One record of the output."""

    visit: int
    steps: int
    total: int
    by_kind: int
    recent: tuple[int, ...]


class Visits(KeyedProcess[int, Step, Ended]):
    """Every kind of state; a visit's last step clears all of it."""

    steps: ValueState[int] = ValueState(0)
    total: ValueState[int] = ValueState(0)
    recent: ListState[int] = ListState()
    kinds: MapState[int, int] = MapState()

    def on_element(self, step: Step, ctx: Context[int], /) -> list[Ended]:
        """Remember the step; give the visit's result if it is the last one."""
        self.steps += 1
        self.total += step.amount
        self.recent.append(step.amount)
        del self.recent[:-3]
        self.kinds[step.amount % 4] = self.kinds.get(step.amount % 4, 0) + step.amount
        if step.number < STEPS - 1:
            return []
        ended = Ended(step.visit, self.steps, self.total, sum(self.kinds.values()), tuple(self.recent))
        ctx.clear()
        return [ended]


def amount(visit: int, number: int) -> int:
    """Give the amount of a step."""
    return (visit * 31 + number * 7) % 1_000


def expected(visit: int) -> Ended:
    """Give what a visit must give."""
    amounts = [amount(visit, number) for number in range(STEPS)]
    return Ended(visit, STEPS, sum(amounts), sum(amounts), tuple(amounts[-3:]))


def steps(together: int) -> Iterator[Step]:
    """Give the steps of so many visits at a time, in turns, for ever; not all of them are at the same step."""
    running = [(visit, visit % STEPS) for visit in range(together)]
    new = count(together)
    for visit, next_number in running:
        for number in range(next_number):
            yield Step(visit, number, amount(visit, number))
    while True:
        for index, (visit, number) in enumerate(running):
            yield Step(visit, number, amount(visit, number))
            running[index] = (visit, number + 1) if number < STEPS - 1 else (next(new), 0)
