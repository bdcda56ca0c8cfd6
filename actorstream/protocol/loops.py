"""What goes round in one loop: how much it is, how far event time may pass it by, and when it is over.

                 entrances                   members
    source ──────────────> head ──> step ──┬──────────────> out
                            ^  <──back─────┘

- **The count** of records that wait in a lane of a member, or are at work there. What a member gives is counted before
  what it took is no longer, so the count is 0 only where nothing goes round.
- **Event time** that leaves a head is the least that the entrances say, and lies before the time of every record that
  goes round: what a record becomes is not late when it comes out.
- **The end**: every entrance has ended, the count is 0, and nobody waits for the clock. Then, and not before, the
  end goes through the loop.
- **The cut.** A loop may have several heads, one a subtask. From when one of them has taken its snapshot, those that
  have not yet tell no more than was known at that moment: what they tell is part of their snapshot, and what is known
  later may rest on records that come again after a restore.

Pure: no clock, no I/O, no asyncio.

Sources: Carbone et al. 2015, "Lightweight Asynchronous Snapshots for Distributed Dataflows" (back edges are recorded);
Murray et al. 2013, "Naiad" (counting what is under way).
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from actorstream.errors import InvariantError
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.protocol.watermarks import WatermarkCombiner

if TYPE_CHECKING:
    from actorstream.model.ids import CheckpointId
    from actorstream.protocol.watermarks import InputSnapshot


class Passed(NamedTuple):
    """What a head may tell those behind it: the watermark, and whether not to wait for it."""

    watermark: int
    idle: bool


AT_FIRST = Passed(TIME_MIN, idle=False)
AT_THE_END = TIME_MAX - 1
"""The last watermark before the end: what was set for any time in the loop is due, and may still go round."""


class Circulation:
    """What goes round in one loop, with all its heads.

    Attributes:
        records: How many records are in the loop.
    """

    def __init__(self, heads: int, entrances: int) -> None:
        """Start with nothing in the loop and every entrance open.

        Args:
            heads: How many subtasks the loop's head has.
            entrances: How many channels lead into members from outside.
        """
        self.records = 0
        self._held: dict[int, int] = {}
        self._times: list[int] = []
        self._entrances = WatermarkCombiner(entrances)
        self._open = entrances
        self._ended = [False] * entrances
        self._snapshots = [0] * heads
        self._newest = 0
        self._cut = AT_FIRST
        self._floor = TIME_MIN

    def restore(self, watermark: int, entrances: list[InputSnapshot]) -> None:
        """Go on where heads had told `watermark`, with what each entrance had said."""
        self._floor = watermark
        self._entrances.restore((watermark, tuple(entrances)))

    # ---- records

    def on_entered(self, records: int, least_time: int | None) -> None:
        """Count records that come to a member, from outside or from another; `least_time` is the least of theirs."""
        self.records += records
        if least_time is not None:
            count = self._held.get(least_time, 0)
            if not count:
                heappush(self._times, least_time)
            self._held[least_time] = count + 1

    def on_left(self, records: int, least_time: int | None) -> None:
        """Count records off that a member is done with; what they became has been counted.

        Raises:
            InvariantError: There were not so many.
        """
        self.records -= records
        if self.records < 0:
            raise InvariantError(f"{-self.records} records more have left a loop than came into it")
        if least_time is not None:
            count = self._held.get(least_time, 0)
            if not count:
                raise InvariantError(f"records of time {least_time} leave a loop that never came into it")
            if count == 1:
                del self._held[least_time]
            else:
                self._held[least_time] = count - 1

    @property
    def least_time(self) -> int:
        """The least time of what goes round; TIME_MAX if nothing with a time does."""
        times, held = self._times, self._held
        while times and times[0] not in held:
            heappop(times)
        return times[0] if times else TIME_MAX

    # ---- entrances

    def on_watermark(self, entrance: int, watermark: int) -> None:
        """Take in how far event time has come at an entrance, which is active."""
        if not self._ended[entrance]:
            self._entrances.on_active(entrance)
            self._entrances.on_watermark(entrance, min(watermark, AT_THE_END))

    def on_active(self, entrance: int) -> None:
        """A record has come in here: wait for this entrance again."""
        if not self._ended[entrance]:
            self._entrances.on_active(entrance)

    def on_idle(self, entrance: int) -> None:
        """Do not wait for an entrance until something comes."""
        self._entrances.on_idle(entrance)

    def on_end(self, entrance: int) -> None:
        """Nothing comes in here any more; a second time changes nothing."""
        if not self._ended[entrance]:
            self._ended[entrance] = True
            self._open -= 1
            self._entrances.on_end(entrance)

    @property
    def is_closed(self) -> bool:
        """Tell whether every entrance has ended."""
        return not self._open

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing comes in any more, and no record goes round."""
        return not self._open and not self.records

    # ---- event time

    def passed(self, head: int) -> Passed:
        """Give what a head may tell: never less than before, if it asks after each event."""
        return self._cut if self._snapshots[head] < self._newest else self._now()

    def _now(self) -> Passed:
        watermark = min(self._entrances.output, self.least_time - 1)  # at most AT_THE_END
        self._floor = max(self._floor, watermark)
        return Passed(self._floor, idle=self._entrances.idle and not self.records)

    def on_snapshot(self, head: int, checkpoint: CheckpointId) -> None:
        """A head takes its snapshot: the first to do so makes the cut, and all the others keep to it."""
        if checkpoint > self._newest:
            self._cut = self._now()
            self._newest = checkpoint
        self._snapshots[head] = max(self._snapshots[head], checkpoint)

    def on_abort(self, checkpoint: CheckpointId) -> None:
        """There is no such checkpoint: nobody keeps to its cut."""
        if checkpoint >= self._newest:
            self._snapshots = [max(done, self._newest) for done in self._snapshots]
