"""What windows and joins are to the chain that they run in: operators that wait for time to pass.

    record ──on_element──> results now, None, or LATE          due        ──fire──>        results, in order of time
                                                               clock_due  ──fire_clock──>

The chain calls `fire` before a record as soon as the watermark has reached `due`, so `on_element` finds nothing
undone that lies at or before the watermark it is given. That is what makes batches invisible: it is as if every
record were followed by its watermark.

A definition is what the user's words become; one object of it serves every subtask, which opens its own operator.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias, runtime_checkable

from actorstream.graph.waiting import Timed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.model.world import Clock
    from actorstream.operators.columns import Column
    from actorstream.state.operator_state import OperatorState


class Lateness(Enum):
    """A record's state is gone already."""

    LATE = "late"


LATE: Final = Lateness.LATE

LATE_OUTPUT: Final = "late"
"""The side output on which late records leave."""


class Aside(NamedTuple):
    """What stands in the place of a result and goes to a side output; where nobody takes that, it is dropped."""

    output: str
    value: object


Emitted: TypeAlias = "tuple[object, int]"
"""A result, and its event time in microseconds."""

Given: TypeAlias = "Sequence[Emitted] | Lateness | None"


class TimedOperator(Protocol):
    """One subtask's operator. Times are int microseconds; nothing here waits.

    Attributes:
        due: The event time at or after which `fire` has something to do; `TIME_MAX`: nothing. May be too early.
        clock_due: The same for the clock.
        firing: Something is half done: the state is not to be frozen until `fire` has done the rest.
    """

    due: int
    clock_due: int

    @property
    def firing(self) -> bool:
        """See there."""
        ...

    def on_element(self, key: object, value: object, timestamp: int, watermark: int, /) -> Given:
        """Take a record in; give what is emitted at once.

        LATE where the record comes after the state that it needs was dropped: nothing was done with it.
        """
        ...

    def on_other(self, key: object, value: object, timestamp: int, watermark: int, /) -> Given:
        """Take in a record of the second input, where there is one."""
        ...

    def fire(self, watermark: int, limit: int, /) -> Sequence[Emitted]:
        """Do what is due up to and including `watermark`, in order of time, and give the results.

        It stops after about `limit` results, or as many steps: then `due` is still at or below `watermark`,
        and it is called again.
        """
        ...

    def fire_clock(self, now_us: int, watermark: int, limit: int, /) -> Sequence[Emitted]:
        """Do what the clock has made due: all that is before `now_us` (T28); bounded as `fire`."""
        ...


@runtime_checkable
class RestoredByWatermark(Protocol):
    """An operator whose state does not say which windows have fired: the watermark of the snapshot does.

    So a snapshot is taken only when nothing is due.
    """

    def on_restore(self, watermark: int, floors: Sequence[tuple[KeyGroupRange, int]] = (), /) -> None:
        """Go on at the watermark of the snapshot; called once, behind `open`.

        For the key groups of `floors` time had come further: see operators/floors.py.
        """
        ...


class TimedDefinition(Timed, Protocol):
    """What a window or join is, for all its subtasks; what the graph knows of it is in graph/nodes.py."""

    def columns(self, operator: str, /) -> list[Column]:
        """Give the states that it keeps; PlanError where something cannot be stored."""
        ...

    def open(self, operator: str, state: OperatorState, clock: Clock, /) -> TimedOperator:
        """Make one subtask's operator over its state, going on with what is in it."""
        ...
