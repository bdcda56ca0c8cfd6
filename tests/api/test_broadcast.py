"""Broadcast streams and processes without key in real jobs: planned, rescaled, upgraded, read and written offline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import (
    BroadcastContext,
    BroadcastProcess,
    BroadcastState,
    Context,
    ElementContext,
    OperatorListState,
    Pipeline,
    Process,
    RestoreError,
    Settings,
    ValueState,
)
from actorstream.errors import CodecError, PlanError
from actorstream.evolve import open_snapshot, write_savepoint
from actorstream.graph.nodes import Broadcast, Edge
from tests.api.evolving import has_read
from tests.runtime.doubles import Splits, Target

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream import Job

KEYS = 7


@dataclass(frozen=True)
class Rule:
    """What is broadcast."""

    name: int
    limit: int


class Checked(BroadcastProcess[int, int, Rule, tuple[int, int, tuple[int, ...]]]):
    """Shows to every record all rules that there are."""

    rules: BroadcastState[int, Rule] = BroadcastState()
    count: ValueState[int] = ValueState(0)

    def on_element(self, value: int, ctx: Context[int], /) -> list[tuple[int, int, tuple[int, ...]]]:
        """Count."""
        self.count += 1
        return [(value, self.count, tuple(rule.limit for rule in self.rules.values()))]

    def on_broadcast(self, rule: Rule, ctx: BroadcastContext, /) -> None:
        """Add up by name, which needs no order."""
        before = self.rules.get(rule.name, Rule(rule.name, 0))
        ctx.writable(self.rules)[rule.name] = Rule(rule.name, before.limit + rule.limit)


class Gather(Process[int, int]):
    """Keeps all that it has seen."""

    seen: OperatorListState[int] = OperatorListState()

    def on_element(self, value: int, ctx: ElementContext, /) -> list[int]:
        """Remember."""
        self.seen.append(value)
        return [value]


class World:
    """A pipeline with both, over sources that can be held."""

    def __init__(self) -> None:
        self.numbers = Splits({str(split): range(split, 400, 4) for split in range(4)}, allowed=0, ended=False)
        self.rules = Splits(
            {str(split): [Rule(number % 3, 1) for number in range(100)] for split in range(2)}, allowed=0, ended=False
        )
        self.out, self.gathered = Target(), Target()

    def pipeline(self, checked: type[Any] = Checked, gather: type[Any] = Gather, groups: int = 128) -> Pipeline:
        """Build it."""
        pipeline = Pipeline("world", max_parallelism=groups)
        numbers, rules = pipeline.source(self.numbers, name="numbers"), pipeline.source(self.rules, name="rules")
        checks = numbers.key_by(lambda value: value % KEYS).connect(rules.broadcast()).process(checked, name="checked")
        checks.sink(self.out, name="out")
        numbers.rebalance().process(gather, name="gather").sink(self.gathered, name="gathered")
        return pipeline

    async def go_on(self, job: Job, records: int, rules: int) -> None:
        """Let so many records of each split be read, in this run, and taken into a checkpoint; rules come first."""
        self.rules.allow(rules)
        await has_read(job, 2 * rules - self.read)
        await job.checkpoint()
        self.numbers.allow(records)
        await has_read(job, 2 * rules + 4 * records - self.read)
        await job.checkpoint()

    read = 0
    """What runs before this one have read."""

    def check(self, records: int, limits: tuple[int, ...], since: int) -> None:
        """Each record came out once; those behind the first `since` saw these limits."""
        assert sorted(value for value, *_ in self.out.committed) == list(range(4 * records))
        assert {seen for value, _, seen in self.out.committed if value >= 4 * since} == {limits}
        assert sorted(self.gathered.committed) == list(range(4 * records))


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
async def test_rules_and_lists_are_there_after_any_rescale_t33_t124(tmp_path: Path, *, store: bool) -> None:
    """Up and down, of all operators and of one: every subtask has all rules, and no element of a list is lost."""
    world = World()
    options: Any = {"store": tmp_path} if store else {}
    async with world.pipeline().run(**options, checkpoint_interval=None) as job:
        records = 0
        for step, (parallelism, operator) in enumerate([(3, None), (1, None), (4, "checked"), (2, None), (5, None)], 1):
            await world.go_on(job, 5 * step, 3 * step)
            world.check(5 * step, (2 * step,) * 3, records)
            records = 5 * step
            await job.rescale(parallelism, operator=operator)
        await world.go_on(job, 30, 18)
        world.check(30, (12,) * 3, 25)
        if store:
            with open_snapshot(tmp_path / "world") as snapshot:
                lists = dict(snapshot.state("gather", "seen").items())
                assert sorted(value for part in lists.values() for value in part) == list(range(120))
                assert sorted(lists) == [0, 1, 2, 3, 4]


async def test_describe_names_the_edge() -> None:
    """And says where a process without key runs."""
    text = World().pipeline().describe()
    assert "  rules: source Splits: replayable\n    =broadcast=> checked" in text
    assert "=rebalance=> gather" in text
    assert "== broadcast ==>" in World().pipeline().describe(format="mermaid")


def test_a_process_without_key_joins_the_actor_before_it_unless_that_keeps_state() -> None:
    """A snapshot is of one operator's state."""
    pipeline = Pipeline("p")
    numbers = pipeline.source([1]).map(abs, name="abs")
    first = numbers.process(Gather, name="first")
    first.process(Gather, name="second").sink(print, name="out")
    first.map(abs, name="behind")
    first.key_by(abs).count(name="count")
    chains = [part.splitlines()[0] for part in pipeline.describe().split("\nchain ")[1:]]
    assert chains == ["source-0, 1 subtask", "second, 1 subtask", "count, 1 subtask"]


def test_a_broadcast_edge_leads_to_a_broadcast_input_and_nowhere_else() -> None:
    """The methods make no other graph; whoever makes nodes by hand is told."""
    pipeline = Pipeline("p")
    draft = pipeline.source([1]).map(abs, name="abs").origin.draft
    draft.nodes[1] = type(draft.nodes[1])(
        draft.nodes[1].id, "abs", draft.nodes[1].spec, (Edge(draft.nodes[0].id, Broadcast()),)
    )
    with pytest.raises(PlanError, match=r"map 'abs' is given another stream than a broadcast one .* or the reverse"):
        pipeline.describe()


@dataclass(frozen=True)
class Renamed:
    """A rule of a later version."""

    name: int
    most: int
    unit: str = "euro"


class CheckedLater(BroadcastProcess[int, int, Any, tuple[int, int, tuple[Any, ...]]]):
    """The class, with other types of its states."""

    rules: BroadcastState[int, Renamed] = BroadcastState(rename={"limit": "most"})
    count: ValueState[int] = ValueState(0)

    def on_element(self, value: int, ctx: Context[int], /) -> list[tuple[int, int, tuple[Any, ...]]]:
        """Show."""
        self.count += 1
        return [(value, self.count, tuple(self.rules.values()))]

    def on_broadcast(self, rule: Any, ctx: BroadcastContext, /) -> None:
        """Take no more."""


def _as_text(value: int) -> str:
    return f"<{value}>"


class GatherLater(Process[int, int]):
    """Its list has other elements."""

    seen: OperatorListState[str] = OperatorListState(version=2, migrate={1: _as_text})

    def on_element(self, value: int, ctx: ElementContext, /) -> list[int]:
        """Remember."""
        self.seen.append(f"<{value}>")
        return [value]


class GatherOther(Process[int, int]):
    """Its list has other elements, and no one says how they become these."""

    seen: OperatorListState[str] = OperatorListState()

    def on_element(self, value: int, ctx: ElementContext, /) -> list[int]:
        """Do nothing."""
        return [value]


async def _stopped(world: World, store: Path, parallelism: int = 2) -> None:
    """Leave a savepoint "kept" with three rules, and 40 records seen."""
    async with world.pipeline().run(store=store, parallelism=parallelism, checkpoint_interval=None) as job:
        await world.go_on(job, 10, 3)
        await job.savepoint("kept")
    world.read = 40 + 6


async def test_types_of_both_states_may_change(tmp_path: Path) -> None:
    """By rename= and migrate=, as those of states by key, also while they are dealt out anew."""
    world = World()
    await _stopped(world, tmp_path)
    with pytest.raises(RestoreError, match=r"state gather.seen changed its type"):
        async with world.pipeline(gather=GatherOther).run(store=tmp_path):
            pass
    later = world.pipeline(CheckedLater, GatherLater)
    async with later.run(store=tmp_path, parallelism=3, checkpoint_interval=None) as job:
        await world.go_on(job, 15, 3)
        await job.savepoint("later")
    rules = tuple(Renamed(name, 2) for name in range(3))
    assert {seen for value, _, seen in world.out.committed if value >= 40} == {rules}
    with open_snapshot(tmp_path / "world" / "savepoints" / "later", pipeline=later) as snapshot:
        lists = dict(snapshot.state("gather", "seen").items())
        assert sorted(each for part in lists.values() for each in part) == sorted(f"<{n}>" for n in range(60))
        assert snapshot.state("checked", "rules").get(1) == Renamed(1, 2)


async def test_a_savepoint_goes_on_under_other_names_and_without_what_was_given_up(tmp_path: Path) -> None:
    """`restore_as` and `allow_dropped` know nothing of kinds of state."""
    world = World()
    await _stopped(world, tmp_path / "a")
    pipeline = Pipeline("world")
    numbers, rules = pipeline.source(world.numbers, name="numbers"), pipeline.source(world.rules, name="rules")
    keyed = numbers.key_by(lambda value: value % KEYS)
    keyed.connect(rules.broadcast()).process(Checked, name="anew").sink(world.out, name="out")
    settings = Settings(restore_as={"checked": "anew"}, allow_dropped=["gather", "gathered"])
    kept = tmp_path / "a" / "world" / "savepoints" / "kept"
    run = pipeline.run(store=tmp_path / "b", restore=kept, settings=settings, checkpoint_interval=None, fork="twin")
    async with run as job:
        await world.go_on(job, 12, 3)
    assert {seen for value, _, seen in world.out.committed if value >= 40} == {(2, 2, 2)}


async def test_snapshots_show_them_and_may_be_written(tmp_path: Path) -> None:
    """Also for another max_parallelism, where key 0 and every list is in another key group."""
    world = World()
    await _stopped(world, tmp_path, parallelism=3)
    base = tmp_path / "world" / "savepoints" / "kept"
    with open_snapshot(base) as snapshot:
        rules, seen = snapshot.state("checked", "rules"), snapshot.state("gather", "seen")
        assert (rules.kind, seen.kind) == ("broadcast", "list")
        assert list(rules.items()) == [(name, {"name": name, "limit": 2}) for name in range(3)]
        assert [name for name, _ in rules.items(start=1, stop=2)] == [1]
        assert rules.get(2) == {"name": 2, "limit": 2}
        assert rules.get(9) is None
        assert [len(part) > 0 for _, part in seen.items()] == [True] * 3
        assert [subtask for subtask, _ in seen.items(start=1)] == [1, 2]
        assert seen.get(2) == dict(seen.items())[2]
    other = world.pipeline(groups=16)
    with (
        pytest.raises(CodecError, match=r"an operator's lists are carried over as they are"),
        write_savepoint(other, tmp_path / "other", base=base) as writer,
    ):
        writer.transform("gather", "seen", lambda item, value: (item, value))
    with write_savepoint(other, tmp_path / "another", base=base) as writer:
        writer.put("checked", "rules", [(2, Rule(2, 50)), (7, Rule(7, 7))])
    for parallelism in (1, 2):
        restored = World()
        run = restored.pipeline(groups=16).run(
            store=tmp_path / f"s{parallelism}", restore=tmp_path / "another", parallelism=parallelism,
            checkpoint_interval=None, settings=Settings(claim=False),
        )  # fmt: skip
        restored.read = 40 + 6
        async with run as job:
            await restored.go_on(job, 12, 3)
            await job.savepoint("end")
        assert {seen for *_, seen in restored.out.committed} == {(2, 2, 50, 7)}
        with open_snapshot(tmp_path / f"s{parallelism}" / "world" / "savepoints" / "end") as snapshot:
            lists = dict(snapshot.state("gather", "seen").items())
            assert sorted(value for part in lists.values() for value in part) == list(range(48))
            assert sorted(lists) == list(range(parallelism))
