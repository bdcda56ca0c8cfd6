"""What a job goes by, every value decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.model.ids import CheckpointId
    from actorstream.runtime.deployment import TimersAtEnd


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Settings of one run.

    `restore` asks for an older checkpoint than the newest, `accept_duplicates` says that output committed after it may
    be written again. `allow_dropped` and `restore_as` fit a snapshot to new code: runtime/adapting.py. `claim`: the
    savepoint that the run begins from is the job's from then on. `wire` sends every channel item through the codec
    of the wire: a test's switch. `alignment_timeout_us`: after so long a barrier overtakes the records before it;
    None: never.
    """

    checkpoint_interval_us: int | None = 1_000_000
    checkpoint_timeout_us: int = 60_000_000
    checkpoint_pause_us: int = 0
    tolerated_failures: int = 3
    retained: int = 3
    burst_us: int = 5_000
    watchdog_us: int = 1_000_000
    state_memory: int = 256 << 20
    restore: CheckpointId | None = None
    accept_duplicates: bool = False
    allow_dropped: frozenset[str] = frozenset()
    restore_as: Mapping[str, str] = field(default_factory=dict)
    claim: bool = False
    wire: bool = False
    timers_at_end: TimersAtEnd = "fire"
    alignment_timeout_us: int | None = None
