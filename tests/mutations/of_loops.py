"""Bugs in loops: what is recorded of them, what is put back and when, when they end, and how far event time may go."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.errors import JobFailed
from actorstream.model.times import TIME_MAX
from actorstream.protocol.loops import Circulation
from actorstream.runtime import back_lane
from actorstream.runtime.back_lane import BackLane
from actorstream.runtime.head_snapshots import HeadSnapshots
from actorstream.runtime.loop import Loop, LoopMember
from actorstream.runtime.recording import Recording
from actorstream.runtime.spilling import Segment, Spiller
from actorstream.testing import simulate
from actorstream.testing.session import BrokenPromiseError
from actorstream.testing.simulation_plan import parse
from tests.mutations.entering import Area
from tests.mutations.hunting import Found, by_seeds
from tests.simulation.test_loops import fanning_out, retrying, windowed
from tests.simulation.topologies import Topology
from tests.simulation.topology_running import SimulatedTopology

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from actorstream.api.pipeline import Pipeline
    from actorstream.runtime.recording import Piece
    from tests.mutations.hunting import Apply, Hunt

AREA = Area("loops")


def of(pipeline: Callable[[], Pipeline], reference: Callable[[], Sequence[object]] | None = None) -> Hunt:
    """Hunt in a pipeline with a loop, by the public simulation."""

    def run_seed(seed: int, apply: Apply) -> None:
        try:
            with apply():
                report = simulate(pipeline, seeds=[seed], reference=reference)
        except JobFailed as failed:
            raise BrokenPromiseError("undisturbed", str(failed)) from failed
        if report.failures:
            raise BrokenPromiseError(report.failures[0].partition(":")[0], report.failures[0])

    return by_seeds(run_seed)


def overtaking(apply: Apply) -> Found | None:
    """Hunt where it was found: at another parallelism what is restored comes back to another head."""
    topology = Topology(seed=47, shape="loop", tail="none", events=25, wide=4, poison=False)
    plan = parse(
        "47 policy='fifo' mailbox=1 retained=1 pause=0.128 in_memory=True"
        " | parallelism=3 crash_step=1536 kills=((397,18),) | parallelism=4 power=True"
    )
    return by_seeds(lambda seed, apply: SimulatedTopology(topology, apply).run(replace(plan, seed=47 + seed)))(apply)


def windows_of() -> list[object]:
    """Give what `windowed` gives: three of a key in each window."""
    return [(key, float(start), 3) for start in range(0, 30, 6) for key in (0, 1)]


def _small() -> list[AbstractContextManager[object]]:
    return [patch.object(back_lane, limit, 2) for limit in ("FRONT_RECORDS", "SEGMENT_RECORDS")]


@AREA.in_topologies("nothing is recorded", "cut", shape="loop", tail="none")
def _nothing_recorded() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Recording, "add", lambda *_: None)]


@AREA.in_topologies("what waits is recorded, what comes before the barrier is not", "cut", shape="loop", tail="none")
def _closed_early() -> Sequence[AbstractContextManager[object]]:
    real = BackLane.on_snapshot

    def on_snapshot(self: BackLane, recording: Recording) -> None:
        real(self, recording)
        recording.on_barrier(self._number)

    return [patch.object(BackLane, "on_snapshot", on_snapshot)]


@AREA.in_topologies("what waits when the snapshot is taken is not recorded", "cut", shape="loop", tail="none")
def _queue_forgotten() -> Sequence[AbstractContextManager[object]]:
    def on_snapshot(self: BackLane, recording: Recording) -> None:
        self._recordings.append(recording)

    return [patch.object(BackLane, "on_snapshot", on_snapshot)]


_ROUND = {"interval": 0.05, "timeout": 60.0}
"""A barrier has the time to come round."""


@AREA.in_topologies(
    "what comes behind the barrier is recorded too", "cut", _ROUND, shape="loop", tail="none", poison=False
)
def _closed_late() -> Sequence[AbstractContextManager[object]]:
    real = Recording.add

    def add(self: Recording, lane: int, piece: Piece) -> None:
        before = self._open
        self._open = set(range(len(self.rows)))
        real(self, lane, piece)
        self._open = before

    return [patch.object(Recording, "add", add)]


@AREA.in_topologies("a checkpoint does not wait for the barrier to come round", "cut", shape="loop", tail="none")
def _not_waited() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Recording, "wait_complete", _at_once)]


async def _at_once(*_: Any) -> None:
    return


@AREA.in_topologies("what was restored is not put back", "cut", shape="loop", tail="none")
def _not_replayed() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(BackLane, "replay", lambda *_: None)]


@AREA.enter("what is new overtakes what was restored", overtaking, "prefix")
def _not_settling() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Loop, "is_settling", property(lambda _: False))]


@AREA.enter("the loop ends while records go round", of(fanning_out))
def _ends_early() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Circulation, "is_empty", property(lambda self: self.is_closed))]


@AREA.enter("the loop ends while a timer of the clock waits", of(retrying))
def _timers_forgotten() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(LoopMember, "is_calm", property(lambda _: True))]


@AREA.enter("event time passes what goes round", of(windowed, windows_of))
def _not_held() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(Circulation, "least_time", property(lambda _: TIME_MAX))]


@AREA.enter("a segment goes though a checkpoint lists it", of(fanning_out))
def _removed_early() -> Sequence[AbstractContextManager[object]]:
    real = Spiller._tidy

    async def tidy(self: Spiller) -> None:
        for segment in self._segments:
            segment.listed = False
        await real(self)

    return [*_small(), patch.object(Spiller, "_tidy", tidy)]


@AREA.enter("a checkpoint does not hold on to the segments that it lists", of(fanning_out))
def _not_held_on() -> Sequence[AbstractContextManager[object]]:
    return [*_small(), patch.object(Segment, "hold", lambda _: None), patch.object(Recording, "let_go", lambda _: None)]


@AREA.enter("segments are not listed", of(fanning_out))
def _not_listed() -> Sequence[AbstractContextManager[object]]:
    real = HeadSnapshots._write

    async def write(self: HeadSnapshots, recording: Recording) -> Any:
        for row in recording.rows:
            row[:] = [piece for piece in row if not isinstance(piece, Segment)]
        return await real(self, recording)

    return [*_small(), patch.object(HeadSnapshots, "_write", write)]
