"""Keyed streams: each method is one stateful operator behind a keyed edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.stream import Stream
from actorstream.api.table import Table
from actorstream.errors import PlanError
from actorstream.graph.nodes import (
    CountSpec,
    Edge,
    ExtremeSpec,
    FoldSpec,
    Keyed,
    LatestSpec,
    MapWithStateSpec,
    NodeId,
    ProcessSpec,
    ReduceSpec,
    TopSpec,
)
from actorstream.operators.distinct import Distinct
from actorstream.operators.keyed_process import KeyedProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorstream.api.keyed import KeyedStream
    from actorstream.graph.nodes import Spec
    from actorstream.operators.contexts import Context


def card(payment: int) -> int:
    return payment % 10


def other_card(payment: int) -> int:
    return payment // 10


def add(total: int, payment: int) -> int:
    return total + payment


def pair(total: int, payment: int) -> tuple[int, str]:
    return total, str(payment)


async def waits(*_: object) -> Any:
    return None


class Score(KeyedProcess[int, int, int]):
    """A process class."""

    def on_element(self, value: int, ctx: Context[int], /) -> Iterable[int]:
        """Give the record back."""
        yield value


@pytest.fixture
def keyed() -> KeyedStream[int, int]:
    return Pipeline("p").source([1]).key_by(card)


CASES: list[tuple[Callable[[KeyedStream[int, int]], Stream[Any]], Spec, bool]] = [
    (lambda keyed: keyed.count(), CountSpec(), True),
    (lambda keyed: keyed.reduce(add), ReduceSpec(add), True),
    (lambda keyed: keyed.min(card), ExtremeSpec(card, "min"), True),
    (lambda keyed: keyed.max(card), ExtremeSpec(card, "max"), True),
    (lambda keyed: keyed.min_by(card), ExtremeSpec(card, "min_by"), True),
    (lambda keyed: keyed.max_by(card), ExtremeSpec(card, "max_by"), True),
    (lambda keyed: keyed.top_n(2, card), TopSpec(card, 2), True),
    (lambda keyed: keyed.distinct(), ProcessSpec(Distinct, Distinct, word="distinct"), False),
    (lambda keyed: keyed.fold(0, add), FoldSpec(0, add), True),
    (lambda keyed: keyed.latest(card), LatestSpec(card), True),
    (lambda keyed: keyed.map_with_state(0, pair), MapWithStateSpec(0, pair), False),
    (lambda keyed: keyed.process(Score), ProcessSpec(Score, Score), False),
]


@pytest.mark.parametrize(("method", "spec", "table"), CASES)
def test_each_method_is_one_stateful_operator(
    keyed: KeyedStream[int, int], method: Callable[[KeyedStream[int, int]], Stream[Any]], spec: Spec, *, table: bool
) -> None:
    """Tables are those whose value can be asked for by key."""
    result = method(keyed)
    node = result.origin.node
    assert (node.spec, node.inputs) == (spec, (Edge(NodeId(0), Keyed(card)),))
    assert isinstance(result, Table) is table


def test_a_process_class_names_its_operator(keyed: KeyedStream[int, int]) -> None:
    """The class's name counts as given: state is found by it."""
    node = keyed.process(Score).origin.node
    assert (node.name, node.named) == ("Score", True)
    node = keyed.process(Score, name="risk").origin.node
    assert (node.name, node.named) == ("risk", True)


def test_a_function_that_builds_a_process_names_nothing(keyed: KeyedStream[int, int]) -> None:
    node = keyed.process(lambda: Score()).origin.node  # noqa: PLW0108
    assert (node.name, node.named) == ("process-1", False)


def test_a_union_keeps_each_streams_own_key(keyed: KeyedStream[int, int]) -> None:
    origin = keyed.origin.draft.nodes[0]
    both = keyed.union(Stream[int](keyed.origin.draft.add(origin.spec, (), {})).key_by(other_card))
    assert [edge.partitioning for edge in both.count().origin.node.inputs] == [Keyed(card), Keyed(other_card)]


def test_a_union_across_pipelines_is_refused(keyed: KeyedStream[int, int]) -> None:
    with pytest.raises(PlanError, match="cannot join"):
        keyed.union(Pipeline("other").source([1]).key_by(card))


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("reduce", (waits,)),
        ("fold", (0, waits)),
        ("latest", (waits,)),
        ("map_with_state", (0, waits)),
        ("min", (waits,)),
        ("max_by", (waits,)),
        ("top_n", (3, waits)),
    ],
)
def test_an_async_function_is_refused_where_it_is_given(
    keyed: KeyedStream[int, int], method: str, arguments: tuple[object, ...]
) -> None:
    """A coroutine would become the state."""
    with pytest.raises(PlanError, match=rf"{method}\(waits\): async"):
        getattr(keyed, method)(*arguments)


def test_an_instance_in_place_of_a_process_class_is_refused(keyed: KeyedStream[int, int]) -> None:
    with pytest.raises(PlanError, match="all subtasks would share"):
        keyed.process(Score())  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [0, -1, True, 1.5, "3"])
def test_a_ranking_of_no_number_is_refused(keyed: KeyedStream[int, int], n: Any) -> None:
    with pytest.raises(PlanError, match=r"top_n: n is .*expected an int of at least 1"):
        keyed.top_n(n, card)


@pytest.mark.parametrize("ttl", [0, -1, "1h"])
def test_distinct_of_no_duration_is_refused(keyed: KeyedStream[int, int], ttl: Any) -> None:
    with pytest.raises(PlanError, match="ttl"):
        keyed.distinct(ttl=ttl)
