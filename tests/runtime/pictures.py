"""Pictures made up: any at all, for a property; and a small one to start from."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from actorstream.model.ids import CheckpointId, SubtaskId
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.runtime.explain_picture import (
    Actor,
    Call,
    Channel,
    Checkpoints,
    CheckpointUnderWay,
    Failure,
    Gauge,
    Limited,
    LoopHeld,
    Part,
    Picture,
    Reader,
    Split,
    Waiting,
)

T = TypeVar("T")

NOW_US = 1_767_225_600_000_000
SECOND = 1_000_000

_identities = st.builds(SubtaskId, st.sampled_from(["a", "b", "c"]), st.integers(0, 1))
_names = st.sampled_from(["", "a", "b", "times"])
_times = st.sampled_from(
    [TIME_MIN, TIME_MIN + 1, -1, 0, NOW_US - 5 * SECOND, NOW_US, NOW_US + 7, TIME_MAX - 1, TIME_MAX]
)
_counts = st.integers(0, 3)
_seconds = st.floats(0, 1e6)
_checkpoints = st.builds(CheckpointId, _counts)


def _some(of: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(of, max_size=2).map(tuple)


_parts = st.builds(Part, _names, _times, st.booleans(), st.booleans(), st.none() | _times, st.none() | _times)
_gauges = st.builds(Gauge, _names, _times, _some(_parts), st.none() | _counts, _counts)
_splits = st.builds(
    Split, _names, st.booleans(), st.booleans(), st.none() | _times, _counts, st.none() | st.just("group")
)
_channels = st.builds(
    Channel,
    sender=_identities,
    operator=_names,
    depth=_counts,
    set_aside=st.booleans(),
    barrier_missing=st.booleans(),
    gauge=st.none() | _names,
    told_us=st.none() | _times,
    delay_us=_counts,
)
_waiting = st.builds(
    Waiting, _names, st.sampled_from(["window", "join", "timer"]), _names, _times, _times, st.booleans()
)
_calls = st.builds(Call, _names, st.none() | st.sampled_from(["write", "pre_commit", "commit"]), st.none() | _times)
_actors = st.builds(
    Actor,
    identity=_identities,
    parallelism=st.integers(1, 2),
    source=st.none() | _names,
    sinks=_some(_names),
    functions=_some(_names),
    began_us=st.just(0) | _times,
    records_in=_counts,
    busy_seconds=_seconds,
    slow_us=st.none() | _counts,
    slow_at_us=st.none() | _times,
    idle_seconds=_seconds,
    backpressured_seconds=_seconds,
    depth=_counts,
    rests=st.booleans(),
    opened=st.booleans(),
    ended=st.booleans(),
    held=st.sampled_from([None, "layers", "state memory"]),
    layers=_counts,
    call=st.none() | _calls,
    waits_for=_some(_identities),
    waits_since_us=st.none() | _times,
    writing=_counts,
    aligning=st.none() | _checkpoints,
    channels=_some(_channels),
    splits=_some(_splits),
    gauges=_some(_gauges),
    waiting=st.none() | _waiting,
    limited=st.none()
    | st.builds(
        Limited, _names, st.sampled_from(["concurrency", "rate", "throttle"]), _counts, _counts, _counts, _counts
    ),
)
_under_way = st.builds(
    CheckpointUnderWay, _checkpoints, _times, _some(_identities), publishing=st.booleans(), final=st.booleans()
)
_failures = st.builds(Failure, st.text(), st.none() | _names, st.booleans(), _times, st.none() | _times)

pictures = st.builds(
    Picture,
    now_us=st.sampled_from([0, NOW_US]),
    status=st.sampled_from(["starting", "running", "restarting", "stopping", "finished", "failed"]),
    seconds=_seconds,
    records_in=_counts,
    records_out=_counts,
    restarts=st.integers(0, 120),
    gave_up=st.none() | st.text(),
    failure=st.none() | _failures,
    gate_closed=st.booleans(),
    actors=st.lists(_actors, max_size=4, unique_by=lambda actor: actor.identity).map(tuple),
    checkpoints=st.builds(
        Checkpoints,
        interval_us=st.none() | _counts,
        under_way=st.none() | _under_way,
        failed_in_a_row=_counts,
        last_abort=st.none() | st.text(),
        completed=_counts,
        uncommitted=_some(_identities),
    ),
    readers=_some(st.builds(Reader, _names, _counts, _counts)),
    timers_at_end=st.sampled_from(["fire", "drop", "wait"]),
    rescaling=st.booleans(),
    loop_held=st.none()
    | st.builds(
        LoopHeld, _times, st.just("f (x.py:1)"), st.none() | _names, st.none() | _identities, st.none() | _times
    ),
)
"""Any picture, also one that no job could give: unknown senders, cycles, times out of range."""
