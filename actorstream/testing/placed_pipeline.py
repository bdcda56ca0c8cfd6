"""A user's pipeline on a simulated machine: the same operators, with inputs and outputs that a simulation can hold.

    list, @replayable, own Source     read as they are
    EventLog as a source              a copy of it on the simulated disk, up to its end
    EventLog as a sink                a log of the same kind on the simulated disk
    a Sink with `committed()`         as it is: a double of an outside system (see `outside`)
    a plain function as a sink        called as it is; what it is called with is noted
    a stream that nobody reads        gets a `Ledger`

What cannot be simulated is refused by name: an iterator (what is in flight at a crash is lost), a sink that nobody can
look into.
"""

# ruff: noqa: SLF001  (the parts of a log's view, and a log's codec, have no public name)

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from actorstream.api.draft import Draft
from actorstream.connectors.memory import SequenceSource
from actorstream.errors import PlanError
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.view import LogStart, LogStop, LogView
from actorstream.graph.nodes import CallSpec, Edge, Forward, Node, NodeId, SinkSpec, SourceSpec
from actorstream.graph.render import function_name
from actorstream.model.connect import RetainingSource
from actorstream.testing.committed import mark, read_log
from actorstream.testing.ends import Pile, RetainingTrickle, SlowSink, Trickle
from actorstream.testing.ledger import Ledger, Outside, ReadableSink, running_in
from actorstream.testing.raising import raising
from actorstream.testing.session import BrokenPromiseError, Places
from actorstream.testing.unsimulated import CannotBeSimulatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from actorstream.api.pipeline import Pipeline
    from actorstream.graph.nodes import LogicalGraph
    from actorstream.model.connect import Source
    from actorstream.testing.committed import Rows
    from actorstream.testing.disk import SimulatedDisk
    from actorstream.testing.session import Session
    from actorstream.testing.simulation_plan import Plan


@dataclass
class Surroundings:
    """What outlives the processes of one run, beside the disk.

    Attributes:
        savepoints: The folders of those that the job said it had made.
        begun_from: The one that the next process is to begin from.
        forks: By name, the savepoint that each was begun from.
    """

    root: str
    outside: Outside = field(default_factory=Outside)
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    called: dict[str, list[object]] = field(default_factory=dict)
    readable: dict[str, ReadableSink] = field(default_factory=dict)
    zombies: bool = False
    savepoints: list[str] = field(default_factory=list)
    begun_from: str | None = None
    forks: dict[str, str] = field(default_factory=dict)


class PlacedPipeline:
    """What `make` gives, to be run any number of times.

    Attributes:
        name: Of the pipeline.
    """

    def __init__(self, make: Callable[[], Pipeline]) -> None:
        """Call it once, and refuse what cannot be simulated.

        Raises:
            PlanError: Names it, and what to put in its place.
        """
        self._make = make
        self._outputs: dict[str, EventLog[Any] | None] = {}
        self._held: dict[str, list[Hashable]] = {}
        self._inputs: dict[str, EventLog[Any]] = {}
        graph = self._graph(Outside())
        self.name = graph.name
        self._lengths: list[int | None] = []
        for node in graph.nodes:
            self._look_at(node)
        for node in _unread(graph):
            self._outputs[_ledger_name(node)] = None
        written = {log.path for log in self._outputs.values() if log is not None}
        for path in self._inputs:
            if not os.path.exists(f"{path}/LOG") and path not in written:
                raise PlanError(
                    f"simulate: there is no log at {path} to take a copy of: append the records of the test to it "
                    "before, or give the pipeline a list"
                )

    @property
    def max_parallelism(self) -> int:
        """The most subtasks of an operator."""
        return self._graph(Outside()).max_parallelism

    @property
    def records(self) -> int | None:
        """How many the longest input has, if all are lists: then a run can take the first ones only."""
        known = [length for length in self._lengths if length is not None]
        return max(known) if known and len(known) == len(self._lengths) else None

    def _graph(self, systems: Outside) -> LogicalGraph:
        with running_in(systems):
            pipeline: object = self._make()
        draft = getattr(pipeline, "draft", None)
        if not isinstance(draft, Draft):
            raise PlanError(
                f"simulate: {name_of(self._make)} gave a {type(pipeline).__name__}, expected a plain function that "
                "returns the Pipeline that it has built"
            )
        return draft.graph()

    def _look_at(self, node: Node) -> None:
        match node.spec:
            case SourceSpec(source=source, replay=replay):
                if replay != "replayable":
                    raise PlanError(
                        f"simulate: {node.name!r} reads an iterator, and what is in flight at a crash would be lost: "
                        "give it a list, an EventLog, or a @replayable function"
                    )
                self._lengths.append(_length_of(source))
                log = _log_of(source)
                if log is not None:
                    self._inputs[log.path] = log
            case SinkSpec(sink=EventLog() as log):
                if not any(known is not None and known.path == log.path for known in self._outputs.values()):
                    self._outputs[node.name] = log
            case SinkSpec(sink=sink):
                if not isinstance(sink, ReadableSink):
                    raise PlanError(
                        f"simulate: nobody can look into the {type(sink).__name__} that {node.name!r} writes to: give "
                        "it a method committed() that lists what is visible in its target, or write to an EventLog"
                    )
                self._outputs[node.name] = None
            case _:
                pass

    # ---- a machine and its processes

    def lay_out(self, root: str) -> None:
        """Put copies of the logs that are read on a disk that is to be at `root`."""
        for path in self._inputs:
            if os.path.exists(f"{path}/LOG"):
                shutil.copytree(path, root + path, ignore=shutil.ignore_patterns("*-lock"))

    def graph_for(self, plan: Plan, session: Session, around: Surroundings) -> tuple[LogicalGraph, Places, Places]:
        """Give the graph of one process, with the places where functions raise and where sources are out of reach."""
        graph = self._graph(around.outside)
        raises, readings = Places(session.raises), Places(session.disconnects)
        if session.raises:
            raising(graph, raises)
        logs: dict[str, EventLog[Any]] = {}
        for node in _unread(graph):
            name = _ledger_name(node)
            ledger = around.ledgers.setdefault(name, Ledger(name))
            spec = SinkSpec(ledger)
            graph.nodes.append(Node(NodeId(len(graph.nodes)), name, spec, (Edge(node.id, Forward()),), named=True))
        for number, node in enumerate(graph.nodes):
            if isinstance(node.spec, SourceSpec):
                source = _source(node.spec.source, plan, around.root, readings, logs)
                graph.nodes[number] = replace(node, spec=SourceSpec(source, "replayable"))
            elif isinstance(node.spec, SinkSpec):
                sink: Any = node.spec.sink
                if isinstance(sink, EventLog):
                    sink = _placed(sink, around.root, logs)
                elif isinstance(sink, ReadableSink):
                    self._check_target(node.name, sink, around.readable.get(node.name))
                    around.readable[node.name] = sink
                if session.slow or session.raises:
                    sink = SlowSink(sink, session.slow, raises)
                graph.nodes[number] = replace(node, spec=SinkSpec(sink))
            elif isinstance(node.spec, CallSpec):
                called = around.called.setdefault(node.name, [])
                graph.nodes[number] = replace(node, spec=replace(node.spec, fn=_noting(node.spec, called)))
        return graph, raises, readings

    def _check_target(self, name: str, sink: ReadableSink, before: ReadableSink | None) -> None:
        """Refuse a double that outlives its run, or is made anew with each process."""
        mend = f"make it where the pipeline is built, by outside({type(sink).__name__}), or what it writes to"
        if before is None:
            holds = list(map(mark, sink.committed()))
            if self._held.setdefault(name, holds) != holds:
                raise CannotBeSimulatedError(
                    f"simulate: what {name!r} writes to holds at the beginning of a run what an earlier one has "
                    f"written: {mend}"
                )
        elif before is not sink and before.committed() and not sink.committed():
            raise CannotBeSimulatedError(
                f"simulate: what {name!r} writes to is there no more when the next process begins: {mend}"
            )

    # ---- what came of it

    def exactly(self, disk: SimulatedDisk, around: Surroundings, fork: str = "") -> Mapping[str, Rows]:
        """Give what is visible in every target that takes output exactly once: the job's, or those of a fork."""
        found: dict[str, Rows] = {}
        for ledger in (each.forked(fork) if fork else each for each in around.ledgers.values()):
            if ledger.broken and not around.zombies:  # a zombie does not know; that the ledger refuses it is right
                raise BrokenPromiseError("fenced", ledger.broken[0])
        for name, log in self._outputs.items():
            if log is not None:
                folder = around.root + (log.forked(fork) if fork else log).path
                try:
                    found[name] = read_log(disk, folder, log._codec().decode)
                except Exception as error:  # whatever it is: a reader of the log would meet it
                    raise BrokenPromiseError("readable", f"{name!r}: {type(error).__name__}: {error}") from error
            elif name in around.readable:
                sink = around.readable[name]
                found[name] = [list((sink.forked(fork) if fork and isinstance(sink, Ledger) else sink).committed())]
        return found


def _unread(graph: LogicalGraph) -> Sequence[Node]:
    """Give the operators whose results nobody reads, sinks apart."""
    read = {edge.source for node in graph.nodes for edge in (*node.inputs, *node.back) if not edge.output}
    return [node for node in graph.nodes if node.id not in read and not isinstance(node.spec, SinkSpec | CallSpec)]


def _ledger_name(node: Node) -> str:
    return f"{node.name}.output"


def _length_of(source: object) -> int | None:
    return len(source.values) if isinstance(source, SequenceSource) else None


def _log_of(source: object) -> EventLog[Any] | None:
    if isinstance(source, EventLog):
        return source
    if isinstance(source, LogView):
        return cast("EventLog[Any]", source._part.__self__)  # type: ignore[attr-defined]
    return None


def _placed(log: EventLog[Any], root: str, logs: dict[str, EventLog[Any]]) -> EventLog[Any]:
    """Give the log's place on the simulated disk; one object for one path, as in the user's program."""
    if log.path not in logs:
        logs[log.path] = log.at(root + log.path)
    return logs[log.path]


def _source(
    source: Source[Any, Any], plan: Plan, root: str, readings: Places, logs: dict[str, EventLog[Any]]
) -> Source[Any, Any]:
    log = _log_of(source)
    if log is not None:
        start, stop = (source._start, source._stop) if isinstance(source, LogView) else ("earliest", None)
        end = "now" if stop is None else stop
        source = _placed(log, root, logs).view(start=cast("LogStart", start), stop=cast("LogStop", end))
    elif isinstance(source, SequenceSource):
        values = source.values if plan.records is None else list(source.values)[: plan.records]
        if plan.in_memory:
            return Pile([values], plan.pause)
        source = SequenceSource(values)
    if isinstance(source, RetainingSource):
        return RetainingTrickle(source, plan.pause, readings)
    return Trickle(source, plan.pause, readings)


def _noting(spec: CallSpec, called: list[object]) -> Callable[[object], object]:
    """Call as before; note what with, once the call is over."""
    fn: Callable[..., Any] = spec.fn
    if not spec.is_async:

        def call(value: object) -> object:
            result = fn(value)
            called.append(value)
            return result

        return call

    async def wait(value: object) -> object:
        result = await fn(value)
        called.append(value)
        return result

    return wait


def name_of(make: Callable[..., object]) -> str:
    """Give the name by which a test calls a function of its own, such as its pipeline."""
    return function_name(make)
