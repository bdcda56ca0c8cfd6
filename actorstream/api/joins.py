"""Streams by key that meet: in one operator with state for both, pair by pair, window by window, or with a table.

placed.interval_join(paid, before=0, after=600)     pairs of records close in time
placed.cogroup(paid, Tumbling(60), fn)              all of both sides, by key and window
orders.join_table(customers)                        each record beside a table's value
orders.connect(payments).process(Match)             two handlers, one state
orders.connect(rules.broadcast()).process(Check)    the same rules for all keys
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from actorstream.api.functions import class_name, output_name, process_spec, require_plain
from actorstream.api.settings import duration_us
from actorstream.api.stream import BroadcastStream, Stream
from actorstream.api.table import Table
from actorstream.errors import PlanError
from actorstream.graph.nodes import Keyed, TimedSpec
from actorstream.operators.changes import VERSIONS_OUTPUT
from actorstream.operators.joins.cogroup import CoGroup, window_join
from actorstream.operators.joins.interval import IntervalJoin
from actorstream.operators.joins.table_join import TableJoin
from actorstream.operators.timed import LATE_OUTPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Unpack

    from actorstream.api.draft import Origin
    from actorstream.api.keyed import KeyedStream
    from actorstream.api.options import Duration, Options
    from actorstream.operators.contexts import OutputTag
    from actorstream.operators.failures import Failure
    from actorstream.operators.joins.interval import How
    from actorstream.operators.keyed_process import BroadcastProcess, KeyedCoProcess
    from actorstream.operators.retry import Retry
    from actorstream.operators.windows.assigners import WindowAssigner
    from actorstream.operators.windows.results import WindowResult

K = TypeVar("K")
R = TypeVar("R")
U = TypeVar("U")
V = TypeVar("V")
T_co = TypeVar("T_co", covariant=True)


class ConnectedStreams(Generic[K, T_co, U]):
    """Two streams with keys of one type, for an operator that knows which record came from which."""

    __slots__ = ("origin",)

    def __init__(self, origin: Origin) -> None:
        """Stand for both; `KeyedStream.connect` makes these."""
        self.origin = origin

    def process(
        self,
        op: Callable[[], KeyedCoProcess[K, T_co, U, R]],
        /,
        *,
        concurrency: int | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        errors: OutputTag[Failure[T_co | U]] | None = None,
        **options: Unpack[Options],
    ) -> Stream[R]:
        """Run a class of your own on the records of each key of both; its handlers may be async.

        Args:
            op: The class, or a function that builds one: it is called once for each subtask, the first
                time right here, to see what it builds.
            concurrency: Of async handlers, as the next two: see `KeyedStream.process`.
            timeout: How long one may take.
            retry: When one that raised is called again.
            errors: The side output of records, and timers, whose handler raises: what it did to states and timers, and
                what it gave, is undone. Without it the job fails.
            options: The name defaults to the class's.

        Raises:
            PlanError: `op` is an instance, or an option is misspelt or makes no sense.
        """
        calls = {"concurrency": concurrency, "timeout": timeout, "retry": retry}
        spec = process_spec(op, ("on_left", "on_right"), errors=errors, calls=calls)
        return Stream(self.origin.then(spec, options, class_name(spec)))


class BroadcastConnected(Generic[K, T_co, U]):
    """A stream with keys, and one beside it that every subtask has whole."""

    __slots__ = ("origin",)

    def __init__(self, origin: Origin) -> None:
        """Stand for both; `KeyedStream.connect` makes these."""
        self.origin = origin

    def process(
        self,
        op: Callable[[], BroadcastProcess[K, T_co, U, R]],
        /,
        *,
        errors: OutputTag[Failure[T_co | U]] | None = None,
        **options: Unpack[Options],
    ) -> Stream[R]:
        """Run a class of your own on the records of each key, beside what is broadcast.

        Args:
            op: The class, or a function that builds one: it is called once for each subtask.
            errors: The side output of records whose handler raises: what it did to states and timers, and what it gave,
                is undone. One that `on_broadcast` raises for comes from every subtask, for each was given the record.
                Without it the job fails.
            options: The name defaults to the class's.

        Raises:
            PlanError: `op` is an instance or has an async handler, or an option is misspelt.
        """
        spec = process_spec(op, ("on_element", "on_broadcast"), "broadcast", errors)
        return Stream(self.origin.then(spec, options, class_name(spec)))


class Joins(Generic[K, T_co]):
    """What keyed streams do with one another."""

    __slots__ = ()
    origin: Origin

    @overload
    def connect(self, other: BroadcastStream[U], /) -> BroadcastConnected[K, T_co, U]: ...
    @overload
    def connect(self, other: KeyedStream[K, U], /) -> ConnectedStreams[K, T_co, U]: ...
    def connect(
        self, other: KeyedStream[K, U] | BroadcastStream[U], /
    ) -> ConnectedStreams[K, T_co, U] | BroadcastConnected[K, T_co, U]:
        """Put this stream and another beside each other, for one operator with two inputs.

        Args:
            other: A stream with keys of the same type; or what `broadcast()` gives, which every subtask has whole.

        Raises:
            PlanError: The other belongs to another pipeline, or is neither.
        """
        if isinstance(other, BroadcastStream):
            return BroadcastConnected(self.origin.beside(other.origin))
        return ConnectedStreams(self.origin.beside(keyed_origin(other, "connect", "or broadcast() ")))

    @overload
    def interval_join(
        self,
        other: KeyedStream[K, U],
        *,
        before: Duration,
        after: Duration,
        how: Literal["inner"] = ...,
        late: OutputTag[T_co | U] | None = ...,
        **options: Unpack[Options],
    ) -> Stream[tuple[T_co, U]]: ...
    @overload
    def interval_join(
        self,
        other: KeyedStream[K, U],
        *,
        before: Duration,
        after: Duration,
        how: Literal["left"],
        late: OutputTag[T_co | U] | None = ...,
        **options: Unpack[Options],
    ) -> Stream[tuple[T_co, U | None]]: ...
    @overload
    def interval_join(
        self,
        other: KeyedStream[K, U],
        *,
        before: Duration,
        after: Duration,
        how: Literal["right"],
        late: OutputTag[T_co | U] | None = ...,
        **options: Unpack[Options],
    ) -> Stream[tuple[T_co | None, U]]: ...
    @overload
    def interval_join(
        self,
        other: KeyedStream[K, U],
        *,
        before: Duration,
        after: Duration,
        how: Literal["full"],
        late: OutputTag[T_co | U] | None = ...,
        **options: Unpack[Options],
    ) -> Stream[tuple[T_co, U | None] | tuple[None, U]]: ...
    def interval_join(
        self,
        other: KeyedStream[K, U],
        *,
        before: Duration,
        after: Duration,
        how: How = "inner",
        late: OutputTag[T_co | U] | None = None,
        **options: Unpack[Options],
    ) -> Stream[Any]:
        """Pair each record with those of the other stream with the same key whose time is close.

        A pair is (a, b) with a.timestamp - before <= b.timestamp <= a.timestamp + after, both ends included. Its
        timestamp is the later one. An outer row, (a, None) or (None, b), has its record's own, and comes when no
        partner can come any more; the watermark behind the join waits for these.

        Args:
            other: The stream of the b.
            before: How much earlier b may be; negative: how much later it must be at least.
            after: How much later b may be.
            how: Which records come out without a partner too.
            late: Names the side output for records that come when their partners may be forgotten already.
            options: Name, parallelism, new_chain.

        Raises:
            PlanError: No instant is within the bounds, or an option is misspelt.
        """
        what = "interval_join"
        definition = IntervalJoin(_signed_us(before, f"{what}: before"), _signed_us(after, f"{what}: after"), how)
        return self._joined(keyed_origin(other, what), definition, late, options)

    def cogroup(
        self,
        other: KeyedStream[K, U],
        windows: WindowAssigner[T_co | U],
        fn: Callable[[Sequence[T_co], Sequence[U]], Iterable[R]],
        *,
        allowed_lateness: Duration = 0,
        late: OutputTag[T_co | U] | None = None,
        **options: Unpack[Options],
    ) -> Stream[WindowResult[K, R]]:
        """Give what fn(records here, records there) gives for each key and window, one side of which may be empty.

        Raises:
            PlanError: The windows have no end in event time, `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "cogroup")
        definition = CoGroup(windows, fn, duration_us(allowed_lateness, "cogroup: allowed_lateness"))
        return self._joined(keyed_origin(other, "cogroup"), definition, late, options)

    def window_join(
        self,
        other: KeyedStream[K, U],
        windows: WindowAssigner[T_co | U],
        *,
        allowed_lateness: Duration = 0,
        late: OutputTag[T_co | U] | None = None,
        **options: Unpack[Options],
    ) -> Stream[WindowResult[K, tuple[T_co, U]]]:
        """Give every pair of one key and window. Outer joins: `cogroup`.

        Raises:
            PlanError: The windows have no end in event time, or an option is misspelt.
        """
        definition = window_join(windows, duration_us(allowed_lateness, "window_join: allowed_lateness"))
        return self._joined(keyed_origin(other, "window_join"), definition, late, options)

    @overload
    def join_table(
        self,
        table: Table[K, V],
        *,
        how: Literal["left"] = ...,
        as_of: Literal["arrival", "event_time"] = ...,
        late: OutputTag[T_co] | None = ...,
        **options: Unpack[Options],
    ) -> Stream[tuple[T_co, V | None]]: ...
    @overload
    def join_table(
        self,
        table: Table[K, V],
        *,
        how: Literal["inner"],
        as_of: Literal["arrival", "event_time"] = ...,
        late: OutputTag[T_co] | None = ...,
        **options: Unpack[Options],
    ) -> Stream[tuple[T_co, V]]: ...
    def join_table(
        self,
        table: Table[K, V],
        *,
        how: Literal["left", "inner"] = "left",
        as_of: Literal["arrival", "event_time"] = "arrival",
        late: OutputTag[T_co] | None = None,
        **options: Unpack[Options],
    ) -> Stream[Any]:
        """Put each record beside the table's value of its key: (record, value).

        Args:
            table: Keyed by the same.
            how: "left": (record, None) where there is no value; "inner": nothing then.
            as_of: "arrival": the value that is there when the record comes; "event_time": the one that was valid at
                the record's time. Then the record waits for the watermark, and `latest(versions=...)` says how far
                back late records may look.
            late: The side output of records that come when the version that they ask for may be gone.
            options: Name, parallelism, new_chain.

        Raises:
            PlanError: A word is unknown, or an option is misspelt.
        """
        if not isinstance(table, Table):
            raise PlanError(f"join_table({type(table).__name__}): give a table, such as key_by(...).latest(...) makes")
        versions = table.origin.side(VERSIONS_OUTPUT).through(Keyed(_key_of_change))
        return self._joined(versions, TableJoin(how, as_of, table.versions_us), late, options)

    def _joined(self, other: Origin, definition: Any, late: OutputTag[Any] | None, options: Options) -> Stream[Any]:  # noqa: ANN401
        spec = TimedSpec(definition, LATE_OUTPUT if late is None else output_name(late, "late"))
        return Stream(self.origin.beside(other).then(spec, options))


def _key_of_change(change: tuple[object, object, object]) -> object:
    return change[0]


def _signed_us(value: Duration, what: str) -> int:
    """Give a duration that may be negative."""
    is_negative = isinstance(value, timedelta) and value < timedelta(0)
    if is_negative or (isinstance(value, int | float) and not isinstance(value, bool) and value < 0):
        return -duration_us(-value, what)
    return duration_us(value, what)


def keyed_origin(other: object, method: str, or_else: str = "") -> Origin:
    """Give where a stream with keys comes from.

    Raises:
        PlanError: It is none.
    """
    if isinstance(other, Joins):
        return other.origin
    if isinstance(other, Stream | BroadcastStream):
        raise PlanError(f"{method}: the other stream has no key: say key_by(...) {or_else}behind it")
    raise PlanError(f"{method}: the other is {type(other).__name__}, expected a stream with keys, as key_by(...) gives")
