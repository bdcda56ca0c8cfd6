"""What is done to records one by one, or many at once, by a function of the user's: plain, or awaited.

stream.map(fn) .filter(fn) .flat_map(fn) .map_batches(fn) .inspect(fn)
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from actorstream.api.awaited import batches_spec, operator_options, step_spec
from actorstream.api.functions import errors_name, require_plain
from actorstream.graph.nodes import InspectSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
    from typing import Unpack

    from actorstream.api.options import CallOptions, Duration, Options
    from actorstream.api.stream import Stream
    from actorstream.graph.nodes import Spec
    from actorstream.operators.contexts import OutputTag
    from actorstream.operators.failures import Failure

R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)


class RecordSteps(Generic[T_co]):
    """The methods of a stream that take a function of one record, or of several."""

    __slots__ = ()

    @abstractmethod
    def _then(self, spec: Spec, options: Options) -> Stream[Any]: ...

    @overload
    def map(
        self,
        fn: Callable[[T_co], Awaitable[R]],
        *,
        errors: OutputTag[Failure[T_co]] | None = None,
        **options: Unpack[CallOptions],
    ) -> Stream[R]: ...
    @overload
    def map(
        self, fn: Callable[[T_co], R], *, errors: OutputTag[Failure[T_co]] | None = None, **options: Unpack[Options]
    ) -> Stream[R]: ...
    def map(
        self,
        fn: Callable[[T_co], object],
        *,
        errors: OutputTag[Failure[T_co]] | None = None,
        **options: Unpack[CallOptions],
    ) -> Stream[Any]:
        """Turn each record into one; where `fn` is async, many at a time are awaited.

        A plain `fn` may be called again with the same record when another one of its batch fails. An async one is
        called again after a failure of the job for each record whose result is in no checkpoint: see
        `idempotency_key`. What can be said of it: `CallOptions`. It needs a name once the job has a store.

        What raises fails the job; with `errors=` it goes to that side output instead, as a Failure of its record:
        exactly once, like every record.

        Raises:
            PlanError: `fn` is no function, an option makes no sense for it, or is misspelt.
        """
        spec = step_spec("map", fn, options, errors_name(errors, "map"))
        return self._then(spec, operator_options(options))

    @overload
    def filter(
        self,
        fn: Callable[[T_co], Awaitable[bool]],
        *,
        errors: OutputTag[Failure[T_co]] | None = None,
        **options: Unpack[CallOptions],
    ) -> Stream[T_co]: ...
    @overload
    def filter(
        self, fn: Callable[[T_co], bool], *, errors: OutputTag[Failure[T_co]] | None = None, **options: Unpack[Options]
    ) -> Stream[T_co]: ...
    def filter(
        self,
        fn: Callable[[T_co], object],
        *,
        errors: OutputTag[Failure[T_co]] | None = None,
        **options: Unpack[CallOptions],
    ) -> Stream[T_co]:
        """Keep the records for which `fn` is true, or an awaitable of that: see `map`.

        Raises:
            PlanError: `fn` is no function, an option makes no sense for it, or is misspelt.
        """
        spec = step_spec("filter", fn, options, errors_name(errors, "filter"))
        return self._then(spec, operator_options(options))

    @overload
    def flat_map(
        self,
        fn: Callable[[T_co], AsyncIterable[R] | Awaitable[Iterable[R] | None]],
        *,
        errors: OutputTag[Failure[T_co]] | None = None,
        **options: Unpack[CallOptions],
    ) -> Stream[R]: ...
    @overload
    def flat_map(
        self,
        fn: Callable[[T_co], Iterable[R] | None],
        *,
        errors: OutputTag[Failure[T_co]] | None = None,
        **options: Unpack[Options],
    ) -> Stream[R]: ...
    def flat_map(
        self,
        fn: Callable[[T_co], object],
        *,
        errors: OutputTag[Failure[T_co]] | None = None,
        **options: Unpack[CallOptions],
    ) -> Stream[Any]:
        """Turn each record into any number: `fn` returns a list, is a generator, or returns None.

        An async one is an async generator, or gives an awaitable of a list or None; its results are emitted together,
        once it has ended. See `map`.

        Raises:
            PlanError: `fn` is no function, an option makes no sense for it, or is misspelt.
        """
        spec = step_spec("flat_map", fn, options, errors_name(errors, "flat_map"))
        return self._then(spec, operator_options(options))

    @overload
    def map_batches(
        self,
        fn: Callable[[Sequence[T_co]], Awaitable[Sequence[R]]],
        *,
        max_size: int = 256,
        max_delay: Duration = 0.01,
        **options: Unpack[CallOptions],
    ) -> Stream[R]: ...
    @overload
    def map_batches(
        self,
        fn: Callable[[Sequence[T_co]], Sequence[R]],
        *,
        max_size: int = 256,
        max_delay: Duration = 0.01,
        **options: Unpack[Options],
    ) -> Stream[R]: ...
    def map_batches(
        self,
        fn: Callable[[Sequence[T_co]], object],
        *,
        max_size: int = 256,
        max_delay: Duration = 0.01,
        **options: Unpack[CallOptions],
    ) -> Stream[Any]:
        """Turn many records at once into as many: for a model, or a service that takes them in bulk.

        Which records come together depends on when they come; what they are turned into must not.

        Args:
            fn: Gets a list of records and gives a sequence of as many results, or an awaitable of that.
            max_size: How many records it gets at most.
            max_delay: How long the first of them waits for others; a checkpoint does not wait for that.
            options: Those of an operator, and if `fn` is async those of `CallOptions`. It needs a name once the job has
                a store.

        Raises:
            PlanError: `fn` is no function, an option makes no sense for it, or is misspelt.
        """
        spec = batches_spec(fn, max_size, max_delay, options)
        return self._then(spec, operator_options(options))

    def inspect(self, fn: Callable[[T_co], object], **options: Unpack[Options]) -> Stream[T_co]:
        """Show each record to `fn`, whose result nobody looks at: the same records come out.

        For a print, a metric, a log. After a failure it sees records again, so what it does is done at least once.

        Raises:
            PlanError: `fn` is async, or an option is misspelt.
        """
        require_plain(fn, "inspect")
        return self._then(InspectSpec(fn), options)
