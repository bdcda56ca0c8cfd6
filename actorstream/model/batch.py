"""Records that travel together: a struct of lists, the only thing on the record path.

One channel item is one batch, never one record, so that the cost of a hop is
paid once for hundreds of records. The lists of one batch are of equal length:

    values      v0   v1   v2        what the user's functions see
    timestamps  t0   t1   t2        event time in microseconds, or None: nobody asks
    keys        k0   k1   k2        on a keyed edge, else None
    marks       m0   m1   m2        the sender's watermark before each record; None: as it was told last
    watermark                  w    the sender's watermark after the last record; None: as before

So where one batch ends and the next begins decides nothing: it is as if every record were
followed by its watermark.

Invariant: a batch and its lists are not changed after they were sent.
"""

from __future__ import annotations


class SampledOrigin(tuple[str, object]):
    """The `origin` of a batch that is timed: `read_at`, by the clock of durations, its source handed it on.

    It goes with the records, behind all that they wait for, and costs nothing where it is not.
    """

    read_at: float

    @classmethod
    def begin(cls, split: str, position: object, read_at: float) -> SampledOrigin:
        """Begin to time a batch."""
        sampled = cls((split, position))
        sampled.read_at = read_at
        return sampled


class Batch:
    """Lists of one length, and where the records were read (`origin`, for error reports only)."""

    __slots__ = ("keys", "marks", "origin", "timestamps", "values", "watermark")

    def __init__(
        self,
        values: list[object],
        timestamps: list[int] | None = None,
        keys: list[object] | None = None,
        origin: tuple[str, object] | None = None,
        marks: list[int] | None = None,
        watermark: int | None = None,
    ) -> None:
        """Take the lists over: the caller does not change them any more.

        Args:
            values: The records.
            timestamps: Event time of each, microseconds UTC.
            keys: Key of each.
            origin: (split, position of the last record read into this batch).
            marks: Watermark before each, never going back.
            watermark: Watermark after the last, not below the marks.
        """
        self.values = values
        self.timestamps = timestamps
        self.keys = keys
        self.origin = origin
        self.marks = marks
        self.watermark = watermark

    def __len__(self) -> int:
        """Count the records."""
        return len(self.values)

    def __repr__(self) -> str:
        """Show the size, not the records: they may be secret."""
        return f"Batch({len(self.values)} records, origin={self.origin!r})"
