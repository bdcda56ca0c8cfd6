"""Records that are late in the model and in time in a run: in flight in a checkpoint of another parallelism.

    channel of 2 subtasks     ... watermark 9, k1 at 2      its receiver stands at 4, and window [0,6) is open
    ─ crash, as 1 subtask ─>  ... k1 at 2                   watermarks in flight are not said of the channels of now

Such a record is in its window then (docs/design/checkpoints.md, "Going on from it"). It has to be in one of the two
all the same: a window that holds more than it should by just such records is shown as what it should be, and they
as late. What is late as well is so shown twice, which the oracle finds.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from tests.simulation.lanes import WINDOW, time_of
from tests.simulation.stages import Event, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorstream.testing.committed import Rows
    from actorstream.testing.simulation_plan import Plan

PARTITIONS = 2
_WINDOWS, _LATE = "windows-out", "late-out"


def is_chance(plan: Plan) -> bool:
    """Tell whether records in flight may come back at another parallelism."""
    widths = {session.parallelism for session in plan.sessions}
    widths.update(width for session in plan.sessions for _, width in session.rescales)
    return plan.alignment is not None and len(widths) > 1


class Lateness:
    """What the model of a topology with windows says, and what of it may be otherwise; `found` is what was."""

    def __init__(self, outputs: Mapping[str, Sequence[object]]) -> None:
        """Take all that is to come out."""
        self.found: set[Event] = set()
        self._totals: dict[tuple[str, int], int] = {}
        self._late: dict[tuple[str, int], list[Result]] = {}
        for row in _results(outputs.get(_WINDOWS, ())):
            self._totals[row.key, row.event.seq] = row.total
        for row in _results(outputs.get(_LATE, ())):
            at = row.key, time_of(row.event) // WINDOW * WINDOW
            self._late.setdefault(at, []).append(row)

    def shown(self, rows: Mapping[str, Rows]) -> Mapping[str, Rows]:
        """Give what sinks hold, with what was in time by chance as late: in partitions of its own, where it stays."""
        told, late = [], []
        for part in rows.get(_WINDOWS, ()):
            here: list[object] = []
            in_time: list[object] = []
            for row in _results(part):
                by_chance = self._in_time(row)
                in_time += by_chance
                self.found.update(each.event for each in by_chance)
                total = row.total - sum(each.event.amount for each in by_chance)
                if not by_chance or (row.key, row.event.seq) in self._totals:
                    here.append(replace(row, total=total))
            told.append(here)
            late.append(in_time)
        if not any(late):
            return rows
        as_late = [*rows.get(_LATE, ())]
        as_late += [[] for _ in range(PARTITIONS - len(as_late))]
        return {**rows, _WINDOWS: told, _LATE: [*as_late, *late]}

    def _in_time(self, row: Result) -> Sequence[Result]:
        """Give the late records that make up what a window has more than it should; none where none do."""
        at = row.key, row.event.seq
        more, late = row.total - self._totals.get(at, 0), self._late.get(at, ())
        for count in range(1, len(late) + 1):
            for chosen in combinations(late, count):
                if sum(each.event.amount for each in chosen) == more:
                    return chosen
        return ()


def _results(rows: Sequence[object]) -> Iterator[Result]:
    for row in rows:
        assert isinstance(row, Result)
        yield row
