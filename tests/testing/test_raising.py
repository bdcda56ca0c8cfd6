"""Every callback of a user's is among those that the simulation lets raise, by its operator's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream import (
    BroadcastContext,
    BroadcastProcess,
    Context,
    Fire,
    Pipeline,
    Session,
    Trigger,
    Tumbling,
    WindowProcess,
)
from actorstream.graph.nodes import ProcessSpec
from actorstream.testing.raising import raising
from actorstream.testing.session import DisturbanceError, Places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorstream.api.stream import Stream


class Rules(BroadcastProcess[int, int, int, int]):
    def on_element(self, value: int, ctx: Context[int]) -> list[int]:
        return [value]

    def on_broadcast(self, value: int, ctx: BroadcastContext) -> list[int]:
        return [value]


class Sizes(WindowProcess[int, int, int]):
    def on_window(self, key: int, window: object, values: Sequence[int], ctx: object) -> Iterator[int]:
        yield len(values)


class Largest:
    def create(self) -> int:
        return 0

    def add(self, accumulator: int, value: int, /) -> int:
        return max(accumulator, value)

    def merge(self, left: int, right: int, /) -> int:
        return max(left, right)

    def result(self, accumulator: int, /) -> int:
        return accumulator


def spec_of(build: Callable[[Stream[int]], object]) -> Any:
    """Give what became of the last operator of a stream, every call of which is to raise."""
    pipeline = Pipeline("p")
    build(pipeline.source([1, 2]).assign_timestamps(float))
    graph = pipeline.draft.graph()
    raising(graph, Places(range(1, 100)))
    return graph.nodes[-1].spec


def key(value: int) -> int:
    return value


def raises(call: Callable[..., object], *given: object) -> None:
    with pytest.raises(DisturbanceError, match="the simulation let"):
        call(*given)


def test_both_sides_of_a_broadcast_process() -> None:
    spec = spec_of(lambda numbers: numbers.key_by(key).connect(numbers.broadcast()).process(Rules))
    assert isinstance(spec, ProcessSpec)
    process: Any = spec.factory()
    raises(process.on_element, 1, None)
    raises(process.on_broadcast, 1, None)


@pytest.mark.parametrize("call", ["add", "merge", "result"])
def test_what_is_computed_of_a_window(call: str) -> None:
    """Whatever the windows are: some share slices."""
    sliced = spec_of(lambda numbers: numbers.key_by(key).window(Tumbling(10)).aggregate(Largest()))
    merging = spec_of(lambda numbers: numbers.key_by(key).window(Session(10)).aggregate(Largest()))
    for definition in (sliced.definition.windows, merging.definition):
        raises(getattr(definition.aggregation, call), 1, 2)


def test_a_function_of_all_records_of_a_window() -> None:
    spec = spec_of(lambda numbers: numbers.key_by(key).window(Tumbling(10)).process(Sizes))
    raises(spec.definition.process().on_window, 1, None, [], None)
    spec = spec_of(lambda numbers: numbers.key_by(key).window(Tumbling(10)).apply(len))
    raises(spec.definition.aggregation.result, [])


class Fifth(Trigger[int]):
    def on_element(self, value: int, window: object, ctx: object, /) -> Fire:
        return "fire" if value % 5 == 0 else "continue"


def test_a_trigger() -> None:
    """One of the user's own; those that are there to be taken are left as they are."""
    spec = spec_of(lambda numbers: numbers.key_by(key).window(Tumbling(10), trigger=Fifth()).count())
    raises(spec.definition.trigger.on_element, 5, None, None)
    assert (
        type(spec_of(lambda numbers: numbers.key_by(key).window(Session(10)).count()).definition.trigger) is not Fifth
    )


def test_a_function_of_both_sides_of_a_window() -> None:
    spec = spec_of(
        lambda numbers: numbers.key_by(key).cogroup(numbers.key_by(key), Tumbling(10), lambda a, b: [(a, b)])
    )
    raises(spec.definition.fn, [], [])
