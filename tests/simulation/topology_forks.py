"""What a fork of a topology is to write: what its origin would have written from the savepoint on.

    all that comes out of the whole input  -  what had come out of the input up to the savepoint's positions

Both by the models alone. Of windows one cannot tell from positions which of those that were nearly due had fired, and
not which calls were in flight: a savepoint holds these, and a fork gives what they come to.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from actorstream.checkpoints.savepoints import find_snapshot, read_snapshot
from actorstream.runtime.restoring import positions_in
from actorstream.testing.committed import Committed, Expected, mark
from tests.simulation.calling_tails import LATER
from tests.simulation.going_round import inside_of
from tests.simulation.lanes import WINDOW, lane_of, time_of
from tests.simulation.stages import Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorstream.runtime.messages import SplitPosition
    from actorstream.testing.committed import Rows
    from actorstream.testing.disk import SimulatedDisk
    from tests.simulation.stages import Event
    from tests.simulation.topologies import Topology
    from tests.simulation.topology_lateness import Lateness

_WINDOWS = "windows-out"
_OF_CALLS = frozenset({"answers.output", "letters.output", *LATER})


class ForkedOutput:
    """Follows the output of one fork."""

    def __init__(
        self, topology: Topology, disk: SimulatedDisk, savepoint: str, lateness: Lateness | None = None
    ) -> None:
        """Look at where the savepoint is; `lateness` where it may be chance."""
        self._topology, self._lateness = topology, lateness
        place = find_snapshot(disk, savepoint)
        manifest = read_snapshot(disk, place)
        splits, inside = positions_in(manifest), set(inside_of(manifest, place.layers))
        before = _inputs_up_to(topology, splits)
        self._before = {source: [each for each in events if each not in inside] for source, events in before.items()}
        self._all_read = all(place.finished for places in splits.values() for place in places.values())
        whole, written = topology.outputs(topology.inputs()), dict(topology.outputs(self._before))
        written.update(topology.pairs(self._before, before))
        written[_WINDOWS] = []
        expected = {sink: _rest(rows, written.get(sink, ())) for sink, rows in whole.items() if sink not in _OF_CALLS}
        self._committed = Committed(Expected({sink: self._sure(rows) for sink, rows in expected.items()}, lane_of))  # type: ignore[arg-type]

    def check(self, rows: Mapping[str, Rows], *, at_the_end: bool) -> None:
        """Compare; raise BrokenPromiseError."""
        sure: Mapping[str, Rows] = {
            sink: [self._sure(part) for part in parts] for sink, parts in rows.items() if sink not in _OF_CALLS
        }
        shown = self._lateness.shown(sure) if self._lateness else sure  # a late one read before is in no sure window
        self._committed.check(shown, {}, at_the_end=at_the_end)

    @property
    def compared(self) -> int:
        """How many rows of it were."""
        return self._committed.checks["prefix"]

    def _sure(self, rows: Sequence[object]) -> list[object]:
        return [row for row in rows if not self._may_have_fired(row)]

    def _may_have_fired(self, row: object) -> bool:
        if not isinstance(row, Result) or row.event.source != "window":
            return False
        if self._all_read:
            return True
        highest = max((time_of(event) for events in self._before.values() for event in events), default=0)
        return row.event.seq + WINDOW <= highest - self._topology.delay


def _inputs_up_to(topology: Topology, splits: Mapping[str, Mapping[str, SplitPosition]]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for source, events in topology.inputs().items():
        places = splits.get(f"in-{source}", {}).values()
        taken = [place.position + 1 for place in places if isinstance(place.position, int)]
        found[source] = events[: max(taken, default=0)]
    return found


def _rest(rows: Sequence[object], before: Sequence[object]) -> list[object]:
    gone = Counter(map(mark, before))
    left: list[object] = []
    for row in rows:
        if gone[mark(row)]:
            gone[mark(row)] -= 1
        else:
            left.append(row)
    return left
