"""Records that could not be recorded are refused before the job runs, where functions say what they give."""

from __future__ import annotations

import socket
from collections import abc
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.settings import Settings
from actorstream.errors import JobFailed, PlanError
from actorstream.graph.chaining import plan_graph
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.runtime.encodable import check_encodable, check_loops_encodable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from actorstream.api.stream import Stream
    from actorstream.operators.contexts import Context


class Opaque:
    """No record."""


class Shape:
    """No record either, but what derives from it is."""


@dataclass(frozen=True)
class Circle(Shape):
    radius: float


class Side(Enum):
    LEFT = 1


class Sized(Protocol):
    size: int


def gives(kind: Any) -> Callable[[Any], Any]:
    def function(value: int) -> Any:
        return value

    function.__annotations__["return"] = kind
    return function


class Opens(KeyedProcess[int, int, socket.socket]):
    def on_element(self, value: int, ctx: Context[int], /) -> Iterator[socket.socket]:
        yield socket.socket()


Opens.on_element.__annotations__["return"] = abc.Iterator[socket.socket]


@pytest.mark.parametrize("kind", [Opaque, socket.socket, type(lambda: 0)])
def test_what_has_no_encoding_is_refused_with_the_exchange_and_what_to_do(kind: type) -> None:
    pipeline = Pipeline("t")
    stream = pipeline.source([1], name="in").map(gives(kind), name="opened").filter(bool)
    stream.key_by(lambda value: 1).count(name="count")
    with pytest.raises(
        PlanError, match=r"exchange 'count:0' .*'.*' gives .*make it a dataclass.*alignment_timeout=None"
    ):
        check_encodable(plan_graph(pipeline.draft.graph(), parallelism=2, has_store=False))
    check_encodable(plan_graph(pipeline.draft.graph(), parallelism=1, has_store=False))  # nothing goes anywhere


@pytest.mark.parametrize(
    "kind", [int, Circle, Shape, Side, Any, object, Sized, list[Opaque], "NobodyKnows", Opaque | None, dict, None]
)
def test_what_may_have_an_encoding_is_not_refused(kind: Any) -> None:
    """Also where only a run can tell: a word that says too little is no reason to refuse a pipeline that works."""
    pipeline = Pipeline("t")
    pipeline.source([1], name="in").map(gives(kind)).key_by(lambda value: 1).count(name="count")
    check_encodable(plan_graph(pipeline.draft.graph(), parallelism=2, has_store=False))


def test_what_a_process_says_counts_too() -> None:
    pipeline = Pipeline("t")
    opened = pipeline.source([1], name="in").key_by(lambda value: 1).process(Opens, name="opens")
    opened.map(lambda value: value, name="next", new_chain=True).sink(print)
    with pytest.raises(PlanError, match=r"exchange 'next:0'.*'opens' gives socket"):
        check_encodable(plan_graph(pipeline.draft.graph(), parallelism=2, has_store=False))


async def test_the_job_does_not_begin_where_barriers_may_overtake_and_runs_where_they_do_not(tmp_path: Path) -> None:
    def pipeline() -> Pipeline:
        made = Pipeline("t")
        made.source([1, 2], name="in").map(gives(Opaque)).key_by(lambda value: 1).count(name="count")
        return made

    with pytest.raises((PlanError, JobFailed), match="gives Opaque"):
        await pipeline().run(store=tmp_path, parallelism=2, settings=Settings(alignment_timeout=0))
    await pipeline().run(store=tmp_path, parallelism=2)


# ---- what goes round in a loop


def going_round(kind: Any) -> Pipeline:
    def body(values: Stream[Any]) -> tuple[Stream[Any], Stream[Any]]:
        less = values.map(gives(kind), name="less")
        return less.filter(bool, name="more"), less.filter(lambda value: not value)

    made = Pipeline("t")
    made.source([0], name="in").feedback(body, name="loop").sink(print, name="out")
    return made


@pytest.mark.parametrize("parallelism", [1, 2])
async def test_what_goes_round_without_an_encoding_is_refused_with_the_name_of_the_loop(parallelism: int) -> None:
    """Every checkpoint writes it down, so neither what barriers do matters nor how many actors there are."""
    match = r"loop 'loop' .*'more' gives back Opaque.*make it a dataclass"
    with pytest.raises(PlanError, match=match):
        check_loops_encodable(plan_graph(going_round(Opaque).draft.graph(), parallelism=parallelism, has_store=False))
    with pytest.raises((PlanError, JobFailed), match=match):
        await going_round(Opaque).run(parallelism=parallelism)


@pytest.mark.parametrize("kind", [int, Circle, Shape, Any, object, "NobodyKnows", None])
def test_what_goes_round_and_may_have_an_encoding_is_not_refused(kind: Any) -> None:
    check_loops_encodable(plan_graph(going_round(kind).draft.graph(), parallelism=2, has_store=False))
