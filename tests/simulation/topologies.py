"""Random topologies: what a seed draws, the pipeline of it, and what that is to give by a plain sequential model.

    sources ──> shape ──> a tally by key ──> tail ──> logs
    a, b        chain     parallelism 1-4    none
                union                        two-input join
                diamond                      window, with late and equal timestamps
                exchange                     async functions with dead letters, time limits, by key
                fan                          max, min_by, top_n, distinct, reducing and aggregating states
                broadcast
                loop

A new edge is one entry in SHAPES: how it is built, and what becomes of one event behind it. A new end is one in TAILS.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from actorstream.api.draft import Origin
from actorstream.api.table import Table
from actorstream.eventlog.log import EventLog
from actorstream.graph.nodes import Edge, Forward
from actorstream.operators.windows.assigners import Tumbling
from actorstream.testing.committed import Expected
from actorstream.testing.ledger import outside
from tests.simulation.calling_tails import call_all, called
from tests.simulation.evolution_oracles import plain
from tests.simulation.going_round import TurnsModel, going_round, rests
from tests.simulation.jobs import Output, SimulatedJob, Stage, by_amount, tagged
from tests.simulation.lanes import (
    DELAY,
    WINDOW,
    LaneTally,
    LaneTallyModel,
    Pairs,
    Probe,
    lane_of,
    late_row,
    paired,
    poisoned,
    tallied,
    time_of,
    window_row,
    windowed,
)
from tests.simulation.small_tails import ask_all, asked, put_small_ones, small_rows
from tests.simulation.stages import Event, Result, make_events
from tests.simulation.topology_versions import LEAF, TO_LEAF, LeafModel, count_one, upgraded
from tests.simulation.unkeyed_stages import Checked, CheckedModel

if TYPE_CHECKING:
    from actorstream.api.pipeline import Pipeline
    from actorstream.api.stream import Stream
    from actorstream.model.connect import Sink, Source

Streams: TypeAlias = "Mapping[str, Stream[Event]]"
Sinks: TypeAlias = "Mapping[str, Sink[Result]]"
Inputs: TypeAlias = Mapping[str, Sequence[Event]]
Rows: TypeAlias = Mapping[str, Sequence[object]]

_NOTHING_LATE = 1_000
_OLDEST = ("join", "none", "table", "window")
_NEWER = ((0.3, ("asking", "small")), (0.15, ("calling",)))  # drawn last: other seeds stay what they were
_SIDES = ("left", "right")


@dataclass(frozen=True)
class Topology:
    """One pipeline, as a seed draws it.

    Attributes:
        shape: One of SHAPES.
        tail: One of TAILS.
        events: How many each source has.
        wide: Subtasks of the tally and what follows it; 0: as the job has.
        poison: Some records raise when they are first met.
    """

    seed: int
    shape: str
    tail: str
    events: int
    wide: int
    poison: bool

    def make(self, probe: Probe | None = None, version: int = 0) -> Pipeline:
        """Build it, as the program of one process; `probe` sees what comes in, and what a table gives."""
        met: Counter[Event] = outside(Counter)
        logs: dict[str, Sink[Result]] = {
            sink: EventLog(Result, f"/simulated/{sink}", partitions=2, key=lambda result: result.key)
            for sink in self.sinks
        }
        sources: Mapping[str, Source[Event, int]] = self.inputs()  # type: ignore[assignment]  # lists are sources too
        return self.job(met, poison=self.poison, probe=probe, version=version).pipeline(sources, logs)

    def job(
        self, met: Counter[Event], *, poison: bool = False, probe: Probe | None = None, version: int = 0
    ) -> SimulatedJob:
        """Give the job with the models of its stages."""
        probe = probe or Probe()

        def build(pipeline: Pipeline, streams: Streams, sinks: Sinks) -> None:
            self._build(streams, sinks, poisoned(met, probe, is_on=poison), probe, with_leaf=version == 1)
            upgraded(pipeline, version)

        shape = SHAPES[self.shape]
        stages = {**shape.stages, LEAF: Stage(LeafModel, feeds=shape.feeds)} if version == 1 else shape.stages
        outputs = {sink: Output("tally") for sink in self.sinks}
        return SimulatedJob("random", build, stages, outputs, shape.sources, droppable=frozenset({LEAF}))

    def _build(
        self,
        streams: Streams,
        sinks: Sinks,
        poison: Callable[[Event], Event],
        probe: Probe,
        *,
        with_leaf: bool,
    ) -> None:
        delay = self.delay
        timed = {
            name: stream.assign_timestamps(_seconds, out_of_orderness=delay, name=f"t-{name}")
            for name, stream in streams.items()
        }
        met = {name: stream.map(poison).map(probe.enter) for name, stream in timed.items()}
        events = SHAPES[self.shape].build(met)
        if with_leaf:
            way = events.map(lambda event: event, name=TO_LEAF)
            way.key_by(_key_of_event).fold(0, count_one, name=LEAF)
            # Two ways that meet at the tally meet there still: what is in flight on one of them has to go on.
            events = events if SHAPES[self.shape].meets else way
        TAILS[self.tail].build(self, Ends(events, timed["a"], sinks, probe))

    @property
    def delay(self) -> int:
        """By how much records may come late: only with one way from one source it is sure which are too late."""
        return DELAY if self.shape == "chain" else _NOTHING_LATE

    @property
    def sinks(self) -> Sequence[str]:
        """Name its outputs."""
        return TAILS[self.tail].sinks

    def inputs(self) -> dict[str, list[Event]]:
        """Give the records of each source."""
        return {source: make_events(source, self.events, self.seed) for source in SHAPES[self.shape].sources}

    def expected(self) -> Expected:
        """Give what is to come out: by the models alone."""
        return Expected(self.outputs(self.inputs()), lane_of)  # type: ignore[arg-type]

    def pairs(self, fed: Inputs, taken: Inputs) -> Rows:
        """Give what a join has given when so much had come out of the shape, and so much from the source itself."""
        return {"pairs-out": paired(_fed(self, fed), taken["a"])} if self.tail == "join" else {}

    def outputs(self, inputs: Inputs) -> Rows:
        """Give what comes of these inputs, by sink."""
        return {**SHAPES[self.shape].beside(inputs), **TAILS[self.tail].model(self, inputs)}


def draw_topology(seed: int, **fixed: object) -> Topology:
    """Draw one; `fixed` are attributes that are not left to chance."""
    rng = random.Random(f"topology {seed}")
    drawn = Topology(
        seed,
        shape=rng.choice(sorted(SHAPES)),
        tail=rng.choice(_OLDEST),
        events=rng.choice((10, 25, 40)),
        wide=rng.choice((0, 0, 1, 2, 4)),
        poison=rng.random() < 0.2,
    )
    for share, tails in _NEWER:
        if rng.random() < share:
            drawn = replace(drawn, tail=rng.choice(tails))
    return replace(drawn, **fixed)  # type: ignore[arg-type]


# ---- shapes: what lies between the sources and the tally


@dataclass(frozen=True)
class Shape:
    """How streams become one.

    Attributes:
        build: The operators.
        feeds: What one event of a source is behind them, in order.
        sources: Which there are.
        key: Of the tally behind them; its lanes must come there one way.
        before: Stages among them.
        beside: What comes out of them for which there is no sink.
        meets: Several streams come together at the tally itself.
    """

    build: Callable[[Streams], Stream[Event]]
    feeds: Callable[[Event], Iterable[Event]] = lambda event: (event,)
    sources: tuple[str, ...] = ("a",)
    key: Callable[[Event], str] = lambda event: event.key
    before: Mapping[str, Stage] = field(default_factory=dict)
    beside: Callable[[Inputs], Mapping[str, Sequence[object]]] = lambda _: {}
    meets: bool = False

    @property
    def stages(self) -> Mapping[str, Stage]:
        """Give all stages, the tally last."""
        return {**self.before, "tally": Stage(LaneTallyModel, self.key, self.feeds)}


def _key_of_event(event: Event) -> str:
    return event.key


def _seconds(event: Event) -> float:
    return float(time_of(event))


def _passes(event: Event) -> bool:
    return event.amount >= 10


def _chain(streams: Streams) -> Stream[Event]:
    return streams["a"].map(lambda event: event).filter(_passes)


def _union(streams: Streams) -> Stream[Event]:
    return streams["a"].union(streams["b"])


def _diamond(streams: Streams) -> Stream[Event]:
    left, right = (streams["a"].map(tagged(side), name=side, new_chain=True) for side in _SIDES)
    return left.union(right)


def _exchange(streams: Streams) -> Stream[Event]:
    first = streams["a"].key_by(_key_of_event).process(LaneTally, name="first")
    return first.map(lambda result: result.event)


def _fan(streams: Streams) -> Stream[Event]:
    return streams["a"].flat_map(_both_sides)


def _both_sides(event: Event) -> list[Event]:
    return [tagged(side)(event) for side in _SIDES]


def _broadcast(streams: Streams) -> Stream[Event]:
    """Of `b` every subtask has all, and one of them tells. What it makes of it comes out beside."""
    checked = streams["a"].key_by(_key_of_event).connect(streams["b"].broadcast()).process(Checked, name="checked")
    checked.map(lambda result: result, name="told")
    return checked.map(lambda result: result.event)


def _told(inputs: Inputs) -> Rows:
    models: dict[str, CheckedModel] = {}
    events = [event for events in inputs.values() for event in events]
    return {
        "told.output": [models.setdefault(each.key, CheckedModel()).step(each.key, each) for each in events],
    }


def _loop(streams: Streams) -> Stream[Event]:
    return going_round(streams["a"])


def _rested(inputs: Inputs) -> Rows:
    return {"rest": rests(inputs["a"])}


SHAPES: Mapping[str, Shape] = {
    "chain": Shape(_chain, lambda event: (event,) if _passes(event) else ()),
    "union": Shape(_union, sources=("a", "b"), meets=True),
    "diamond": Shape(_diamond, _both_sides, meets=True),
    "exchange": Shape(_exchange, key=by_amount, before={"first": Stage(LaneTallyModel)}),
    "fan": Shape(_fan, _both_sides),
    "broadcast": Shape(
        _broadcast, sources=("a", "b"), key=by_amount, before={"checked": Stage(CheckedModel)}, beside=_told
    ),
    "loop": Shape(_loop, before={"turns": Stage(TurnsModel, inside=True)}, beside=_rested),
}


# ---- tails: what follows


@dataclass(frozen=True)
class Ends:
    """What a tail has to do with: the events behind the shape, the source itself, logs, and who looks on."""

    events: Stream[Event]
    source: Stream[Event]
    sinks: Sinks
    probe: Probe


@dataclass(frozen=True)
class Tail:
    """What is done with the events behind a shape.

    Attributes:
        build: The operators, and what they write to.
        model: What each sink gets in the end.
    """

    build: Callable[[Topology, Ends], None]
    model: Callable[[Topology, Inputs], Mapping[str, Sequence[object]]]
    sinks: tuple[str, ...] = ("out",)


def _tallied_to_log(topology: Topology, ends: Ends) -> None:
    keyed = ends.events.key_by(SHAPES[topology.shape].key)
    if topology.wide:
        results = keyed.process(LaneTally, name="tally", parallelism=topology.wide)
        results.sink(ends.sinks["out"], name="out", parallelism=topology.wide)
    else:
        keyed.process(LaneTally, name="tally").sink(ends.sinks["out"], name="out")


def _fed(topology: Topology, inputs: Inputs) -> list[Event]:
    feeds = SHAPES[topology.shape].feeds
    return [fed for events in inputs.values() for event in events for fed in feeds(event)]


def _table(topology: Topology, ends: Ends) -> None:
    """Beside the tally a table, for queries."""
    _tallied_to_log(topology, ends)
    ends.events.key_by(_key_of_event).count(name="counts").map(ends.probe.emit, name="rows")


def table_in(pipeline: Pipeline) -> Table[str, int]:
    """Give the table of a topology that has one."""
    node = next(node for node in pipeline.draft.nodes if plain(node.name) == "counts")
    return Table(Origin(pipeline.draft, (Edge(node.id, Forward()),)))


def _counts(events: Iterable[Event]) -> list[tuple[str, int]]:
    seen: Counter[str] = Counter()
    rows = []
    for event in events:
        seen[event.key] += 1
        rows.append((event.key, seen[event.key]))
    return rows


def _join(topology: Topology, ends: Ends) -> None:
    _tallied_to_log(topology, ends)
    lefts, rights = ends.events.key_by(_key_of_event), ends.source.key_by(_key_of_event)
    lefts.connect(rights).process(Pairs, name="pairs").sink(ends.sinks["pairs"], name="pairs-out")


def _window(topology: Topology, ends: Ends) -> None:
    _tallied_to_log(topology, ends)
    windows = ends.events.key_by(_key_of_event).window(Tumbling(WINDOW)).sum(lambda event: event.amount, name="windows")
    windows.map(window_row).sink(ends.sinks["windows"], name="windows-out")
    windows.late.map(late_row).sink(ends.sinks["late"], name="late-out")


def _window_model(topology: Topology, inputs: Inputs) -> Rows:
    if topology.shape == "chain":
        windows, late = windowed(inputs["a"], topology.delay, _passes)
    else:
        windows, late = windowed(_fed(topology, inputs), topology.delay, lambda _: True)
    return {**_tally_model(topology, inputs), "windows-out": windows, "late-out": late}


def _tally_model(topology: Topology, inputs: Inputs) -> Rows:
    return {"out": tallied(_fed(topology, inputs), SHAPES[topology.shape].key)}


def _join_model(topology: Topology, inputs: Inputs) -> Rows:
    return {**_tally_model(topology, inputs), "pairs-out": paired(_fed(topology, inputs), inputs["a"])}


def _table_model(topology: Topology, inputs: Inputs) -> Rows:
    return {**_tally_model(topology, inputs), "rows.output": _counts(_fed(topology, inputs))}


def _beside(put: Callable[[Stream[Event]], None], rows: Callable[[Sequence[Event]], Rows]) -> Tail:
    """Put operators whose rows have no sink beside the tally."""

    def build(topology: Topology, ends: Ends) -> None:
        _tallied_to_log(topology, ends)
        put(ends.events)

    return Tail(build, lambda topology, inputs: {**_tally_model(topology, inputs), **rows(_fed(topology, inputs))})


TAILS: Mapping[str, Tail] = {
    "none": Tail(_tallied_to_log, _tally_model),
    "table": Tail(_table, _table_model),
    "join": Tail(_join, _join_model, ("out", "pairs")),
    "window": Tail(_window, _window_model, ("out", "windows", "late")),
    "asking": _beside(ask_all, asked),
    "small": _beside(put_small_ones, small_rows),
    "calling": _beside(call_all, called),
}
