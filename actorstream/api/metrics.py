"""What a job counts, under the names by which it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.runtime.takes_ahead import TakesAhead

if TYPE_CHECKING:
    from actorstream.runtime.attempt import Attempt
    from actorstream.runtime.statistics import JobStatistics


def metrics_of(statistics: JobStatistics, attempt: Attempt | None) -> dict[str, float]:
    """Give every counter: `<chain>.<subtask>.<name>` of the actors of an attempt, `job.<name>` of the whole.

    An actor has a `start_delay_seconds` once the barrier of the newest checkpoint has come to it: how long it took, to
    within a turn of the loop. Its `latency_seconds` is that of the newest batch that was timed (`SampledOrigin`): from
    its source to when this actor was through with it, with all that it waited for, also calls of async functions. What
    comes of a timer or a window has none.
    """
    metrics: dict[str, float] = {
        "job.checkpoints": statistics.checkpoints,
        "job.failed_checkpoints": statistics.failed_checkpoints,
        "job.restarts": statistics.restarts,
        "job.last_checkpoint_id": statistics.last_checkpoint_id,
        "job.last_checkpoint_seconds": statistics.last_checkpoint_seconds,
        "job.last_checkpoint_entries": statistics.last_checkpoint_entries,
        "job.last_checkpoint_in_flight_records": statistics.last_checkpoint_in_flight_records,
        "job.last_checkpoint_in_flight_bytes": statistics.last_checkpoint_in_flight_bytes,
    }
    started = None if attempt is None else attempt.built.coordinator.last_started
    for identity, subtask in attempt.built.subtasks.items() if attempt is not None else ():
        prefix = f"{identity.chain}.{identity.subtask}."
        counted = subtask.statistics
        metrics[f"{prefix}records_in"] = counted.records_in
        metrics[f"{prefix}records_out"] = counted.records_out
        metrics[f"{prefix}busy_seconds"] = counted.busy_seconds
        metrics[f"{prefix}idle_seconds"] = counted.idle_seconds
        metrics[f"{prefix}backpressured_seconds"] = counted.backpressured_seconds
        metrics[f"{prefix}mailbox_records"] = subtask.mailbox.depth
        metrics[f"{prefix}alignment_seconds"] = counted.alignment_seconds
        if started is not None and counted.barrier[0] == started[0] > 0:
            metrics[f"{prefix}start_delay_seconds"] = max(0.0, counted.barrier[1] - started[1])
        if counted.latency_seconds is not None:
            metrics[f"{prefix}latency_seconds"] = counted.latency_seconds
        if isinstance(subtask, TakesAhead):
            metrics[f"{prefix}calls_running"] = subtask.taken.running
        metrics[f"{prefix}in_flight_records"] = counted.in_flight_records
        metrics[f"{prefix}in_flight_bytes"] = counted.in_flight_bytes
        if subtask.runner.time is not None:
            if TIME_MIN < (watermark := subtask.runner.time.now) < TIME_MAX:
                metrics[f"{prefix}watermark"] = watermark / 1e6
            metrics[f"{prefix}late_records"] = subtask.runner.time.after.late
        if subtask.state is not None:
            metrics[f"{prefix}state_layers"] = subtask.state.stack.layers
    return metrics
