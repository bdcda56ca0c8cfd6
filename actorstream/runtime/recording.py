"""What comes back to the head of a loop between its snapshot and the return of the barrier: a checkpoint's part.

    head takes its snapshot, sends the barrier ──> members ──> barrier comes back
           │  what waits in the back lanes         and what is put there meanwhile  │
           └─────────────────────────────── recorded ───────────────────────────────┘

A recording holds batches as they were sent. One that the head takes before it is written is replaced by a copy:
nothing that a function does with a record afterwards is to change what was recorded (T125).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from actorstream.codec.frames import decode_item, encode_item
from actorstream.errors import CodecError
from actorstream.model.batch import Batch
from actorstream.runtime.mailbox import Wakeup

if TYPE_CHECKING:
    from actorstream.model.ids import CheckpointId
    from actorstream.runtime.spilling import Segment

Piece: TypeAlias = "Batch | Segment"


class Recording:
    """The back lanes' part of one checkpoint.

    Attributes:
        checkpoint: Of which.
        rows: By lane, what was recorded, in order.
        given_up: There will be no such checkpoint.
    """

    def __init__(self, checkpoint: CheckpointId, lanes: int) -> None:
        """Wait for the barrier on each of the head's back lanes."""
        self.checkpoint = checkpoint
        self.rows: list[list[Piece]] = [[] for _ in range(lanes)]
        self.given_up = False
        self._open = set(range(lanes))
        self._places: dict[int, tuple[int, int]] = {}
        self._done = Wakeup()

    def add(self, lane: int, piece: Piece) -> None:
        """Record what was put into a lane, or waited there when the snapshot was taken."""
        if lane in self._open:
            row = self.rows[lane]
            self._places[id(piece)] = lane, len(row)
            row.append(piece)

    def replace_last(self, lane: int, count: int, segment: Segment) -> None:
        """The last `count` batches of a lane are in a segment now: hold that in their place."""
        row = self.rows[lane]
        if lane in self._open and count <= len(row):
            for piece in row[-count:]:
                del self._places[id(piece)]
            del row[-count:]
            segment.hold()
            row.append(segment)

    def keep(self, batch: Batch, copy: Batch) -> None:
        """The head takes a batch, and functions get hold of its records: keep the copy."""
        place = self._places.pop(id(batch), None)
        if place is not None:
            lane, index = place
            self.rows[lane][index] = copy

    def holds(self, batch: Batch) -> bool:
        """Tell whether a batch, as it was sent, is in here."""
        return id(batch) in self._places

    def on_barrier(self, lane: int) -> None:
        """The barrier has come round to a lane: nothing more of it belongs to the checkpoint."""
        self._open.discard(lane)
        if not self._open:
            self._done.wake()

    def give_up(self) -> None:
        """Let go of all: the checkpoint will not be."""
        self.given_up = True
        self.let_go()
        self._done.wake()

    def let_go(self) -> None:
        """Forget what was recorded: it is written, or will not be."""
        for row in self.rows:
            for piece in row:
                if not isinstance(piece, Batch):
                    piece.let_go()
        self.rows = [[] for _ in self.rows]
        self._places = {}
        self._open = set()

    @property
    def is_complete(self) -> bool:
        """Tell whether the barrier has come round to every lane, or nobody waits for it."""
        return not self._open

    async def wait_complete(self) -> None:
        """Wait until `is_complete`."""
        while not self.is_complete:
            await self._done.wait()


def copy_of(batch: Batch, lane: str) -> Batch:
    """Give a batch of equal records that nobody else has.

    Raises:
        CodecError: A record cannot be encoded.
    """
    try:
        copy = decode_item(encode_item(batch))
    except CodecError as error:
        raise CodecError(f"a record that goes back to {lane} cannot be stored: {error}") from error
    return copy if isinstance(copy, Batch) else batch
