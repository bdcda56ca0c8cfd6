"""What an actor counts, free when nobody reads it."""

from __future__ import annotations

from dataclasses import dataclass

SLOW_SECONDS = 0.05
"""Who holds the loop for so long with a single record is named."""
SAMPLE_US = 100_000
"""A source has one batch timed in each such span."""


@dataclass(slots=True)
class SubtaskStatistics:
    """Counters of one subtask since its attempt started; seconds are of monotonic time.

    `records_out` went to other actors, `records_delivered` to sinks and called functions. `slow_seconds` is how long
    a single record took at most, 0 unless that was over SLOW_SECONDS, and `slow_at` when one last did. Of the last
    snapshot: `alignment_seconds` is from its first barrier on, 0 where none overtakes; `in_flight_records` and
    `in_flight_bytes` are what was recorded. `barrier` is the checkpoint whose barrier came last, and until when at most
    the turn of the loop lasted in which the first one did. `latency_seconds` is how long ago the newest batch that was
    timed (`SampledOrigin`) had been read when the actor was through with it; None: there was none yet.
    """

    records_in: int = 0
    records_out: int = 0
    records_delivered: int = 0
    busy_seconds: float = 0.0
    idle_seconds: float = 0.0
    backpressured_seconds: float = 0.0
    slow_seconds: float = 0.0
    slow_at: float | None = None
    alignment_seconds: float = 0.0
    in_flight_records: int = 0
    in_flight_bytes: int = 0
    barrier: tuple[int, float] = (0, 0.0)
    latency_seconds: float | None = None


@dataclass(slots=True)
class JobStatistics:
    """Counters of one job, over all its attempts."""

    records_in: int = 0
    records_out: int = 0
    checkpoints: int = 0
    failed_checkpoints: int = 0
    restarts: int = 0
    last_checkpoint_id: int = 0
    last_checkpoint_seconds: float = 0.0
    last_checkpoint_entries: int = 0
    last_checkpoint_in_flight_records: int = 0
    last_checkpoint_in_flight_bytes: int = 0
