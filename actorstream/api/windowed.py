"""Windowed streams: what is computed of the records of a key within each window.

    clicks.key_by(page).window(Tumbling(60), allowed_lateness=300)    WindowedStream[str, Click]
                       .count(name="per-minute")                      WindowResults[str, Click, int]
                       .late                                          Stream[Click]

Where windows are aligned, built-in functions and those with `merge` share slices: the cost of a record
does not grow with size / slide.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from actorstream.api.functions import is_async, require_plain
from actorstream.api.stream import Stream
from actorstream.errors import PlanError
from actorstream.graph.nodes import MapSpec, TimedSpec
from actorstream.operators.timed import LATE_OUTPUT
from actorstream.operators.windows.aggregates import (
    aggregating,
    applying,
    counting,
    extreme,
    extreme_by,
    folding,
    processing,
    reducing,
    summing,
)
from actorstream.operators.windows.definition import WindowDefinition, check
from actorstream.operators.windows.durations import span_us
from actorstream.operators.windows.results import WindowResult
from actorstream.operators.windows.sliced_definition import SlicedDefinition
from actorstream.operators.windows.window_process import WindowProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from actorstream.api.draft import Origin
    from actorstream.api.options import Duration, Options
    from actorstream.operators.windows.aggregates import Aggregate, Aggregation
    from actorstream.operators.windows.assigners import WindowAssigner
    from actorstream.operators.windows.definition import Emit
    from actorstream.operators.windows.triggers import Trigger

K = TypeVar("K")
N = TypeVar("N", int, float, Decimal)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class WindowResults(Stream[WindowResult[K, R_co]], Generic[K, T_co, R_co]):
    """What windows give, each result with its key, start and end."""

    __slots__ = ("_windows",)

    def __init__(self, origin: Origin, windows: Origin | None = None) -> None:
        """Stand for the results, which `windows` gave, if not `origin` itself."""
        super().__init__(origin)
        self._windows = origin if windows is None else windows

    @property
    def late(self) -> Stream[T_co]:
        """Records that came after their window's allowed lateness. Not read: counted and dropped."""
        return Stream(self._windows.side(LATE_OUTPUT))


class WindowedStream(Generic[K, T_co]):
    """Records by key and window. Each method adds an operator of its own."""

    __slots__ = ("_allowed_lateness_us", "_emit", "_trigger", "_windows", "origin")

    def __init__(
        self,
        origin: Origin,
        windows: WindowAssigner[T_co],
        *,
        trigger: Trigger[T_co] | None = None,
        allowed_lateness: Duration = 0,
        emit: Emit = "on_close",
    ) -> None:
        """Put the records of `origin`, whose edges carry the key, into windows; `KeyedStream.window` makes these.

        Raises:
            PlanError: The windows cannot be: see `definition.check`.
        """
        self.origin = origin
        self._windows = windows
        self._trigger = trigger
        self._allowed_lateness_us = span_us(allowed_lateness, "window: allowed_lateness", least_us=0)
        self._emit: Emit = emit
        check(windows, trigger, self._allowed_lateness_us, emit)

    def count(self, **options: Unpack[Options]) -> WindowResults[K, T_co, int]:
        """Count the records.

        Raises:
            PlanError: An option is misspelt.
        """
        return self._add(counting(), options)

    def sum(self, fn: Callable[[T_co], N], **options: Unpack[Options]) -> WindowResults[K, T_co, N]:
        """Add up a number of each record, from 0.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "sum")
        return self._add(summing(fn), options)

    def min(self, fn: Callable[[T_co], R], **options: Unpack[Options]) -> WindowResults[K, T_co, R]:
        """Find the least fn(record).

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "min")
        return self._add(extreme(fn, "min"), options)

    def max(self, fn: Callable[[T_co], R], **options: Unpack[Options]) -> WindowResults[K, T_co, R]:
        """Find the greatest fn(record).

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "max")
        return self._add(extreme(fn, "max"), options)

    def min_by(self, fn: Callable[[T_co], Any], **options: Unpack[Options]) -> WindowResults[K, T_co, T_co]:
        """Find the record with the least fn(record); of equal ones the first that came.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "min_by")
        return self._add(extreme_by(fn, "min_by"), options)

    def max_by(self, fn: Callable[[T_co], Any], **options: Unpack[Options]) -> WindowResults[K, T_co, T_co]:
        """Find the record with the greatest fn(record); of equal ones the first that came.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "max_by")
        return self._add(extreme_by(fn, "max_by"), options)

    def reduce(
        self: WindowedStream[K, T], fn: Callable[[T, T], T], **options: Unpack[Options]
    ) -> WindowResults[K, T, T]:
        """Combine the records, and where windows merge or share slices the values: fn(value, record or value).

        So it must not matter in which pairs they are combined.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "reduce")
        return self._add(reducing(fn), options)

    def fold(
        self,
        initial: S,
        fn: Callable[[S, T_co], S],
        *,
        merge: Callable[[S, S], S] | None = None,
        **options: Unpack[Options],
    ) -> WindowResults[K, T_co, S]:
        """Combine the records into a value of any type, from a copy of `initial`: value = fn(value, record).

        Sessions and sliding windows combine values: give `merge`. Otherwise a session keeps every record until it
        fires, and folds them in the order of their time; of sliding windows each has a value of its own.

        Raises:
            PlanError: A function is async, or an option is misspelt.
        """
        require_plain(fn, "fold")
        if merge is not None:
            require_plain(merge, "fold: merge")
        return self._add(folding(initial, fn, merge), options)

    def aggregate(self, aggregate: Aggregate[T_co, Any, R], **options: Unpack[Options]) -> WindowResults[K, T_co, R]:
        """Compute what an object of yours says.

        Raises:
            PlanError: It lacks a method, or one is async, or an option is misspelt.
        """
        for name in ("create", "add", "merge", "result"):
            method = getattr(aggregate, name, None)
            if isinstance(aggregate, type) or not callable(method):
                raise PlanError(f"aggregate({aggregate!r}): expected an object with create, add, merge and result")
            require_plain(method, f"aggregate: {name}")
        return self._add(aggregating(aggregate), options)

    def apply(self, fn: Callable[[Sequence[T_co]], R], **options: Unpack[Options]) -> WindowResults[K, T_co, R]:
        """Give fn(all records): they are kept until the window is dropped.

        They come in the order of their time, those of one time as they came.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "apply")
        return self._add(applying(fn), options)

    def process(
        self, op: Callable[[], WindowProcess[K, T_co, R]], /, **options: Unpack[Options]
    ) -> WindowResults[K, T_co, R]:
        """Run a class of your own on all records of each window, with state of the window and of the key.

        Args:
            op: The class, or a function that builds one: it is called once for each subtask.
            options: The name defaults to the class's.

        Raises:
            PlanError: `op` is an instance or has an async handler, or an option is misspelt.
        """
        given: object = op
        if isinstance(given, WindowProcess) or not callable(given):
            raise PlanError(f"process({given!r}): pass the class, or a function that builds one for each subtask")
        owner = op if isinstance(op, type) else None
        if owner is not None and not issubclass(owner, WindowProcess):
            raise PlanError(f"process({owner.__name__}): derive the class from WindowProcess")
        if is_async(getattr(op, "on_window", None)):
            raise PlanError(f"process({op.__name__}): on_window is async: make it a plain method or generator")
        return self._add(processing(), options, op, None if owner is None else owner.__name__)

    def _add(
        self,
        aggregation: Aggregation,
        options: Options,
        process: Callable[[], WindowProcess[Any, Any, Any]] | None = None,
        name: str | None = None,
    ) -> WindowResults[K, Any, Any]:
        definition = WindowDefinition(
            self._windows, aggregation, self._trigger, self._allowed_lateness_us, self._emit, process
        )
        sliced = definition.aligned is not None
        spec = TimedSpec(SlicedDefinition(definition) if sliced else definition)
        return WindowResults(self.origin.then(spec, options, name))


class AllWindowedStream(WindowedStream[None, T_co]):
    """Records by window only: one subtask has them all, and results have no key."""

    __slots__ = ()

    def _add(
        self,
        aggregation: Aggregation,
        options: Options,
        process: Callable[[], WindowProcess[Any, Any, Any]] | None = None,
        name: str | None = None,
    ) -> WindowResults[None, Any, Any]:
        if options.get("parallelism", 1) != 1:
            raise PlanError(
                f"window_all: parallelism is {options['parallelism']!r}, expected 1: one subtask has all records; for "
                "more say key_by(...).window(...)"
            )
        windows = super()._add(aggregation, {**options, "parallelism": 1}, process, name).origin
        return WindowResults(windows.then(MapSpec(_without_key), {"parallelism": 1}), windows)


def _without_key(result: WindowResult[Any, Any]) -> WindowResult[None, Any]:
    return WindowResult(None, result.start, result.end, result.value)
