"""Streams: lazy, immutable values that say where records come from.

    lines = pipeline.source(...)           Stream[str]
    words = lines.flat_map(str.split)      Stream[str], one operator more
    words.map(len) ; words.key_by(...)     `words` used twice: both get every record

A method adds an operator to the pipeline's graph and gives back a new stream.
Nothing runs, and no function is called, before `run`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from actorstream.api.functions import class_name, is_async, output_name, process_spec, require_plain
from actorstream.api.record_steps import RecordSteps
from actorstream.api.settings import duration_us
from actorstream.errors import PlanError
from actorstream.graph.nodes import (
    AssignSpec,
    Broadcast,
    CallSpec,
    Keyed,
    LoopSpec,
    PartitionBy,
    Rebalance,
    SinkSpec,
    ThrottleSpec,
    one_for_all,
)
from actorstream.graph.render import function_name
from actorstream.model.connect import Sink

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from actorstream.api.draft import Origin
    from actorstream.api.keyed import KeyedStream
    from actorstream.api.options import Duration, Options
    from actorstream.api.time import Time, WatermarkAlignment
    from actorstream.api.windowed import AllWindowedStream
    from actorstream.graph.nodes import Spec
    from actorstream.operators.contexts import OutputTag
    from actorstream.operators.failures import Failure
    from actorstream.operators.generators import WatermarkGenerator
    from actorstream.operators.keyed_process import Process
    from actorstream.operators.windows.assigners import WindowAssigner
    from actorstream.operators.windows.definition import Emit
    from actorstream.operators.windows.triggers import Trigger

K = TypeVar("K")
R = TypeVar("R")
T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)


class Stream(RecordSteps[T_co]):
    """Records of one type.

    Functions given to a stream must be plain functions that do not block.
    Records are values: do not change one after emitting it.
    """

    __slots__ = ("origin",)

    def __init__(self, origin: Origin) -> None:
        """Stand for the records of `origin`; pipelines and streams make streams, users do not."""
        self.origin = origin

    def _then(self, spec: Spec, options: Options) -> Stream[Any]:
        return Stream(self.origin.then(spec, options))

    def throttle(self, rate: float, **options: Unpack[Options]) -> Stream[T_co]:
        """Let at most `rate` records a second pass, over all subtasks, by the job's clock; the others wait.

        Say it right behind the source: then it is the source that reads slower, and no checkpoint waits for records.
        Elsewhere it is back-pressure, as any slow operator: barriers wait behind records unless `alignment_timeout`
        lets them overtake. Each subtask lets its share pass, rate / parallelism, whatever the others have to do. Where
        less came than may pass, a tenth of a second's worth is made up for, no more. A replay does not wait.

        Raises:
            PlanError: `rate` is no number above 0, or an option is misspelt.
        """
        given: object = rate
        if not isinstance(given, int | float) or isinstance(given, bool) or not 0 < given < inf:
            raise PlanError(f"throttle: rate is {given!r}, expected a number of records a second, above 0")
        return Stream(self.origin.then(ThrottleSpec(float(rate)), options))

    def process(
        self,
        op: Callable[[], Process[T_co, R]],
        /,
        *,
        errors: OutputTag[Failure[T_co]] | None = None,
        **options: Unpack[Options],
    ) -> Stream[R]:
        """Run a class of your own on the records as they come to each subtask, without key.

        Args:
            op: The class, or a function that builds one: it is called once for each subtask.
            errors: The side output of records whose handler raises: what it did to states and gave is undone.
            options: The name defaults to the class's.

        Raises:
            PlanError: `op` is an instance, has an async handler or timers, or an option is misspelt.
        """
        spec = process_spec(op, role="unkeyed", errors=errors)
        return Stream(self.origin.then(spec, options, class_name(spec)))

    def union(self, *others: Stream[U]) -> Stream[T_co | U]:
        """Give the records of all: each stream's in its order, no order between them.

        A stream joined with itself gives every record twice.

        Raises:
            PlanError: A stream belongs to another pipeline, or is none without a key.
        """
        for other in others:
            if not isinstance(other, Stream):
                raise PlanError(f"union: {type(other).__name__} was given, expected streams without a key")
        return Stream(self.origin.joined([other.origin for other in others]))

    @overload
    def assign_timestamps(
        self,
        fn: Callable[[T_co], Time],
        *,
        out_of_orderness: Duration = 0.0,
        idle_timeout: Duration | None = 30.0,
        alignment: WatermarkAlignment | None = None,
        **options: Unpack[Options],
    ) -> Stream[T_co]: ...
    @overload
    def assign_timestamps(
        self,
        fn: Callable[[T_co], Time],
        *,
        watermarks: Callable[[], WatermarkGenerator[T_co]],
        idle_timeout: Duration | None = 30.0,
        alignment: WatermarkAlignment | None = None,
        **options: Unpack[Options],
    ) -> Stream[T_co]: ...
    def assign_timestamps(
        self,
        fn: Callable[[T_co], Time],
        *,
        out_of_orderness: Duration = 0.0,
        watermarks: Callable[[], WatermarkGenerator[T_co]] | None = None,
        idle_timeout: Duration | None = 30.0,
        alignment: WatermarkAlignment | None = None,
        **options: Unpack[Options],
    ) -> Stream[T_co]:
        """Say when each record happened, and let watermarks follow: from here on windows, joins and timers go by that.

        Say it at the source: there each split has a watermark of its own, so that reading one of them ahead makes no
        record of another late.

        Args:
            fn: Gives a record's event time: an aware datetime, or Unix seconds.
            out_of_orderness: By how much a record may come after one with a later time and still be in time.
            watermarks: Makes a generator of your own for each split, instead.
            idle_timeout: A split that gives nothing for so long holds nobody back; None: it does so for ever.
            alignment: Do not read on in what is far ahead of others.
            options: Name, parallelism, new_chain.

        Raises:
            PlanError: `fn` is async, a duration makes no sense, or an option is misspelt.
            TimestampError: While it runs: `fn` gives no time, a naive datetime, or one that is far off.
        """
        require_plain(fn, "assign_timestamps")
        what = "assign_timestamps"
        if watermarks is not None and out_of_orderness:
            raise PlanError(f"{what}: give out_of_orderness or watermarks, not both: a generator of your own decides")
        spec = AssignSpec(
            fn,
            duration_us(out_of_orderness, f"{what}: out_of_orderness"),
            watermarks,
            None if idle_timeout is None else duration_us(idle_timeout, f"{what}: idle_timeout", least_us=1),
            None if alignment is None else (alignment.group, alignment.max_drift_us),
        )
        return Stream(self.origin.then(spec, options))

    def feedback(self: Stream[T], body: Callable[[Stream[T]], tuple[Stream[T], Stream[R]]], *, name: str) -> Stream[R]:
        """Make a loop: `body` gets this stream joined by what comes back, and gives (what goes back, what leaves).

        It ends when its input has ended and nothing goes round any more. What goes round when a checkpoint is taken is
        in it, so a crash in the middle of iterating changes no result.

        Args:
            body: Called once, now, to build the operators of the loop.
            name: By which a checkpoint knows what goes round.

        Raises:
            PlanError: `body` does not give two streams of this pipeline, what goes back does not come from what it was
                given, or an option is misspelt; at the start of a run: it holds what a loop may not hold.
        """
        require_plain(body, "feedback")
        head = self.origin.then(LoopSpec(), {"name": name})
        given = body(Stream(head))
        match given:
            case (Stream() as back, Stream() as leaves):
                self.origin.draft.close_loop(head.node, back.origin, leaves.origin)
                return leaves
            case _:
                shown = function_name(body)
                raise PlanError(
                    f"feedback {name!r}: {shown} gave {_kind_of_given(given)}, expected a pair of streams, (what goes "
                    "back, what leaves); where keys were the last word, say what is done with them first"
                )

    def side_output(self, tag: OutputTag[R]) -> Stream[R]:
        """Give what a handler or window before this gave to a side output with `emit_to`.

        Raises:
            PlanError: `tag` is no OutputTag.
        """
        return Stream(self.origin.side(output_name(tag, "side_output")))

    def key_by(self, fn: Callable[[T_co], K]) -> KeyedStream[K, T_co]:
        """Send all records of one key to one subtask, where the next operator keeps state for it.

        A key is an int, str, bytes, bool, float, date, aware datetime, timedelta,
        UUID or Enum member, or a tuple of these; all keys of a stream are of one type.

        Raises:
            PlanError: `fn` is async.
        """
        require_plain(fn, "key_by")
        return self.origin.draft.keyed(self.origin.through(Keyed(fn)))

    def window_all(
        self,
        windows: WindowAssigner[T_co],
        *,
        trigger: Trigger[T_co] | None = None,
        allowed_lateness: Duration = 0,
        emit: Emit = "on_close",
    ) -> AllWindowedStream[T_co]:
        """Put all records into windows, whatever their key: one subtask has them all. See `KeyedStream.window`.

        Raises:
            PlanError: The words contradict each other.
        """
        origin = self.origin.through(Keyed(one_for_all))
        return self.origin.draft.windowed(
            origin, windows, trigger=trigger, allowed_lateness=allowed_lateness, emit=emit
        )

    def rebalance(self) -> Stream[T_co]:
        """Spread the records evenly over the subtasks of the next operator, which starts an actor of its own."""
        return Stream(self.origin.through(Rebalance()))

    def partition_by(self, fn: Callable[[T_co, int], int]) -> Stream[T_co]:
        """Say yourself which subtask of the next operator takes a record: number fn(record, n) of `n`, counted from 0.

        Records that one subtask gives to another keep their order. `fn` is not asked where there is one subtask only.
        An object that is called, such as one that deals out in turn, is copied for each edge and sending subtask.
        State by key needs `key_by`.

        Raises:
            PlanError: `fn` is async.
            UserCodeError: While it runs: `fn` gives no int, or one that no subtask has.
        """
        require_plain(fn, "partition_by")
        return Stream(self.origin.through(PartitionBy(fn)))

    def broadcast(self) -> BroadcastStream[T_co]:
        """Give every record to every subtask of the next operator: `keyed.connect(rules.broadcast())`."""
        return BroadcastStream(self.origin.through(Broadcast()))

    @overload
    def sink(self, sink: Sink[T_co], /, **options: Unpack[Options]) -> None: ...
    @overload
    def sink(self, sink: Callable[[T_co], object], /, **options: Unpack[Options]) -> None: ...
    def sink(self, sink: Sink[T_co] | Callable[[T_co], object], /, **options: Unpack[Options]) -> None:
        """Write the records out.

        A `Sink` (an EventLog is one) is transactional: exactly once. A function,
        plain or async, is called with each record: at least once.

        Raises:
            PlanError: It is neither, or an option is misspelt.
        """
        if isinstance(sink, type) and isinstance(sink, Sink):
            raise PlanError(f"sink({function_name(sink)}): that is the class of a sink: pass an instance")
        if isinstance(sink, Sink):
            self.origin.then(SinkSpec(cast("Sink[object]", sink)), options)
        elif callable(sink):
            self.origin.then(CallSpec(sink, is_async(sink)), options)
        else:
            raise PlanError(f"sink({sink!r}): expected a Sink (it has a `writer` method) or a function of one record")


def _kind_of_given(given: object) -> str:
    if isinstance(given, tuple):
        return f"({', '.join(type(each).__name__ for each in given)})"
    return type(given).__name__


class BroadcastStream(Generic[T_co]):
    """A stream that every subtask of the next operator sees whole: `keyed.connect(rules.broadcast())`."""

    __slots__ = ("origin",)

    def __init__(self, origin: Origin) -> None:
        """Stand for the records of `origin`; `Stream.broadcast` makes these."""
        self.origin = origin
