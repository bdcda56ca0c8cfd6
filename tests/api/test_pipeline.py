"""Pipelines: what may be read, what is promised of it, and how a pipeline describes itself."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.connectors.iterables import AsyncIterableSource, IterableSource
from actorstream.connectors.memory import SequenceSource
from actorstream.errors import PlanError
from actorstream.graph.nodes import SourceSpec
from actorstream.model.connect import Fetched, replayable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence


async def numbers() -> AsyncIterator[int]:
    yield 1


async def waits() -> list[int]:
    return [1]


def generate() -> Iterator[int]:
    yield 1


@replayable
async def ticks(after: int | None) -> AsyncIterator[tuple[int, float]]:
    yield (after or 0) + 1, 0.5


class Paged:
    """A source."""

    async def splits(self) -> Sequence[str]:
        """Name one."""
        return ["0"]

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, str]]:
        """Give one."""
        yield Fetched(["a"], 0)


class Polled(Paged):
    """A source whose read was meant to yield."""

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, str]]:  # type: ignore[override]
        """Give an awaitable by mistake."""
        raise NotImplementedError


def source_of(given: Any) -> SourceSpec:
    p = Pipeline("p")
    p.source(given)
    spec = p.draft.nodes[0].spec
    assert isinstance(spec, SourceSpec)
    return spec


def test_a_source_is_taken_as_it_is() -> None:
    paged = Paged()
    assert [source_of(given).source for given in (paged, ticks)] == [paged, ticks]
    assert source_of(paged).replay == source_of(ticks).replay == "replayable"


@pytest.mark.parametrize("given", [[1], (1,), range(3), deque([1])])
def test_a_sequence_replays(given: Sequence[int]) -> None:
    spec = source_of(given)
    assert isinstance(spec.source, SequenceSource)
    assert spec.replay == "replayable"


@pytest.mark.parametrize("given", [generate(), {1, 2}, {1: 2}, iter([1])])
def test_any_other_iterable_does_not_replay(given: object) -> None:
    """A set has an order of its own in every process; an iterator is read once."""
    spec = source_of(given)
    assert isinstance(spec.source, IterableSource)
    assert spec.replay == "not replayable"


@pytest.mark.parametrize("given", [numbers(), numbers, partial(numbers)])
def test_an_async_iterable_or_what_gives_one_does_not_replay(given: object) -> None:
    spec = source_of(given)
    assert isinstance(spec.source, AsyncIterableSource)
    assert spec.replay == "not replayable"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("lines.txt", "a str would be read element by element; put it into a list"),
        (b"ab", "a bytes would be read element by element"),
        (3, r"source\(3\): expected a Source, an iterable"),
        (waits, r"source\(waits\): expected a Source"),
        (generate, r"source\(generate\): expected a Source"),
        (Paged, "is the class of a source: pass an instance"),
        (Polled(), r"source\(Polled\): `async def read` has no `yield`"),
    ],
)
def test_what_cannot_be_read_is_refused_where_it_is_given(given: object, message: str) -> None:
    """The traceback then points at the line that is wrong."""
    with pytest.raises(PlanError, match=message):
        source_of(given)


def test_a_pipeline_knows_its_name() -> None:
    assert Pipeline("page-views").name == "page-views"


WORD_COUNT = """\
pipeline word-count, max parallelism 128
not durable unless run with store=...
replay: deterministic; nothing goes to sink-3: no EventLog

chain source-0, 1 subtask
  source-0: source SequenceSource: replayable
    flat_map-1: flat_map
      count-2: count (keyed)
        sink-3: sink print: at least once
"""


def test_a_pipeline_describes_itself() -> None:
    """Golden: the first thing a newcomer prints."""
    p = Pipeline("word-count")
    p.source(["a b", "b"]).flat_map(str.split).key_by(lambda word: word).count().sink(print)
    assert p.describe() == WORD_COUNT
    assert p.describe("mermaid").startswith("---\n")


def test_describing_what_cannot_run_says_why() -> None:
    with pytest.raises(PlanError, match="nothing is read"):
        Pipeline("p").describe()
