"""Keyed streams: what can be remembered about the records of one key.

    payments.key_by(lambda p: p.card)      KeyedStream[str, Payment]
            .fold(0.0, add, name="spent")  Table[str, float]: a stream, and state to ask

State is found by the operator's name: name what you want to find again.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from actorstream.api.functions import class_name, process_spec, require_plain
from actorstream.api.joins import Joins, keyed_origin
from actorstream.api.settings import duration_us
from actorstream.api.stream import Stream
from actorstream.api.table import Table
from actorstream.api.windowed import WindowedStream
from actorstream.errors import PlanError
from actorstream.graph.nodes import (
    CountSpec,
    ExtremeSpec,
    FoldSpec,
    LatestSpec,
    MapWithStateSpec,
    ReduceSpec,
    SumSpec,
    TopSpec,
)
from actorstream.operators.distinct import distinct_spec
from actorstream.operators.ttl import ttl_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from actorstream.api.draft import Origin
    from actorstream.api.options import Duration, Options
    from actorstream.operators.contexts import OutputTag
    from actorstream.operators.failures import Failure
    from actorstream.operators.keyed_process import KeyedProcess
    from actorstream.operators.retry import Retry
    from actorstream.operators.ttl import TTL
    from actorstream.operators.windows.assigners import WindowAssigner
    from actorstream.operators.windows.definition import Emit
    from actorstream.operators.windows.triggers import Trigger

K = TypeVar("K")
N = TypeVar("N", int, float, Decimal)
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
T_co = TypeVar("T_co", covariant=True)


class KeyedStream(Joins[K, T_co], Generic[K, T_co]):
    """Records with a key. Records of one key keep their order as long as one stream brings them.

    The rolling operators emit one update for each record. A stateful operator
    needs a name once the job has a store; `process` takes its class's.
    """

    __slots__ = ("origin",)

    def __init__(self, origin: Origin) -> None:
        """Stand for the records of `origin`, whose edges carry the key; streams make keyed streams."""
        self.origin = origin

    def count(self, **options: Unpack[Options]) -> Table[K, int]:
        """Count the records of each key.

        Raises:
            PlanError: An option is misspelt.
        """
        return Table(self.origin.then(CountSpec(), options))

    def sum(self, fn: Callable[[T_co], N], **options: Unpack[Options]) -> Table[K, N]:
        """Add up a number of each key's records: value = value + fn(record), from 0.

        With `operator.itemgetter` or `attrgetter` no function is called: `.sum(itemgetter("price"))`. So `key_by` does.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "sum")
        return Table(self.origin.then(SumSpec(fn), options))

    def min(self, fn: Callable[[T_co], V], **options: Unpack[Options]) -> Table[K, V]:
        """Keep the least fn(record) of each key: one update for each record, also where it stays the same.

        What `fn` gives is compared with `<`: a NaN is neither less nor greater than anything, so filter it before.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        return self._extreme("min", fn, options)

    def max(self, fn: Callable[[T_co], V], **options: Unpack[Options]) -> Table[K, V]:
        """Keep the greatest fn(record) of each key: see `min`.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        return self._extreme("max", fn, options)

    def min_by(self, fn: Callable[[T_co], object], **options: Unpack[Options]) -> Table[K, T_co]:
        """Keep the record with the least fn(record) of each key, of equal ones the first: one update for each record.

        `fn` is called with each record, and with the one that is kept. The whole record is state: it is stored.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        return self._extreme("min_by", fn, options)

    def max_by(self, fn: Callable[[T_co], object], **options: Unpack[Options]) -> Table[K, T_co]:
        """Keep the record with the greatest fn(record) of each key, of equal ones the first: see `min_by`.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        return self._extreme("max_by", fn, options)

    def _extreme(
        self, word: Literal["min", "max", "min_by", "max_by"], fn: Callable[[T_co], object], options: Options
    ) -> Table[K, Any]:
        require_plain(fn, word)
        return Table(self.origin.then(ExtremeSpec(fn, word), options))

    def top_n(self, n: int, by: Callable[[T_co], object], **options: Unpack[Options]) -> Table[K, Sequence[T_co]]:
        """Keep the `n` records of each key with the greatest by(record): a tuple, the greatest first.

        It comes out where a record has changed it, and only then. Of equal records the first stays before those that
        came later. All `n` records are state, written anew with each change: `n` is a dozen, not a million.
        Of a window: `.window(...).apply(lambda records: heapq.nlargest(n, records, key=by))`.

        Raises:
            PlanError: `n` is no int of at least 1, `by` is async, or an option is misspelt.
        """
        require_plain(by, "top_n")
        if type(n) is not int or n < 1:
            raise PlanError(f"top_n: n is {n!r}, expected an int of at least 1")
        return Table(self.origin.then(TopSpec(by, n), options))

    def distinct(self, *, ttl: TTL | Duration | None = None, **options: Unpack[Options]) -> Stream[T_co]:
        """Let the first record of each key through, and drop those that follow.

        Args:
            ttl: After so long since one was let through, the next one is again; None: never, and what is known of keys
                only grows. By the clock; `TTL(..., domain="event")` goes by event time.
            options: Name, parallelism, new_chain.

        Raises:
            PlanError: The duration makes no sense, or an option is misspelt.
        """
        return Stream(self.origin.then(distinct_spec(ttl_of(ttl)), options))

    def reduce(self: KeyedStream[K, T], fn: Callable[[T, T], T], **options: Unpack[Options]) -> Table[K, T]:
        """Combine the records of each key: the first is the value, then it is fn(value, record).

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "reduce")
        return Table(self.origin.then(ReduceSpec(fn), options))

    def fold(self, initial: S, fn: Callable[[S, T_co], S], **options: Unpack[Options]) -> Table[K, S]:
        """Combine the records of each key into a value of any type: value = fn(value, record).

        `initial` is copied for each key.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "fold")
        return Table(self.origin.then(FoldSpec(initial, fn), options))

    def latest(
        self, fn: Callable[[T_co], V | None], *, versions: Duration | None = None, **options: Unpack[Options]
    ) -> Table[K, V]:
        """Keep fn(record) of each key's newest record; None deletes the key.

        `versions`: how far behind the watermark an as-of join may still look at what was valid then.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "latest")
        versions_us = 0 if versions is None else duration_us(versions, "latest: versions")
        return Table(self.origin.then(LatestSpec(fn), options), versions_us)

    def map_with_state(self, initial: S, fn: Callable[[S, T_co], tuple[S, R]], **options: Unpack[Options]) -> Stream[R]:
        """Turn each record into one, remembering something by key: (state, result) = fn(state, record).

        `initial` is copied for each key.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "map_with_state")
        return Stream(self.origin.then(MapWithStateSpec(initial, fn), options))

    def window(
        self,
        windows: WindowAssigner[T_co],
        *,
        trigger: Trigger[T_co] | None = None,
        allowed_lateness: Duration = 0,
        emit: Emit = "on_close",
    ) -> WindowedStream[K, T_co]:
        """Put the records of each key into windows; what is computed of them comes next: `.count()`, `.fold(...)`.

        Args:
            windows: Which windows a record belongs to.
            trigger: When a window gives a result; default: at its end, and for each late record after that.
            allowed_lateness: How long after its end a window still takes records that are late.
            emit: "updates": a result for each record, instead.

        Raises:
            PlanError: The words contradict each other.
        """
        return WindowedStream(self.origin, windows, trigger=trigger, allowed_lateness=allowed_lateness, emit=emit)

    def process(
        self,
        op: Callable[[], KeyedProcess[K, T_co, R]],
        /,
        *,
        concurrency: int | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
        errors: OutputTag[Failure[T_co]] | None = None,
        **options: Unpack[Options],
    ) -> Stream[R]:
        """Run a class of your own on the records of each key.

        Handlers may be async: those of one key never overlap, those of different keys do. Each works on copies of its
        key's states; what it changed becomes state in the step in which its results are emitted, in the order of the
        records. So an async process gives what the same plain one would give. After a recovery calls are made again:
        see `idempotency_key`.

        Args:
            op: The class, or a function that builds one: it is called once for each subtask, the first
                time right here, to see what it builds.
            concurrency: Of async handlers: how many run in a subtask at once, 16 if nothing is said.
            timeout: Of async handlers: how long one may take, all attempts together.
            retry: Of async handlers: when one that raised is called again, with states that are as they were.
            errors: The side output of records, and timers, whose handler raises: what it did to states and timers, and
                what it gave, is undone. Without it the job fails.
            options: The name defaults to the class's.

        Raises:
            PlanError: `op` is an instance, or an option is misspelt or makes no sense.
        """
        calls = {"concurrency": concurrency, "timeout": timeout, "retry": retry}
        spec = process_spec(op, errors=errors, calls=calls)
        return Stream(self.origin.then(spec, options, class_name(spec)))

    def union(self, other: KeyedStream[K, U], /) -> KeyedStream[K, T_co | U]:
        """Give the records of both to one operator, each under its own key function; no order between them.

        Raises:
            PlanError: The other stream belongs to another pipeline, or has no key.
        """
        return cast("KeyedStream[K, T_co | U]", KeyedStream(self.origin.joined([keyed_origin(other, "union")])))
