"""Streams are lazy values: their methods add operators and touch no record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.errors import PlanError
from actorstream.graph.nodes import (
    CallSpec,
    Edge,
    FilterSpec,
    FlatMapSpec,
    Forward,
    Keyed,
    MapSpec,
    NodeId,
    Rebalance,
    SinkSpec,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from actorstream.api.stream import Stream
    from actorstream.model.connect import SinkContext, SinkWriter


class Upload:
    """A sink."""

    def writer(self, ctx: SinkContext, /) -> AbstractAsyncContextManager[SinkWriter[object]]:
        """Not called: nothing runs here."""
        raise NotImplementedError


def never(value: int) -> Any:
    raise AssertionError(value)


async def waits(value: int) -> int:
    return value


@pytest.fixture
def stream() -> Stream[int]:
    return Pipeline("p").source([1, 2])


def test_each_method_adds_one_operator_that_reads_the_stream(stream: Stream[int]) -> None:
    """And calls no function of the user's."""
    stream.map(never)
    stream.filter(never)
    stream.flat_map(never)
    nodes = stream.origin.draft.nodes[1:]
    assert [node.spec for node in nodes] == [MapSpec(never), FilterSpec(never), FlatMapSpec(never)]
    assert all(node.inputs == (Edge(NodeId(0), Forward()),) for node in nodes)


def test_a_stream_is_a_value(stream: Stream[int]) -> None:
    """Used twice, it feeds both; nothing of it changes."""
    before = stream.origin.inputs
    left, right = stream.map(never), stream.map(never)
    assert stream.origin.inputs == before
    assert left.origin.node.inputs == right.origin.node.inputs == before


def test_a_union_costs_no_operator(stream: Stream[int]) -> None:
    stream.map(never, name="a").union(stream.map(never, name="b"), stream).map(never)
    assert [edge.source for edge in stream.origin.draft.nodes[-1].inputs] == [1, 2, 0]
    assert len(stream.origin.draft.nodes) == 4


def test_a_union_across_pipelines_is_refused(stream: Stream[int]) -> None:
    with pytest.raises(PlanError, match=r"pipeline 'other' cannot join one of pipeline 'p'.*through an EventLog"):
        stream.union(Pipeline("other").source([1]))


def test_how_records_are_distributed_is_said_last(stream: Stream[int]) -> None:
    """`rebalance().key_by(f)` is keyed: one hop, not two."""
    assert stream.rebalance().origin.inputs == (Edge(NodeId(0), Rebalance()),)
    assert stream.rebalance().key_by(never).origin.inputs == (Edge(NodeId(0), Keyed(never)),)


@pytest.mark.parametrize("method", ["key_by", "inspect", "assign_timestamps"])
def test_an_async_function_is_refused_where_nobody_awaits_it(stream: Stream[int], method: str) -> None:
    """Otherwise its coroutines would travel as records, never awaited."""
    with pytest.raises(PlanError, match=rf"{method}\(waits\): async functions are not supported here yet"):
        getattr(stream, method)(waits)


def test_a_sink_writes_in_step_with_checkpoints(stream: Stream[int]) -> None:
    upload = Upload()
    stream.sink(upload)
    assert stream.origin.draft.nodes[-1].spec == SinkSpec(upload)


@pytest.mark.parametrize(("fn", "is_async"), [(print, False), (waits, True)])
def test_a_function_is_a_sink_too(stream: Stream[int], fn: Callable[[int], object], *, is_async: bool) -> None:
    stream.sink(fn, name="out")
    node = stream.origin.draft.nodes[-1]
    assert (node.name, node.spec) == ("out", CallSpec(fn, is_async))


@pytest.mark.parametrize(
    ("sink", "message"), [(Upload, "is the class of a sink: pass an instance"), (3, "expected a Sink")]
)
def test_what_is_no_sink_is_refused(stream: Stream[int], sink: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        stream.sink(sink)
