"""Pipelines: where a stream begins, and where a program is run or drawn.

p = Pipeline("page-views")
views = p.source(clicks).key_by(lambda c: c.page).count(name="views")
async with p.run(store="data") as job: ...        or: await p.run()
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from inspect import iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, cast, overload

from actorstream.api.draft import Draft
from actorstream.api.keyed import KeyedStream
from actorstream.api.options import check_run_options
from actorstream.api.stream import Stream
from actorstream.api.windowed import AllWindowedStream
from actorstream.connectors.iterables import AsyncIterableSource, IterableSource
from actorstream.connectors.memory import SequenceSource
from actorstream.errors import PlanError
from actorstream.graph.chaining import plan_graph
from actorstream.graph.nodes import SourceSpec
from actorstream.graph.render import describe, function_name
from actorstream.model.connect import FedSource, Source
from actorstream.model.key_groups import MAX_PARALLELISM_DEFAULT

if TYPE_CHECKING:
    from actorstream.api.options import Options, RunOptions
    from actorstream.api.run import Run
    from actorstream.graph.nodes import Replay

T = TypeVar("T")


class Pipeline:
    """A program over streams, built once and run any number of times."""

    __slots__ = ("draft",)

    def __init__(self, name: str, *, max_parallelism: int = MAX_PARALLELISM_DEFAULT) -> None:
        """Begin an empty pipeline.

        Args:
            name: The job's folder in a store. Letters, digits, '.', '_', '-'.
            max_parallelism: The most subtasks that an operator can ever have; fixed for the life of the state.
        """
        self.draft = Draft(name, max_parallelism, KeyedStream, AllWindowedStream)

    @property
    def name(self) -> str:
        """The name given."""
        return self.draft.name

    @overload
    def source(self, source: Source[T, Any], /, **options: Unpack[Options]) -> Stream[T]: ...
    @overload
    def source(self, source: Iterable[T], /, **options: Unpack[Options]) -> Stream[T]: ...
    @overload
    def source(
        self, source: AsyncIterable[T] | Callable[[], AsyncIterable[T]], /, **options: Unpack[Options]
    ) -> Stream[T]: ...
    def source(self, source: object, /, **options: Unpack[Options]) -> Stream[Any]:
        """Read records.

        A `Source` (an EventLog is one) and a sequence are read again after a
        failure, from where the checkpoint stands. An iterator or async iterator
        goes on where it is: what was in flight is lost, and `describe` says so.

        Args:
            source: What to read. A function that gives an async iterable is called at each start.
            options: Name, parallelism, new_chain.

        Raises:
            PlanError: It is none of these, or an option is misspelt.
        """
        return Stream(self.draft.add(_source_spec(source), (), options))

    def run(self, **options: Unpack[RunOptions]) -> Run:
        """Give a run: `async with` it beside your code, or `await` it until every input has ended.

        Raises:
            PlanError: An option is misspelt or of a wrong type, or the pipeline cannot run.
        """
        # The composition root imports everything; a pipeline that is only described needs none of it.
        from actorstream.api.run import Run  # noqa: PLC0415

        check_run_options(options)
        return Run(self.draft.graph(), options)

    def describe(self, format: Literal["text", "mermaid"] = "text") -> str:  # noqa: A002
        """Draw the pipeline: actors, how records get from one to the next, what is promised of inputs and outputs.

        Raises:
            PlanError: The pipeline cannot run, or there is no such format.
        """
        return describe(plan_graph(self.draft.graph(), has_store=False), None, format)


def _source_spec(source: object) -> SourceSpec:
    """Sort what the user gave by what it can promise."""
    reader: object
    replay: Replay = "not replayable"
    if isinstance(source, Source):
        _check_source(source)
        reader, replay = source, "not replayable" if isinstance(source, FedSource) else "replayable"
    elif isinstance(source, str | bytes):
        kind = type(source).__name__
        raise PlanError(f"source({source[:40]!r}): a {kind} would be read element by element; put it into a list")
    elif isinstance(source, Sequence):
        reader, replay = SequenceSource(source), "replayable"
    elif isinstance(source, Iterable):
        reader = IterableSource(source)
    elif isinstance(source, AsyncIterable) or _gives_async_iterable(source):
        reader = AsyncIterableSource(cast("AsyncIterable[object]", source))
    else:
        shown = function_name(source) if callable(source) else repr(source)
        raise PlanError(
            f"source({shown}): expected a Source, an iterable, an async iterable, or a function that gives "
            "an async iterable (`async def` with a `yield`)"
        )
    return SourceSpec(cast("Source[object, object]", reader), replay)


def _check_source(source: Source[object, object]) -> None:
    if isinstance(source, type):
        raise PlanError(f"source({source.__name__}): that is the class of a source: pass an instance")
    if iscoroutinefunction(source.read):
        raise PlanError(
            f"source({type(source).__name__}): `async def read` has no `yield`, so it gives an awaitable; "
            "write it as an async generator"
        )


def _gives_async_iterable(source: object) -> bool:
    """Tell whether a function can be one that gives an async iterable: what it gives is seen only when called."""
    return callable(source) and not iscoroutinefunction(source) and not isgeneratorfunction(source)
