"""The jobs that the simulation runs: each a pipeline, and what must be true of it.

stage    a keyed operator of the pipeline, with the model of what it must remember and give out
feeds    what one event of the input becomes at a stage (a diamond makes two of it)
output   which results of which stage a sink gets
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from actorstream.api.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from actorstream.api.stream import Stream
    from actorstream.model.connect import Sink, Source

from tests.simulation.stages import (
    DiaryModel,
    Event,
    FoldModel,
    Forgetful,
    ForgetfulModel,
    LatestModel,
    Model,
    NoModel,
    Notebook,
    NotebookModel,
    Result,
    Tally,
    TallyModel,
    add_up,
    write_down,
)
from tests.simulation.unkeyed_stages import Checked, CheckedModel, Keeper, KeeperModel

MAX_PARALLELISM = 8


# -- the jobs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """A keyed operator, or a stateless way to a sink (`stateful` off); `inside` a loop, or not."""

    model: Callable[[], Model]
    key: Callable[[Event], str] = lambda event: event.key
    feeds: Callable[[Event], Iterable[Event]] = lambda event: (event,)
    stateful: bool = True
    inside: bool = False


@dataclass(frozen=True)
class Output:
    """What a sink gets: the results of a stage that pass."""

    stage: str
    passes: Callable[[Result], bool] = lambda _: True


@dataclass(frozen=True)
class SimulatedJob:
    """A pipeline, and what must be true of it. `droppable`: stages that it can do without, as nothing follows them.

    `alone`: operators that can be rescaled alone. Between two of different parallelism that no key lies between, the
    order of lanes is lost.
    """

    name: str
    build: Callable[[Pipeline, Mapping[str, Stream[Event]], Mapping[str, Sink[Result]]], None]
    stages: Mapping[str, Stage]
    outputs: Mapping[str, Output]
    sources: tuple[str, ...] = ("a",)
    droppable: frozenset[str] = frozenset()
    alone: tuple[str, ...] = ()

    def pipeline(self, sources: Mapping[str, Source[Event, int]], sinks: Mapping[str, Sink[Result]]) -> Pipeline:
        """Build the pipeline on these ends."""
        pipeline = Pipeline(self.name, max_parallelism=MAX_PARALLELISM)
        streams = {name: pipeline.source(source, name=f"in-{name}") for name, source in sources.items()}
        self.build(pipeline, streams, sinks)
        return pipeline


def _chain(_: Pipeline, streams: Mapping[str, Stream[Event]], sinks: Mapping[str, Sink[Result]]) -> None:
    kept = streams["a"].map(lambda event: event).filter(lambda event: event.amount >= 10)
    kept.map(lambda event: Result(event.key, event, 0, 0)).sink(sinks["out"], name="out")


def _keyed(_: Pipeline, streams: Mapping[str, Stream[Event]], sinks: Mapping[str, Sink[Result]]) -> None:
    streams["a"].key_by(lambda event: event.key).process(Tally, name="tally").sink(sinks["out"], name="out")


def _exchanges(_: Pipeline, streams: Mapping[str, Stream[Event]], sinks: Mapping[str, Sink[Result]]) -> None:
    first = streams["a"].key_by(lambda event: event.key).process(Tally, name="first")
    again = first.map(lambda result: result.event).key_by(by_amount)
    again.process(Tally, name="second").sink(sinks["out"], name="out")


def by_amount(event: Event) -> str:
    """Key of a second exchange."""
    return f"m{event.amount % 3}"


def _union(_: Pipeline, streams: Mapping[str, Stream[Event]], sinks: Mapping[str, Sink[Result]]) -> None:
    both = streams["a"].union(streams["b"])
    both.key_by(lambda event: event.key).process(Tally, name="tally").sink(sinks["out"], name="out")


def _diamond(_: Pipeline, streams: Mapping[str, Stream[Event]], sinks: Mapping[str, Sink[Result]]) -> None:
    left, right = (streams["a"].map(tagged(side), name=side, new_chain=True) for side in ("left", "right"))
    both = left.union(right).key_by(lambda event: event.key)
    both.process(Tally, name="tally").sink(sinks["out"], name="out")


def tagged(side: str) -> Callable[[Event], Event]:
    """One way through the diamond."""
    return lambda event: replace(event, source=f"{event.source}/{side}")


def _two_sinks(_: Pipeline, streams: Mapping[str, Stream[Event]], sinks: Mapping[str, Sink[Result]]) -> None:
    results = streams["a"].key_by(lambda event: event.key).process(Tally, name="tally")
    results.sink(sinks["all"], name="all")
    results.filter(odd).sink(sinks["odd"], name="odd")


def odd(result: Result) -> bool:
    """What the second sink gets."""
    return result.event.amount % 2 == 1


def _forgetful(_: Pipeline, streams: Mapping[str, Stream[Event]], sinks: Mapping[str, Sink[Result]]) -> None:
    streams["a"].key_by(lambda event: event.key).process(Forgetful, name="forgetful").sink(sinks["out"], name="out")


def _aggregates(_: Pipeline, streams: Mapping[str, Stream[Event]], sinks: Mapping[str, Sink[Result]]) -> None:
    keyed = streams["a"].key_by(lambda event: event.key)
    initial: tuple[int, int, Event | None] = (0, 0, None)
    sums = keyed.fold(initial, add_up, name="sums")
    sums.map(_result_of).sink(sinks["out"], name="out")
    keyed.latest(lambda event: event if event.seq % 5 else None, name="latest")


def _result_of(update: tuple[str, tuple[int, int, Event | None]]) -> Result:
    key, (count, total, event) = update
    assert event is not None
    return Result(key, event, count, total)


def _in_place(_: Pipeline, streams: Mapping[str, Stream[Event]], sinks: Mapping[str, Sink[Result]]) -> None:
    keyed = streams["a"].key_by(lambda event: event.key)
    keyed.process(Notebook, name="notebook").sink(sinks["out"], name="out")
    empty: list[int] = []
    keyed.fold(empty, write_down, name="diary")


def _around(_: Pipeline, streams: Mapping[str, Stream[Event]], sinks: Mapping[str, Sink[Result]]) -> None:
    """With one subtask all of it is one actor, whose key is made in the middle: sinks before, behind and beside it."""
    events = streams["a"].filter(lambda event: event.amount >= 0)
    events.map(lambda event: Result(event.key, event, 0, 0)).sink(sinks["before"], name="before")
    tallied = events.key_by(attrgetter("key")).process(Tally, name="tally")
    tallied.sink(sinks["behind"], name="behind")
    events.map(lambda event: Result(event.key, event, 0, 0)).filter(odd).sink(sinks["beside"], name="beside")


def _without_key(_: Pipeline, streams: Mapping[str, Stream[Event]], sinks: Mapping[str, Sink[Result]]) -> None:
    """A broadcast stream, and a process without key in the actor of a source."""
    keyed = streams["a"].key_by(lambda event: event.key)
    keyed.connect(streams["b"].broadcast()).process(Checked, name="checked").sink(sinks["out"], name="out")
    streams["a"].process(Keeper, name="keeper").sink(sinks["kept"], name="kept")


_SIDES = ("left", "right")
_OUT = {"out": Output("tally")}
JOBS: Mapping[str, SimulatedJob] = {
    job.name: job
    for job in (
        SimulatedJob(
            "chain",
            _chain,
            {"way": Stage(NoModel, stateful=False)},
            {"out": Output("way", lambda result: result.event.amount >= 10)},
        ),
        SimulatedJob("keyed", _keyed, {"tally": Stage(TallyModel)}, _OUT, alone=("in-a",)),
        SimulatedJob(
            "exchanges",
            _exchanges,
            {"first": Stage(TallyModel), "second": Stage(TallyModel, by_amount)},
            {"out": Output("second")},
            alone=("in-a",),
        ),
        SimulatedJob("union", _union, {"tally": Stage(TallyModel)}, _OUT, ("a", "b"), alone=("in-b",)),
        SimulatedJob(
            "diamond",
            _diamond,
            {"tally": Stage(TallyModel, feeds=lambda event: [tagged(side)(event) for side in _SIDES])},
            _OUT,
        ),
        SimulatedJob(
            "two-sinks", _two_sinks, {"tally": Stage(TallyModel)}, {"all": Output("tally"), "odd": Output("tally", odd)}
        ),
        SimulatedJob("forgetful", _forgetful, {"forgetful": Stage(ForgetfulModel)}, {"out": Output("forgetful")}),
        SimulatedJob(
            "in-place",
            _in_place,
            {"notebook": Stage(NotebookModel), "diary": Stage(DiaryModel)},
            {"out": Output("notebook")},
            droppable=frozenset({"diary"}),
            alone=("in-a",),
        ),
        SimulatedJob(
            "around",
            _around,
            {"way": Stage(NoModel, stateful=False), "tally": Stage(TallyModel)},
            {"before": Output("way"), "behind": Output("tally"), "beside": Output("way", odd)},
        ),
        SimulatedJob(
            "aggregates",
            _aggregates,
            {"sums": Stage(FoldModel), "latest": Stage(LatestModel)},
            {"out": Output("sums")},
            droppable=frozenset({"latest"}),
            alone=("in-a",),
        ),
        SimulatedJob(
            "without-key",
            _without_key,
            {
                "checked": Stage(CheckedModel),
                "keeper": Stage(KeeperModel, feeds=lambda event: (event,) if event.source == "a" else ()),
            },
            {"out": Output("checked"), "kept": Output("keeper")},
            ("a", "b"),
            alone=("in-b",),
        ),
    )
}

DRAWN = [name for name in JOBS if name != "without-key"]
"""What a seed chooses from: it means what it meant before there were others, whose tests name them."""
