"""Barriers that overtake records: quick under back-pressure, and nothing of what they overtake is lost or doubled.

Under simulation, so time is virtual: how long a sink takes is exact, and no test waits for it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.settings import Settings
from actorstream.checkpoints.in_flight import InFlightChannel
from actorstream.checkpoints.savepoints import find_snapshot, read_snapshot
from actorstream.checkpoints.view import StoreView
from actorstream.errors import JobFailed, RestoreError
from actorstream.model.batch import Batch
from actorstream.model.ids import ChannelIndex, CheckpointId, SubtaskId
from actorstream.model.signals import Barrier, EndOfInput
from actorstream.protocol.alignment import Alignment
from actorstream.runtime.mailbox import Mailbox
from actorstream.runtime.overtaking import Overtaking
from actorstream.runtime.pace import Pace
from actorstream.system.current import SystemClock, current_world
from actorstream.system.offload import ThreadOffload
from actorstream.testing.disk import SimulatedDisk, temporary_disk
from actorstream.testing.run import run_simulated
from actorstream.testing.surroundings import bounded_mailboxes
from tests.runtime.doubles import Splits, Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence

    from actorstream.api.job import Job
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.model.connect import SinkContext
    from actorstream.model.signals import ChannelItem

KEYS = 7


class Slow(Target):
    """Takes `seconds` for each record, as long as it is told."""

    seconds = 0.001

    @asynccontextmanager
    async def writer(self, ctx: SinkContext, /) -> AsyncIterator[Any]:
        async with super().writer(ctx) as writer:
            real = writer.write

            async def write(values: Sequence[Any], /) -> None:
                await anyio.sleep(self.seconds * len(values))
                await real(values)

            writer.write = write  # type: ignore[method-assign]
            yield writer


@dataclass
class Setting:
    """One disk and one outside system, through several processes."""

    disk: SimulatedDisk
    target: Slow = field(default_factory=Slow)
    in_memory: bool = False
    splits: int = 2
    lane_items: int = 8
    records: int = 4_000
    forward: bool = True
    ordered: bool = True

    def pipeline(self) -> Pipeline:
        """Number what comes of each key; the keyed operator has an actor of its own where parallelism is over 1."""
        made = Pipeline("t", max_parallelism=16)
        rows = {str(split): list(range(split, self.records, self.splits)) for split in range(self.splits)}
        source: Any = range(self.records) if self.in_memory else Splits(rows)
        stream = made.source(source, name="in").key_by(lambda value: value % KEYS)
        numbered = stream.map_with_state(
            0, lambda count, value: (count + 1, (value % KEYS, count, value)), name="number"
        )
        numbered.map(lambda row: row, name="out-of-it", new_chain=self.forward).sink(self.target, name="out")
        return made

    def process(
        self,
        work: Callable[[Job], Coroutine[Any, Any, Any]],
        *,
        timeout: float | None = 0.0,
        parallelism: int = 2,
        seed: int = 1,
        **settings: Any,
    ) -> Any:
        """Run one process: its job does `work`, and dies at its end unless that has waited for the job's."""

        async def main() -> Any:
            result = None
            try:
                async with self.pipeline().run(
                    store=f"{self.disk.root}/store",
                    parallelism=parallelism,
                    checkpoint_interval=None,
                    settings=Settings(alignment_timeout=timeout, **settings),
                ) as job:
                    result = await work(job)
                    raise _DiedError
            except _DiedError:
                return result

        with bounded_mailboxes(self.lane_items):
            outcome = run_simulated(main, seed=seed, disk=self.disk, call_delay=0.001)
        self.disk.kill()
        return outcome.value()

    def manifest(self) -> Manifest:
        """Give the newest."""
        view = StoreView(self.disk, f"{self.disk.root}/store/t")
        return view.read([fact.checkpoint for fact in view.manifests() if fact.problem is None][-1])

    def finish(self, **options: Any) -> None:
        """Run to the end, at full speed, and compare what was committed with what must be."""
        self.target.seconds = 0.0
        self.process(lambda job: job.wait(), **options)
        by_key: dict[int, list[tuple[int, int]]] = {}
        for key, count, value in self.target.committed:
            by_key.setdefault(key, []).append((count, value))
        for key in range(KEYS):
            counts = [count for count, _ in by_key[key]]
            assert (counts if self.ordered else sorted(counts)) == list(range(len(counts))), f"key {key}"
            if not self.ordered:
                continue
            for split in range(self.splits):
                values = [value for _, value in by_key[key] if value % self.splits == split]
                assert values == [value for value in range(split, self.records, self.splits) if value % KEYS == key]


class _DiedError(Exception):
    pass


@pytest.fixture
def setting() -> Iterator[Setting]:
    with temporary_disk() as disk:
        yield Setting(disk)


async def under_pressure(job: Job) -> float:
    """Wait until all is full, then say how long a checkpoint takes."""
    await anyio.sleep(0.5)
    clock = current_world().clock
    began = clock.monotonic()
    await job.checkpoint()
    return clock.monotonic() - began


def under_full_mailboxes(setting: Setting) -> None:
    """Let so much wait that aligned barriers take long; in memory a batch is long, else each record is one."""
    setting.lane_items, setting.records = (8, 8_000) if setting.in_memory else (3_000, 4_000)
    setting.target.seconds = 0.003


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_checkpoint_under_back_pressure_does_not_wait_for_the_sink(setting: Setting, in_memory: bool) -> None:
    """An order of magnitude; how much in real time, `python -m benchmarks unaligned` tells."""
    setting.in_memory, setting.splits = in_memory, 1 if in_memory else 2
    under_full_mailboxes(setting)
    slow = setting.process(under_pressure, timeout=None, retained=1)
    assert setting.manifest().in_flight == []
    quick = setting.process(under_pressure)
    manifest = setting.manifest()
    assert quick < 1.0
    assert slow > 2 * quick
    assert sum(entry.records for entry in manifest.in_flight) > 50
    assert {entry.chain for entry in manifest.in_flight} >= {"out-of-it", "number"}
    setting.finish()


@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("timeout", [0.0, 0.01, None])
def test_what_was_overtaken_comes_first_wherever_its_key_is_now_t119(
    setting: Setting, before: int, after: int, timeout: float | None
) -> None:
    """T119: up, down, and to one subtask, where the keyed operator would join the source's actor (T122)."""
    setting.forward = False
    setting.process(under_pressure, parallelism=before)
    assert bool(setting.manifest().in_flight) == (before > 1)
    setting.finish(parallelism=after, timeout=timeout)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (2, 2), (3, 1)])
def test_what_was_on_its_way_to_an_operator_without_state_comes_again_t120(
    setting: Setting, before: int, after: int
) -> None:
    """T120: no key says where such a record belongs, so at another parallelism its order to later ones is not kept."""
    setting.ordered = before == after
    setting.process(under_pressure, parallelism=before)
    assert "out-of-it" in {entry.chain for entry in setting.manifest().in_flight}
    setting.finish(parallelism=after)


@pytest.mark.parametrize("parallelism", [1, 2, 3])
def test_a_checkpoint_while_the_rest_still_comes_again_holds_it_once_more_t18(
    setting: Setting, parallelism: int
) -> None:
    """T18: neither declined, nor does it wait for the replay; the third process goes on from the second's."""

    async def at_once(job: Job) -> None:
        await job.checkpoint()

    setting.ordered = parallelism == 2
    setting.process(under_pressure)
    first = sum(entry.records for entry in setting.manifest().in_flight)
    setting.target.seconds = 1.0
    setting.process(at_once, parallelism=parallelism)
    assert sum(entry.records for entry in setting.manifest().in_flight) > first / 2
    setting.finish(parallelism=2)


@pytest.mark.parametrize("timeout", [0.0, 0.05, None])
@pytest.mark.parametrize("in_memory", [False, True])
def test_a_savepoint_holds_nothing_in_flight_t17(setting: Setting, timeout: float | None, in_memory: bool) -> None:
    """T17: under back-pressure, and while what was in flight still comes again; its sources wait for that."""
    setting.in_memory, setting.splits = in_memory, 1 if in_memory else 2

    async def savepoint(job: Job) -> str:
        return (await job.savepoint("kept")).path

    setting.process(under_pressure)
    assert setting.manifest().in_flight
    setting.process(savepoint, timeout=timeout)
    made = read_snapshot(setting.disk, find_snapshot(setting.disk, f"{setting.disk.root}/store/t/savepoints/kept"))
    assert made.in_flight == []
    assert made.format == 1
    assert made.checkpoint > setting.manifest().checkpoint
    setting.finish(timeout=timeout)


def test_a_stop_and_a_rescale_end_with_an_aligned_checkpoint_t17(setting: Setting) -> None:
    async def rescale_and_stop(job: Job) -> None:
        await under_pressure(job)
        setting.target.seconds = 0.0001
        await job.rescale(3)
        await job.stop()

    setting.ordered = False
    setting.process(rescale_and_stop)
    assert setting.manifest().final
    assert setting.manifest().in_flight == []
    setting.finish()


def test_an_alignment_that_is_quick_enough_overtakes_nothing(setting: Setting) -> None:
    """Aligned first: only what waits for longer than the timeout is recorded."""
    setting.target.seconds = 0.0003
    setting.process(under_pressure, timeout=5.0)
    assert setting.manifest().in_flight == []
    setting.finish(timeout=5.0)


def test_after_the_timeout_what_still_waits_is_recorded(setting: Setting) -> None:
    under_full_mailboxes(setting)
    took = setting.process(under_pressure, timeout=0.2)
    assert 0.2 < took < 1.0
    assert setting.manifest().in_flight
    setting.finish(timeout=0.2)


def test_an_end_behind_a_barrier_that_has_come_meanwhile_is_not_what_recording_ends_with_t21() -> None:
    """While the snapshot was taken: barrier, record and end were put. The record was sent after the barrier.

    It was recorded with what the end had before it, and came twice after a crash: topologies, seed 2092.
    """
    mailbox: Mailbox[Any, ChannelItem] = Mailbox(2)
    alignment = Alignment(2)
    overtaking = Overtaking(SubtaskId("t", 0), 1, mailbox, alignment, Pace(SystemClock(), ThreadOffload()))
    one, first, second = CheckpointId(1), ChannelIndex(0), ChannelIndex(1)
    alignment.on_barrier(first, one)
    alignment.on_timeout(one)
    overtaking.begin(one, [InFlightChannel("t:0", sender) for sender in range(2)])
    before = Batch(["before"])
    for item in (before, Barrier(one, 0), Batch(["after"]), EndOfInput()):
        mailbox.lanes[second].put(item)
    assert overtaking.next_ended() is None
    assert overtaking.pull() == (second, Barrier(one, 0))
    assert list(overtaking.ahead) == [before]


def test_metrics_say_what_was_in_flight(setting: Setting) -> None:
    async def metrics(job: Job) -> dict[str, float]:
        await under_pressure(job)
        return dict(job.metrics())

    under_full_mailboxes(setting)
    found = setting.process(metrics, timeout=0.2)
    entries = {(entry.chain, entry.subtask): entry for entry in setting.manifest().in_flight}
    assert entries
    for (chain, subtask), entry in entries.items():
        assert found[f"{chain}.{subtask}.in_flight_records"] == entry.records
        assert found[f"{chain}.{subtask}.in_flight_bytes"] == entry.size
    assert found["job.last_checkpoint_in_flight_bytes"] == sum(entry.size for entry in entries.values())


def test_metrics_say_how_long_a_barrier_was_on_its_way(setting: Setting) -> None:
    """The start delay: what an aligned barrier spends behind records, and one that overtakes them does not."""

    async def delays(job: Job) -> dict[str, float]:
        await under_pressure(job)
        return {name: value for name, value in job.metrics().items() if name.endswith(".start_delay_seconds")}

    under_full_mailboxes(setting)
    slow, quick = (setting.process(delays, timeout=timeout, retained=1) for timeout in (None, 0.0))
    assert slow.keys() == quick.keys()
    behind = [name for name in slow if not name.startswith("in.")]
    assert sum(slow[name] for name in behind) > 10 * sum(quick[name] for name in behind)
    assert max(value for name, value in slow.items() if name.startswith("in.")) < 0.1


def test_records_on_their_way_to_an_operator_that_is_gone_are_refused_t122(setting: Setting) -> None:
    setting.process(under_pressure)

    async def other() -> None:
        made = Pipeline("t", max_parallelism=16)
        made.source(Splits({"0": [1], "1": [2]}), name="in").sink(setting.target, name="out")
        await made.run(
            store=f"{setting.disk.root}/store", settings=Settings(alignment_timeout=0.0, allow_dropped=["number"])
        )

    outcome = run_simulated(other, disk=setting.disk)
    setting.disk.kill()
    with pytest.raises((RestoreError, JobFailed), match="records in flight to operator 'out-of-it'"):
        outcome.value()
    setting.finish()
