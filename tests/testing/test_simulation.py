"""What users test their pipelines with: finds what is wrong, says so in one line, and the line repeats it."""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import Context, EventLog, KeyedProcess, Pipeline, PlanError, ValueState
from actorstream.state import lmdb_env
from actorstream.testing import simulate
from actorstream.testing.ledger import outside
from actorstream.testing.session import BrokenPromiseError, Session
from actorstream.testing.simulated_process import Watch
from actorstream.testing.simulation import SimulationFailedError, _simulate
from actorstream.testing.simulation_plan import Length, Plan, draw, parse
from actorstream.testing.simulation_run import SimulatedPipeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from actorstream import SinkContext
    from actorstream.checkpoints.directory import CheckpointDirectory
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.testing.disk import SimulatedDisk

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Order:
    who: str
    amount: int


ORDERS = [Order("abc"[number % 3], number) for number in range(30)]


class Total(KeyedProcess[str, Order, tuple[str, int]]):
    total: ValueState[int] = ValueState(0)

    def on_element(self, value: Order, ctx: Context[str]) -> Iterator[tuple[str, int]]:
        self.total += value.amount
        yield ctx.key, self.total


class Forgetting(KeyedProcess[str, Order, tuple[str, int]]):
    """Keeps its totals where no checkpoint sees them."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()

    def on_element(self, value: Order, ctx: Context[str]) -> Iterator[tuple[str, int]]:
        self.totals[ctx.key] += value.amount
        yield ctx.key, self.totals[ctx.key]


def totals(of: Callable[[], Any], *, to_log: bool = True) -> Callable[[], Pipeline]:
    def shop() -> Pipeline:
        pipeline = Pipeline("shop")
        rows = pipeline.source(ORDERS).key_by(lambda order: order.who).process(of, name="totals")
        if to_log:
            rows.sink(EventLog(tuple[str, int], "totals", key=lambda row: row[0]), name="out")
        return pipeline

    return shop


def who(row: tuple[str, int]) -> str:
    return row[0]


# ---- what is right, what is wrong


@pytest.mark.parametrize("to_log", [True, False])
def test_a_right_pipeline_passes(to_log: bool) -> None:
    """Written to a log, or to nothing: then what nobody reads is looked at."""
    report = simulate(totals(Total, to_log=to_log), seeds=12, in_order_by=who)
    report.check()
    assert report.failures == ()
    assert report.seeds == 12
    assert report.crashes >= report.recoveries > 3
    assert report.checkpoints > 12


def test_functions_that_fail_and_then_do_not_fail_the_job_neither_undisturbed_nor_else() -> None:
    """Eight records raise when a process meets them first: as many restarts, none of them the pipeline's fault."""

    def shop() -> Pipeline:
        met: set[int] = set()

        def flaky(number: int) -> int:
            if number % 5 == 0 and number not in met:
                met.add(number)
                raise ConnectionError(number)
            return number

        pipeline = Pipeline("shop")
        pipeline.source(range(40), name="in").map(flaky, name="flaky").sink(lambda number: None, name="out")
        return pipeline

    simulate(shop, seeds=2).check()


def test_state_outside_of_checkpoints_is_found_and_one_line_repeats_it() -> None:
    report = simulate(totals(Forgetting), seeds=12)
    with pytest.raises(SimulationFailedError, match=r"prefix: 'out' holds .* # again: simulate\(.*plan="):
        report.check()
    (plan,) = re.findall(r'plan="(.*)"\)', report.failures[0])
    again = simulate(totals(Forgetting), plan=plan)
    assert again.seeds == 1
    assert again.failures == (report.failures[0],)
    simulate(totals(Total), plan=plan).check()


def test_a_failure_is_made_smaller() -> None:
    """Two processes are enough to forget something, and few records; it is the same smaller one each time."""
    report = simulate(totals(Forgetting), seeds=12)
    (plan,) = re.findall(r'plan="(.*)"\)', report.failures[0])
    small = parse(plan)
    assert len(small.sessions) <= 2
    assert small.records is not None
    assert small.records < len(ORDERS)
    assert len(str(small)) < 90
    assert simulate(totals(Forgetting), seeds=[small.seed]).failures[0] == report.failures[0]


def test_without_crashes_only_the_order_varies() -> None:
    """What is kept outside of state is not lost then, but an output that hangs on the order of two inputs differs."""
    report = simulate(totals(Forgetting), seeds=6, crashes=0)
    report.check()
    assert (report.crashes, report.ends["finished"]) == (0, 6)

    def racing() -> Pipeline:
        pipeline = Pipeline("race")
        left, right = (pipeline.source([Order("x", side)] * 8) for side in (1, 2))
        left.union(right).key_by(lambda order: order.who).process(Total, name="totals")
        return pipeline

    assert "was not to come" in simulate(racing, seeds=10, crashes=0).failures[0]


def test_a_reference_says_what_is_right() -> None:
    """One element too much, one too few, and one that is another."""
    right = [(name, sum(order.amount for order in ORDERS[: at + 1] if order.who == name)) for at, name in _rows()]
    simulate(totals(Total), seeds=3, reference=lambda: right).check()
    assert (
        "complete: the output lacks ('d', 1)"
        in simulate(totals(Total), seeds=1, reference=lambda: [*right, ("d", 1)]).failures[0]
    )
    assert "prefix" in simulate(totals(Total), seeds=3, reference=lambda: right[:-1]).failures[0]


def _rows() -> Sequence[tuple[int, str]]:
    return [(at, order.who) for at, order in enumerate(ORDERS)]


def test_order_is_asked_for_by_lane() -> None:
    """Rows of one key come in order; those of all keys do not."""
    simulate(totals(Total), seeds=5, in_order_by=who).check()
    assert "was to come first" in simulate(totals(Total), seeds=10, in_order_by=lambda _: "all").failures[0]


def test_a_plain_function_is_called_at_least_once_with_everything() -> None:
    heard: set[int] = set()

    def calls(hear: Callable[[int], object]) -> Callable[[], Pipeline]:
        def build() -> Pipeline:
            pipeline = Pipeline("calls")
            pipeline.source(range(20)).sink(hear, name="hear")
            return pipeline

        return build

    simulate(calls(heard.add), seeds=8).check()
    assert heard == set(range(20))


class Bank:
    """A double of a target that commits: what `tokens_twice` lets pass comes twice after some crashes."""

    def __init__(self, *, tokens_twice: bool) -> None:
        self.rows: list[object] = []
        self.pending: dict[bytes, list[object]] = {}
        self.tokens_twice = tokens_twice

    def committed(self) -> Sequence[object]:
        return self.rows

    @asynccontextmanager
    async def writer(self, ctx: SinkContext, /) -> AsyncIterator[BankWriter]:
        yield BankWriter(self, f"{ctx.attempt}-{ctx.subtask}")


class BankWriter:
    def __init__(self, bank: Bank, who: str) -> None:
        self.bank, self.who, self.values = bank, who, list[object]()

    async def write(self, values: Sequence[object], /) -> None:
        self.values += values

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        token = f"{self.who}-{checkpoint}".encode()
        self.bank.pending[token], self.values = self.values, []
        return token

    async def commit(self, token: bytes, /) -> None:
        self.bank.rows += self.bank.pending[token]
        if not self.bank.tokens_twice:
            self.bank.pending[token] = []

    async def abort(self, token: bytes | None, /) -> None:
        """Keep it."""


@pytest.mark.parametrize("tokens_twice", [False, True])
def test_an_own_sink_is_tested_with_a_double_that_outlives_processes(tokens_twice: bool) -> None:
    def build() -> Pipeline:
        pipeline = Pipeline("bank")
        pipeline.source(range(20)).sink(outside(lambda_of(tokens_twice)), name="bank")
        return pipeline

    report = simulate(build, seeds=30)
    assert bool(report.failures) == tokens_twice
    if tokens_twice:
        assert "once more than it should" in report.failures[0]


_MAKERS = {twice: (lambda twice=twice: Bank(tokens_twice=twice)) for twice in (False, True)}


def lambda_of(tokens_twice: bool) -> Callable[[], Bank]:
    return _MAKERS[tokens_twice]


def test_a_log_is_read_from_a_copy(tmp_path: Path) -> None:
    """And not touched: what is written goes to the simulated disk."""

    async def fill() -> None:
        async with EventLog(int, tmp_path / "in", partitions=2) as log:
            await log.extend(range(30))

    asyncio.run(fill())

    def build() -> Pipeline:
        pipeline = Pipeline("logs")
        numbers = pipeline.source(EventLog(int, tmp_path / "in", partitions=2), name="in")
        numbers.map(lambda number: number * 2).sink(EventLog(int, tmp_path / "out"), name="out")
        return pipeline

    simulate(build, seeds=6, reference=lambda: [number * 2 for number in range(30)]).check()
    assert os.listdir(tmp_path) == ["in"]


def test_a_log_of_the_pipeline_is_closed_with_its_process() -> None:
    """Nobody closes it in a program that ends; a simulation of hours would keep the files of all runs."""
    simulate(totals(Total), seeds=2, crashes=0).check()
    assert not lmdb_env._open_envs


# ---- one seed is one run


DIGESTS = """
import logging, sys
sys.path.insert(0, {root!r})
logging.getLogger("actorstream").disabled = True
from tests.simulation.topologies import SHAPES, TAILS, draw_topology
from tests.simulation.topology_running import SimulatedTopology
for seed, shape in enumerate(SHAPES):
    running = SimulatedTopology(draw_topology(seed, shape=shape, tail=list(TAILS)[seed % len(TAILS)]))
    plan = running.draw(seed)
    print(plan, [each.digest for each in running.run(plan).outcomes])
"""


def test_one_seed_is_one_run_in_every_process_with_every_hash_seed() -> None:
    """Otherwise a failure on one machine could not be looked into on another."""
    runs = {
        subprocess.run(
            [sys.executable, "-c", DIGESTS.format(root=str(ROOT))],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(runs) == 1
    assert runs.pop().count("\n") >= 6


def test_the_global_random_module_is_part_of_the_seed() -> None:
    """And is given back as it was."""

    def build() -> Pipeline:
        pipeline = Pipeline("dice")
        pipeline.source(range(5)).map(lambda _: random.random())
        return pipeline

    state = random.getstate()
    simulated = SimulatedPipeline(build)
    first, again = simulated._run_undisturbed(None), simulated._run_undisturbed(None)
    assert first[0].by_sink == again[0].by_sink
    assert random.getstate() == state


def test_a_run_that_cannot_be_repeated_is_told_as_such() -> None:
    """A real clock, or what an earlier run left behind, in an output."""
    left: list[int] = []

    def count(number: int) -> tuple[int, int]:
        left.append(number)
        return number, len(left)

    def build() -> Pipeline:
        pipeline = Pipeline("clock")
        pipeline.source(range(3)).map(count)
        return pipeline

    assert "the same run once more ended otherwise" in simulate(build, seeds=1).failures[0]


def test_a_failure_that_names_a_file_says_the_same_in_every_run() -> None:
    """Each run is in a temporary folder of another name: what is told of it begins behind that."""

    def build() -> Pipeline:
        pipeline = Pipeline("broken")
        pipeline.source(range(3)).key_by(str).count(name="count")
        return pipeline

    def break_it(disk: SimulatedDisk, found: Sequence[tuple[Manifest, CheckpointDirectory]]) -> None:
        if found:
            raise BrokenPromiseError("cut", f"{disk.root}/store/broken is not as it should be")

    watch = Watch(on_checkpoints=break_it)
    simulated = SimulatedPipeline(build, watch=watch)
    (failure,) = _simulate(simulated, [Plan(1)], "build", shrinks=True).failures
    assert failure.startswith("cut: /store/broken is not as it should be  # again: simulate(build, plan=")


@pytest.mark.parametrize("seed", range(30))
def test_a_plan_is_written_in_a_line_and_read_back(seed: int) -> None:
    plan = draw(seed, Length(300, 100, 1.5), crashes=3, parallelism=4)
    assert parse(str(plan)) == plan
    assert "\n" not in str(plan)


@pytest.mark.parametrize("text", ["", "7", "x | ", "7 | crash_step", "7 | no_such=1", "7 seed=8 nothing=1 | "])
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="plan"):
        parse(text)


def test_every_kind_of_disturbance_is_drawn() -> None:
    usual, seen = Session(), Counter[str]()
    for seed in range(200):
        plan = draw(seed, Length(300, 100, 1.5), crashes=3, parallelism=4)
        for session in plan.sessions:
            seen.update(name for name, value in vars(session).items() if value != getattr(usual, name))
        seen[plan.policy] += 1
    done_by_people = {"keeps", "version", "fork"}  # only a test of ours has other programs to go on with
    assert set(vars(usual)) - done_by_people | {"fifo", "random", "pct"} == set(seen)
    assert draw(3, Length(300, 100, 1.5), crashes=0, parallelism=1).sessions == (Session(),)
    assert isinstance(draw(3, Length(1, 1, 0), crashes=9, parallelism=1), Plan)
