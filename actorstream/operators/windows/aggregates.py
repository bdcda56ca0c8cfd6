"""What is computed of a window's records: from the user's words to an accumulator.

    record ──add──> accumulator ──result──> value           add(MISSING, record) begins
                    accumulator ──merge──┘                   of two slices or sessions, the earlier one first

A window that was purged, or has no record yet, has MISSING in the accumulator's place. `shape`
and `fn` are for a generator of code, which writes the usual shapes into its loop; the
functions say the same, and are what everything else calls.

`add` and `merge` may change their first argument, and give it back. So whoever shares it with
anybody copies first (T125, T135). A record is never changed, and never shared as an
accumulator that may be: `reduce` begins with a copy of it.

`apply`, `process`, and what cannot be merged where windows merge have no accumulator: their
records are kept (records_kept.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar, cast

from actorstream.codec.values import SELF_DESCRIBING, copy_value, is_immutable
from actorstream.errors import CodecError, PlanError
from actorstream.state.missing import MISSING, private_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
T_contra = TypeVar("T_contra", contravariant=True)

Shape: TypeAlias = Literal[
    "count", "sum", "min", "max", "min_by", "max_by", "reduce", "fold", "aggregate", "apply", "process"
]


class Aggregate(Protocol, Generic[T_contra, S, R_co]):
    """An aggregation of your own. One object serves all windows: keep nothing in it."""

    def create(self) -> S:
        """Give a new accumulator."""
        ...

    def add(self, accumulator: S, value: T_contra, /) -> S:
        """Take a record in; the accumulator may be changed and given back."""
        ...

    def merge(self, left: S, right: S, /) -> S:
        """Combine two, of which `left` is the earlier; it may be changed and given back."""
        ...

    def result(self, accumulator: S, /) -> R_co:
        """Give the value, and leave the accumulator as it is: more records may come."""
        ...


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What is computed of the records of one window.

    Attributes:
        shape: The user's word.
        fn: The user's function, where there is one: of a record for sum, min and max, of two for reduce and fold,
            of all records for apply; None for count and aggregate.
        add: Gives the accumulator with a record more; MISSING is the empty one.
        merge: Combines two accumulators, neither of them MISSING; None: it cannot be done.
        result: Gives the value of an accumulator.
        initial: What a fold begins with, to be copied.
        is_kept: There is no accumulator: `result` is of the list of all records.
        gives_away: An accumulator is dropped when its window fires, so its value need not be a copy.
        has_result: Tells of which accumulators there may be a value; None: of each.
    """

    shape: Shape
    fn: Callable[..., object] | None
    add: Callable[[Any, Any], Any]
    merge: Callable[[Any, Any], Any] | None
    result: Callable[[Any], object]
    initial: object = MISSING
    is_kept: bool = False
    gives_away: bool = False
    has_result: Callable[[Any], bool] | None = None

    def check_storable(self, operator: str) -> None:
        """Refuse what a fold begins with, if no checkpoint could hold it.

        Raises:
            PlanError: It cannot be encoded.
        """
        try:
            if self.initial is not MISSING:
                SELF_DESCRIBING.encode(self.initial)
        except CodecError as error:
            raise PlanError(f"{operator}: its initial value cannot be stored: {error}") from error

    def of_kept(self) -> Aggregation:
        """Give the same computation over all records at once, in their order, where accumulators cannot be merged."""

        def result(records: Sequence[object]) -> object:
            held: object = MISSING
            for record in records:
                held = self.add(held, record)
            return self.result(held)

        return Aggregation(self.shape, self.fn, _nothing_to_add, None, result, self.initial, is_kept=True)


def counting() -> Aggregation:
    """Count the records."""
    return Aggregation("count", None, lambda held, _: 1 if held is MISSING else held + 1, _plus, _itself)


def summing(fn: Callable[[Any], Any]) -> Aggregation:
    """Add up fn(record), from 0."""
    return Aggregation("sum", fn, lambda held, record: (0 if held is MISSING else held) + fn(record), _plus, _itself)


def extreme(fn: Callable[[Any], Any], shape: Literal["min", "max"]) -> Aggregation:
    """Find the least or greatest fn(record); of equal ones the first that came."""
    choose = min if shape == "min" else max

    def add(held: Any, record: object) -> object:  # noqa: ANN401  (comparable)
        return fn(record) if held is MISSING else choose(held, fn(record))

    return Aggregation(shape, fn, add, choose, _itself)


def extreme_by(fn: Callable[[Any], Any], shape: Literal["min_by", "max_by"]) -> Aggregation:
    """Find the record with the least or greatest fn(record); of equal ones the first that came.

    The accumulator is (fn(record), record).
    """
    if shape == "min_by":

        def merge(left: Any, right: Any) -> object:  # noqa: ANN401  (comparable)
            return right if right[0] < left[0] else left
    else:

        def merge(left: Any, right: Any) -> object:  # noqa: ANN401  (comparable)
            return right if right[0] > left[0] else left

    def add(held: object, record: object) -> object:
        found = fn(record), record
        return found if held is MISSING else merge(held, found)

    return Aggregation(shape, fn, add, merge, _second)


def reducing(fn: Callable[[Any, Any], Any]) -> Aggregation:
    """Combine the records pair by pair: the first is the value, then it is fn(value, record)."""

    def add(held: object, record: object) -> object:
        return private_copy(record) if held is MISSING else fn(held, record)

    return Aggregation("reduce", fn, add, fn, _itself)


def folding(initial: object, fn: Callable[[Any, Any], Any], merge: Callable[[Any, Any], Any] | None) -> Aggregation:
    """Combine the records into a value of any type, beginning with a copy of `initial`."""
    if is_immutable(initial):

        def add(held: object, record: object) -> object:
            return fn(initial if held is MISSING else held, record)
    else:

        def add(held: object, record: object) -> object:
            return fn(copy_value(initial) if held is MISSING else held, record)

    return Aggregation("fold", fn, add, merge, _itself, initial)


def aggregating(aggregate: Aggregate[Any, Any, Any]) -> Aggregation:
    """Compute what the user's object says."""
    create, add_to = aggregate.create, aggregate.add

    def add(held: object, record: object) -> object:
        return add_to(create() if held is MISSING else held, record)

    merge = cast("Callable[[Any, Any], Any] | None", getattr(aggregate, "merge", None))
    return Aggregation("aggregate", None, add, merge, aggregate.result)


def applying(fn: Callable[[Sequence[Any]], object]) -> Aggregation:
    """Give fn(all records of the window)."""
    return Aggregation("apply", fn, _nothing_to_add, None, fn, is_kept=True)


def processing() -> Aggregation:
    """Keep the records for a `WindowProcess`, which has results of its own making."""
    return Aggregation("process", None, _nothing_to_add, None, _itself, is_kept=True)


def _plus(left: Any, right: Any) -> object:  # noqa: ANN401  (numbers)
    return left + right


def _itself(held: object) -> object:
    return held


def _second(held: tuple[object, object]) -> object:
    return held[1]


def _nothing_to_add(held: object, record: object) -> object:
    raise PlanError(f"a window that keeps its records has no accumulator: {record!r} cannot be added to {held!r}")
