"""One operator that goes by time, in several subtasks whose watermarks differ, moved from one parallelism to another.

    Records([...])   of one subtask       Told(60)   to one subtask       Passed(3)   for all       Rescale(3)

Twice: as the steps say, with real states, layers, chains and floors; and without any rescale, with a subtask for each
key group, which is told what the owner of its key group is told. Of each key the same must come out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from actorstream import TTL, Context, KeyedProcess, MapState, Pipeline, Timer, ValueState
from actorstream.graph.chaining import plan_graph
from actorstream.graph.nodes import ProcessSpec, TimedSpec
from actorstream.model.batch import Batch
from actorstream.model.ids import OperatorNumber, StateNumber, SubtaskId
from actorstream.model.key_groups import KeyGroupRange, owner_of, range_of
from actorstream.model.signals import Watermark
from actorstream.model.times import TIME_MAX
from actorstream.operators.changes import Change
from actorstream.operators.columns import columns_of
from actorstream.operators.floors import Floor
from actorstream.operators.process_binding import ProcessBinding, make_process
from actorstream.operators.step_text import Bindings
from actorstream.runtime.chain_runner import ChainRunner
from actorstream.runtime.event_time import EventTime
from actorstream.runtime.mailbox import Mailbox
from actorstream.runtime.messages import SnapshotReport
from actorstream.runtime.outputs import ExchangeOutput
from actorstream.runtime.pace import Pace
from actorstream.runtime.rescaled_time import floors_of
from actorstream.runtime.restoring import Restored
from actorstream.runtime.statistics import SubtaskStatistics
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.stack import LayerStack
from actorstream.state.unkeyed import Unkeyed, read_broadcast
from actorstream.system.offload import ThreadOffload
from tests.runtime.running_chain import SteppingClock
from tests.time.cases import CASES
from tests.time.driving import Event
from tests.time.ruled import ruled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from random import Random

    from actorstream import Stream
    from actorstream.graph.nodes import Node
    from actorstream.graph.plan import Chain, Plan
    from actorstream.operators.timed import TimedDefinition
    from actorstream.state.stack import Run
    from tests.state.rig import Shelf
    from tests.time.driving import Case
from tests.time.rescaling_steps import GROUPS, Passed, Records, Rescale, Step, Told, group_of

SECOND = 1_000_000


class Expiring(KeyedProcess[str, Event, Any]):
    """States that expire by event time, shown by records and timers."""

    seen: ValueState[int] = ValueState(0, ttl=TTL(4, domain="event"))
    by_value: MapState[int, int] = MapState(ttl=TTL(9, domain="event", refresh="read"))

    def on_element(self, event: Event, ctx: Context[str], /) -> Iterator[Any]:
        yield ctx.key, event.number, self.seen, sorted(self.by_value.items()), ctx.watermark
        if event.value % 3:
            self.seen += 1
            self.by_value[event.value % 4] = event.number
        if event.value > 7:
            ctx.set_timer(event.at + (event.value - 9) * 4)

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> Iterator[Any]:
        yield ctx.key, timer, self.seen, sorted(self.by_value.items()), ctx.watermark
        self.seen += 100


def _expiring(left: Stream[Event], right: Stream[Event]) -> dict[str, Stream[Any]]:
    return {"results": left.union(right).key_by(lambda event: event.key).process(Expiring)}


MOVED: dict[str, Case] = {
    **{name: case for name, case in CASES.items() if name not in {"windows on all", "all of a union with itself"}},
    "expiring by event time": _expiring,
    "broadcast, two inputs": ruled,
}
"""What is not keyed has one subtask, whatever the parallelism."""


class Given(NamedTuple):
    """What came out: of which stream, and whether those behind had been told a later time."""

    stream: str
    value: Any


@dataclass
class Moved:
    """What a subtask begins from."""

    watermark: Restored
    runs: list[Run] = field(default_factory=list)
    unkeyed: Unkeyed | None = None


class Planned:
    """The operator of a case whose results are looked at, at any parallelism."""

    def __init__(self, case: str) -> None:
        self.pipeline = Pipeline("moved", max_parallelism=GROUPS)
        sources: list[list[Event]] = [[], []]
        left, right = (
            self.pipeline.source(each, name=f"in{number}").assign_timestamps(lambda event: event.at)
            for number, each in enumerate(sources)
        )
        streams = MOVED[case](left, right)
        edges = {name: stream.origin.inputs[0] for name, stream in streams.items()}
        behind = "small" if "small" in edges else "results"
        self.node = edges[behind].source
        self.taps = {(edge.source, edge.output): name for name, edge in edges.items() if edge.source == self.node}
        self.wants_changes = case.startswith("table")
        self.by_clock = "by the clock" in case
        self.broadcasts = case.startswith("broadcast")
        self._plans: dict[int, Plan] = {}

    def chain(self, parallelism: int) -> Chain:
        plan = self._plans.get(parallelism)
        if plan is None:
            graph = self.pipeline.draft.graph()
            name = next(node.name for node in graph.nodes if node.id == self.node)
            plan = plan_graph(graph, parallelism=2, has_store=False, of_operators={name: parallelism})
            self._plans[parallelism] = plan
        chain = plan.chain_of[self.node]
        assert chain.head.id == self.node
        return chain


class One:
    """One subtask."""

    def __init__(self, planned: Planned, chain: Chain, number: int, groups: KeyGroupRange, moved: Moved) -> None:
        self.planned, self.groups, self.chain = planned, groups, chain
        self.clock = SteppingClock()
        node = cast("Node", chain.stateful)
        process = make_process(node.spec.factory, node.spec.owner) if isinstance(node.spec, ProcessSpec) else None
        self.state = OperatorState(
            operator=OperatorNumber(1),
            columns=[
                StateColumn(StateNumber(place), column.name, column.kind, column.codec)
                for place, column in enumerate(columns_of(node, process), 1)
            ],
            key_groups=groups,
            max_parallelism=GROUPS,
            stack=LayerStack.covering(groups, moved.runs),
            name=node.name,
        )
        self.runner = runner = ChainRunner(chain, number, Pace(self.clock, ThreadOffload()), SubtaskStatistics())
        bindings = Bindings(state=self.state, timed=chain.outputs)
        if isinstance(node.spec, TimedSpec):
            definition = cast("TimedDefinition", node.spec.definition)
            bindings.operator = definition.open(node.name, self.state, self.clock)
        elif process is not None:
            place = number, chain.parallelism
            made = ProcessBinding(node.name, cast("Any", process), self.state, self.clock, place, moved.unkeyed)
            bindings.process = made
        self.lanes = {exchange: Mailbox[Any, Any](1, 1_000_000).lanes[0] for exchange in chain.outputs}
        runner.outputs = {exchange: ExchangeOutput(exchange, [lane]) for exchange, lane in self.lanes.items()}
        self.given: list[Given] = []
        for tap, name in planned.taps.items():
            runner.taps[tap] = [self._tap(name)]
        known = moved.watermark
        runner.time = EventTime(chain, ["the channel"], self.clock, source=False)
        runner.time.restore(
            known.time_of(chain, number),
            known.parts_of(chain),
            [None],
            known.reached_by(chain, number),
            known.floors_of(chain, groups),
        )
        runner.bind(bindings)
        runner.turn_ends = 1e9

    def _tap(self, stream: str) -> Any:
        async def tap(values: Sequence[object]) -> None:
            self.given += [Given(stream, value) for value in values]

        return tap

    def _value(self, side: int, event: Event) -> object:
        if side and self.planned.wants_changes:
            return Change(event.key, None, event.number if event.value % 4 else None)
        return event

    async def take(self, side: int, events: Sequence[Event]) -> None:
        await self.finish()
        times = [event.at * SECOND for event in events]
        to_all = side and self.planned.broadcasts
        keys: list[object] | None = None if to_all else [event.key for event in events]
        await self.runner.work(Batch([self._value(side, event) for event in events], times, keys), 0, side)
        await self.finish()

    async def told(self, watermark: int) -> None:
        assert self.runner.time is not None
        self.runner.time.on_watermark(0, watermark * SECOND)

    async def finish(self) -> None:
        while self.runner.is_due:
            await self.runner.fire()
        self.runner.tell()

    async def passed(self, seconds: int) -> None:
        await self.finish()
        self.clock.seconds += seconds
        while self.runner.clock_due_us < self.clock.now_us():
            await self.runner.fire(self.clock.now_us())
        await self.finish()

    async def end(self) -> None:
        assert self.runner.time is not None
        self.runner.time.on_end(0)
        await self.finish()

    def too_late(self) -> set[Any]:
        """Give what was sent behind a watermark that those behind had been told."""
        late: set[Any] = set()
        for lane in self.lanes.values():
            told = -TIME_MAX
            for item in lane.items:
                if isinstance(item, Watermark):
                    told = max(told, item.time_us)
                elif isinstance(item, Batch):
                    marks = item.marks or [told] * len(item)
                    for value, at, mark in zip(item.values, item.timestamps or (), marks, strict=False):
                        told = max(told, mark)
                        if at <= told:
                            late.add(repr(value))
                    told = max(told, item.watermark if item.watermark is not None else told)
        return late


def unkeyed_in(runs: list[Run], state: OperatorState, parallelism: int) -> Unkeyed:
    """Read what belongs to no key, as a restore does."""
    stack = LayerStack.covering(KeyGroupRange(0, GROUPS), runs)
    columns = [column for column in state.columns if column.kind == "broadcast"]
    found = {column.name: list(read_broadcast(stack, OperatorNumber(1), column)) for column in columns}
    stack.release()
    return Unkeyed(parallelism, found)


class Subtasks:
    """All subtasks, as they are now."""

    def __init__(self, planned: Planned, parallelism: int) -> None:
        self.planned = planned
        self.subtasks: list[One] = []
        self.given: list[Given] = []
        self.late: set[Any] = set()
        self._start(parallelism, [], Restored())

    def _start(self, parallelism: int, runs: list[Run], known: Restored, unkeyed: Unkeyed | None = None) -> None:
        self.chain = self.planned.chain(parallelism)
        self.subtasks = [
            One(self.planned, self.chain, number, range_of(number, parallelism, GROUPS), Moved(known, runs, unkeyed))
            for number in range(parallelism)
        ]

    def owner(self, group: int) -> One:
        return self.subtasks[owner_of(group, len(self.subtasks), GROUPS)]

    async def rescale(self, parallelism: int, shelf: Shelf, random: Random, *, undone: bool) -> None:
        seconds = self.subtasks[0].clock.seconds
        for one in self.subtasks:
            while one.runner.is_due and (not undone or not one.runner.may_pause or random.random() < 0.5):
                await one.runner.fire()
            if not one.runner.is_due:
                one.runner.tell()
            shelf.checkpoint(one.state)
        reports = {
            SubtaskId(self.chain.name, number): SnapshotReport(time=one.runner.time_report())
            for number, one in enumerate(self.subtasks)
        }
        name = cast("Node", self.chain.stateful).name
        times = {subtask.subtask: report.time for subtask, report in reports.items() if report.time is not None}
        floors = [
            Floor(KeyGroupRange(start, end), watermark)
            for start, end, watermark in floors_of(self.chain, reports, GROUPS)
        ]
        runs = [run for one in self.subtasks for run in one.state.stack.runs()]
        self.collect()
        known = Restored(times={self.chain.name: times}, floors={name: floors})
        self._start(parallelism, runs, known, unkeyed_in(runs, self.subtasks[0].state, len(self.subtasks)))
        for one in self.subtasks:
            one.clock.seconds = seconds

    async def take(self, step: Records | Passed) -> None:
        for one in self.subtasks:
            if isinstance(step, Passed):
                await one.passed(step.seconds)
                continue
            for side in (0, 1):
                to_all = side and self.planned.broadcasts
                mine = [
                    each
                    for where, each in step.events
                    if where == side and (to_all or group_of(each) in range(*one.groups))
                ]
                if mine:
                    await one.take(side, mine)

    async def end(self) -> None:
        for one in self.subtasks:
            await one.finish()
            await one.end()
        self.collect()

    def collect(self) -> None:
        for one in self.subtasks:
            self.given += one.given
            self.late |= set() if self.planned.by_clock else one.too_late()
            one.given = []


async def run(case: str, steps: Iterable[Step], first: int, shelf: Shelf, random: Random) -> tuple[Subtasks, Subtasks]:
    """Give the run that was rescaled, and the one that was not."""
    planned = Planned(case)
    moved, still = Subtasks(planned, first), Subtasks(planned, GROUPS)
    for step in steps:
        match step:
            case Told(group, watermark):
                owner = moved.owner(group)
                await owner.told(watermark)
                for each in range(*owner.groups):
                    await still.owner(each).told(watermark)
            case Rescale(parallelism, undone):
                await moved.rescale(parallelism, shelf, random, undone=undone)
            case _:
                for each_run in (moved, still):
                    await each_run.take(step)
    for each_run in (moved, still):
        await each_run.end()
    return moved, still
