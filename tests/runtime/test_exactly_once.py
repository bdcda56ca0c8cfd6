"""The whole runtime, end to end: whatever the graph, the stops and the failures, the result is that of a quiet one."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.run import Run
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ListState, MapState, ValueState
from actorstream.protocol.restart import Restart
from tests.runtime.doubles import Splits, Target, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from actorstream.api.options import RunOptions
    from actorstream.api.stream import Stream
    from actorstream.operators.contexts import Context

NUMBERS = {"a": list(range(300)), "b": list(range(1_000, 1_200)), "c": [5_000]}
_FAILURES = ("a 70", "a 210", "b 140", "target down")
EVERYTHING = [value for split in NUMBERS.values() for value in split]


class Last(KeyedProcess[int, int, tuple[int, int, int]]):
    """Uses a state of each kind."""

    total: ValueState[int] = ValueState(0)
    recent: ListState[int] = ListState()
    seen: MapState[int, int] = MapState()

    def on_element(self, value: int, ctx: Context[int], /) -> Iterable[tuple[int, int, int]]:
        """Add up; keep the last three; count by the last digit."""
        self.total += value
        self.recent.append(value)
        del self.recent[:-3]
        self.seen[value % 10] = self.seen.get(value % 10, 0) + 1
        if len(self.seen) > 8:
            del self.seen[next(iter(self.seen))]
        return [(ctx.key, self.total, sum(self.recent) + sum(self.seen.values()))]


def final(results: Iterable[tuple[int, Any]]) -> dict[int, Any]:
    """Keep each key's last result."""
    return dict(results)


def keyed(numbers: Stream[int], target: Target) -> None:
    numbers.key_by(lambda v: v % 7).count(name="count").sink(target, name="out")


def diamond(numbers: Stream[int], target: Target) -> None:
    left = numbers.map(lambda v: v * 2, name="left", new_chain=True)
    right = numbers.filter(lambda v: v % 2 == 0, name="right", new_chain=True)
    left.union(right).key_by(lambda v: v % 5).count(name="count").sink(target, name="out")


def rebalanced(numbers: Stream[int], target: Target) -> None:
    spread = numbers.rebalance().map(lambda v: v + 1, name="spread")
    spread.key_by(lambda v: v % 7).count(name="count").sink(target, name="out")


def twice_keyed(numbers: Stream[int], target: Target) -> None:
    counted = numbers.key_by(lambda v: v % 7).count(name="first")
    counted.key_by(lambda kn: kn[0] % 2).fold(0, lambda total, kn: total + 1, name="second").sink(target, name="out")


def joined_with_itself(numbers: Stream[int], target: Target) -> None:
    numbers.union(numbers).key_by(lambda v: v % 3).count(name="count").sink(target, name="out")


GRAPHS: dict[str, tuple[Callable[[Stream[int], Target], None], dict[int, int]]] = {
    "keyed": (keyed, dict(Counter(v % 7 for v in EVERYTHING))),
    "diamond": (diamond, dict(Counter([v * 2 % 5 for v in EVERYTHING] + [v % 5 for v in EVERYTHING if v % 2 == 0]))),
    "rebalanced": (rebalanced, dict(Counter((v + 1) % 7 for v in EVERYTHING))),
    "keyed twice": (twice_keyed, dict(Counter(v % 7 % 2 for v in EVERYTHING))),
    "joined with itself": (joined_with_itself, dict(Counter(v % 3 for v in EVERYTHING * 2))),
}


def build(name: str, source: Any, target: Target) -> Pipeline:
    pipeline = Pipeline("t")
    GRAPHS[name][0](pipeline.source(source, name="in"), target)
    return pipeline


def check(name: str, target: Target) -> None:
    """Every key's counts are 1, 2, ... n, each once: nothing lost, nothing doubled."""
    expected = GRAPHS[name][1]
    assert Counter(target.committed) == Counter((key, n + 1) for key, count in expected.items() for n in range(count))


@pytest.mark.parametrize("parallelism", [1, 2, 3, 4])
@pytest.mark.parametrize("name", GRAPHS)
async def test_result_is_exact_at_any_parallelism(tmp_path: Path, name: str, parallelism: int) -> None:
    target = Target()
    pipeline = build(name, Splits(NUMBERS, batch=7), target)
    await pipeline.run(store=tmp_path, parallelism=parallelism, checkpoint_interval=0.002)

    check(name, target)


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("name", GRAPHS)
async def test_result_is_exact_over_several_stops(tmp_path: Path, name: str, parallelism: int) -> None:
    """Each stop is a final checkpoint in the middle of the input; the next run goes on from there."""
    target = Target()
    for allowed in (20, 110, 111, None):
        source = Splits(NUMBERS, batch=7, allowed=allowed)
        run = build(name, source, target).run(store=tmp_path, parallelism=parallelism, checkpoint_interval=None)
        async with run as job:
            if allowed is None:
                await job.wait()
            else:
                await until(lambda source=source: len(source.reads) >= 2)  # type: ignore[misc]
    check(name, target)


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("name", GRAPHS)
async def test_result_is_exact_over_failures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, parallelism: int
) -> None:
    """A split fails at three places, a commit once; checkpoints come all the time.

    Two may fail at once and end one attempt: then one is told of as a note on the other.
    """
    target = Target()
    source = Splits(NUMBERS, batch=7)
    for split, at in (failure.split() for failure in _FAILURES[:3]):
        source.fail_at[split, int(at)] = ConnectionError(f"{split} {at}")

    class Mended(Splits[int]):
        async def read(self, split: str, after: int | None, /) -> Any:
            try:
                async for fetched in source.read(split, after):
                    yield fetched
                    await asyncio.sleep(0)
            except ConnectionError as error:
                failed_split, at = str(error).split()
                source.fail_at.pop((failed_split, int(at)), None)
                raise

    target.crash_before_commit = OSError(_FAILURES[3])
    options: RunOptions = {"store": tmp_path, "parallelism": parallelism, "checkpoint_interval": 0.002}
    options["restart"] = Restart.fixed_delay(20, delay=0)
    summary = await build(name, Mended(NUMBERS), target).run(**options)

    told = [record.getMessage() for record in caplog.records]
    assert summary.restarts == len(told)
    failures = {failure: sum(text.count(f": {failure}") for text in told) for failure in _FAILURES}
    assert failures == dict.fromkeys(_FAILURES, 1)
    check(name, target)


async def test_all_state_kinds_survive_stops_and_a_rescale(tmp_path: Path) -> None:
    """T33: p=1 -> 3 -> 2 -> 1; every key group takes its state along, and the results are those of one run at p=1.

    With one subtask the process is in the actor of its source: its state is found by its name all the same.
    """

    def run_of(source: Any, target: Target) -> Pipeline:
        pipeline = Pipeline("t")
        keys = pipeline.source(source, name="in", parallelism=1).key_by(lambda v: v % 23)
        keys.process(Last, name="last").sink(target, name="out", parallelism=1)
        return pipeline

    alone, target = Target(), Target()
    await run_of(Splits({"a": EVERYTHING}), alone).run()
    for parallelism, allowed in ((1, 150), (3, 151), (3, 300), (2, 400), (1, 450), (1, 501)):
        source = Splits({"a": EVERYTHING}, batch=10, allowed=allowed, ended=False)
        run = run_of(source, target).run(store=tmp_path, parallelism=parallelism, checkpoint_interval=None)
        async with run as job:
            missing = allowed - len(target.committed)  # nothing more is committed before the stop
            await until(lambda missing=missing: job.summary().records_out == missing)  # type: ignore[misc]

    by_key, alone_by_key = ({k: [r for r in t.committed if r[0] == k] for k in range(23)} for t in (target, alone))
    assert by_key == alone_by_key


@pytest.mark.parametrize(
    "new_chains", [(False, True, False), (True, False, True)], ids=["one, two, one", "two, one, two"]
)
async def test_state_follows_its_operator_into_another_actor(tmp_path: Path, new_chains: tuple[bool, ...]) -> None:
    """T91: how operators share actors is no part of a checkpoint."""
    target = Target()
    for new_chain, allowed in zip(new_chains, (100, 200, None), strict=True):
        source = Splits(NUMBERS, batch=7, allowed=allowed)
        pipeline = Pipeline("t")
        keyed = pipeline.source(source, name="in").map(abs).key_by(lambda v: v % 7)
        keyed.count(name="count", new_chain=new_chain).sink(target, name="out")
        async with pipeline.run(store=tmp_path, checkpoint_interval=None) as job:
            if allowed is None:
                await job.wait()
            else:
                await until(lambda: job.summary().records_in >= 100)
    check("keyed", target)


async def test_records_after_the_last_barrier_are_in_the_final_checkpoint(tmp_path: Path) -> None:
    """T106: no periodic checkpoint at all, and all output is committed when the input ends."""
    target = Target()
    summary = await build("keyed", Splits(NUMBERS), target).run(store=tmp_path, checkpoint_interval=None)

    assert (summary.checkpoints, summary.records_in) == (1, len(EVERYTHING))
    check("keyed", target)


async def test_job_that_had_ended_does_nothing_when_it_is_run_again(tmp_path: Path) -> None:
    """T97, T114: no split is found anew, and the end is passed on by actors that have nothing to do."""
    target = Target()
    await build("keyed", Splits(NUMBERS), target).run(store=tmp_path)
    source = Splits(NUMBERS)
    summary = await build("keyed", source, target).run(store=tmp_path)

    assert (summary.records_in, source.reads) == (0, [])
    check("keyed", target)


async def test_tokens_of_a_larger_run_are_committed_by_a_smaller_one(tmp_path: Path) -> None:
    """T109: a checkpoint is complete, the crash comes before its commits, and two of three writers are gone."""
    target = Target()
    target.crash_before_commit = OSError("target down")
    source = Splits(NUMBERS, allowed=50, ended=False)

    def pipeline() -> Pipeline:
        made = Pipeline("t")
        made.source(source, name="in").sink(target, name="out")
        return made

    with pytest.raises(Exception, match="target down"):  # noqa: PT012
        options: RunOptions = {"store": tmp_path, "parallelism": 3, "checkpoint_interval": None}
        options["restart"] = Restart.never()
        async with pipeline().run(**options) as job:
            await until(lambda: job.summary().records_in == 101)
            await job.checkpoint()
            await job.wait()
    assert len(target.committed) < 101
    async with pipeline().run(store=tmp_path, parallelism=1, checkpoint_interval=None):
        assert Counter(target.committed) == Counter([*range(50), *range(1_000, 1_050), 5_000]), (
            "committed before anything is read"
        )


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("name", GRAPHS)
async def test_every_item_can_go_over_the_wire(tmp_path: Path, name: str, parallelism: int) -> None:
    """No habit of passing live objects: records, keys, positions and barriers survive encoding."""
    target = Target()
    graph = build(name, Splits(NUMBERS), target).draft.graph()
    await Run(graph, {"store": tmp_path, "parallelism": parallelism, "checkpoint_interval": 0.002}, wire=True)

    check(name, target)


def uvloop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    return pytest.importorskip("uvloop").Loop  # type: ignore[no-any-return]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("name", ["keyed", "diamond"])
def test_plain_asyncio_and_uvloop_give_the_same(tmp_path: Path, name: str, loop: str) -> None:
    """With a stop, a failure and checkpoints all the time."""
    target = Target()

    async def main() -> None:
        source = Splits(NUMBERS, batch=7, allowed=50)
        async with build(name, source, target).run(store=tmp_path, parallelism=2, checkpoint_interval=0.002) as job:
            await until(lambda: job.summary().records_in > 50)
        source = Splits(NUMBERS, batch=7)
        options: RunOptions = {"store": tmp_path, "parallelism": 3, "checkpoint_interval": 0.002}
        options["restart"] = Restart.fixed_delay(3, delay=0)
        async with build(name, source, target).run(**options) as job:
            target.crash_before_commit = OSError("target down")
            assert (await job.wait()).restarts == 1

    with asyncio.Runner(loop_factory=uvloop_factory() if loop == "uvloop" else None) as runner:
        runner.run(main())
    check(name, target)


async def test_two_jobs_on_one_loop_do_not_disturb_each_other(tmp_path: Path) -> None:
    """One fails and restarts, the other does not notice."""
    good, bad = Target(), Target()
    bad.crash_before_commit = OSError("target down")

    async def run(name: str, target: Target) -> int:
        pipeline = build("keyed", Splits(NUMBERS, batch=3), target)
        restart = Restart.fixed_delay(3, delay=0)
        return (await pipeline.run(store=tmp_path / name, checkpoint_interval=0.005, restart=restart)).restarts

    restarts: dict[str, int] = {}

    async def keep(name: str, target: Target) -> None:
        restarts[name] = await run(name, target)

    async with anyio.create_task_group() as group:
        group.start_soon(keep, "good", good)
        group.start_soon(keep, "bad", bad)
    assert restarts == {"good": 0, "bad": 1}
    check("keyed", good)
    check("keyed", bad)


async def test_checkpoint_that_was_never_complete_is_not_seen_by_the_next_run(tmp_path: Path) -> None:
    """T132: the disk is ahead of the last checkpoint; what came after that is not seen, and comes again."""
    target = Target()
    source = Splits(NUMBERS, allowed=50)
    with pytest.raises(KeyError):  # noqa: PT012
        async with build("keyed", source, target).run(store=tmp_path, checkpoint_interval=None) as job:
            await until(lambda: job.summary().records_in > 20)
            await job.checkpoint()
            await until(lambda: job.summary().records_in == 101)
            raise KeyError
    await build("keyed", Splits(NUMBERS), target).run(store=tmp_path)

    check("keyed", target)
