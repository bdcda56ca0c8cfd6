"""What time it is for the states of one subtask that have a time-to-live, as a merge of their layers wants to be told.

    processing time     the job's clock
    event time          the watermark behind which no handler will be again; while a snapshot is on its way, that of its
                        barrier:

        barrier, watermark 100 ──────> layers written ──> report: time 100, and the layers of this moment
                        merge at 130 ──┘

A merge at 130 would drop what expires at 110. What is restored from that report begins again at 100, and
its handlers must see it.

A state whose time-to-live was taken away has no clock: its values stay, whatever expiry they carry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.state.ttl import ExpiringCodec, stamp_of

if TYPE_CHECKING:
    from actorstream.model.world import Clock
    from actorstream.runtime.chain_runner import ChainRunner
    from actorstream.runtime.snapshots import Snapshots
    from actorstream.state.operator_state import OperatorState
    from actorstream.state.ttl import Domain


class ExpiryClocks:
    """The clocks of one subtask's states."""

    def __init__(self, state: OperatorState | None, clock: Clock, runner: ChainRunner, snapshots: Snapshots) -> None:
        """Read `clock` for processing time, and `runner` for event time."""
        self._domains: dict[int, Domain] = {
            column.number: column.codec.domain
            for column in (state.columns if state is not None else ())
            if isinstance(column.codec, ExpiringCodec)
        }
        self._clock = clock
        self._runner = runner
        self._snapshots = snapshots
        self._at_barrier: int | None = None

    def on_barrier(self) -> None:
        """A snapshot begins: its report says the event time of now."""
        if not self._snapshots.reporting:
            self._at_barrier = self._runner.event_time_us

    def stamps(self) -> dict[int, int]:
        """Give the time by state number, as stamps (state/ttl.py); states whose time nobody knows are left out."""
        if not self._domains:
            return {}
        event_us = self._at_barrier if self._snapshots.reporting else self._runner.event_time_us
        times: dict[Domain, int | None] = {"processing": self._clock.now_us(), "event": event_us}
        return {
            number: stamp_of(at, domain)
            for number, domain in self._domains.items()
            if (at := times[domain]) is not None
        }
