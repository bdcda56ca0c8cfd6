"""What a window operator is, for all its subtasks: the user's words, checked.

assigner   which windows a record belongs to           assigners.py
trigger    when a window gives a result                triggers.py
aggregation, process                                   aggregates.py, window_process.py

Count                        CountedWindows            counted.py
Session                      MergingWindows            merging.py
all others                   WindowOperator            window_operator.py
all others, `aligned`        may share slices          sliced.py
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, cast, get_args

from actorstream.codec.values import SELF_DESCRIBING, codec_for
from actorstream.errors import PlanError
from actorstream.operators.columns import TIMERS, Column
from actorstream.operators.timed import TimedDefinition
from actorstream.operators.windows.assigners import Count, Sliding, Tumbling, WindowAssigner
from actorstream.operators.windows.contents import Folded
from actorstream.operators.windows.counted import NUMBER, CountedWindows
from actorstream.operators.windows.merging import MergingWindows
from actorstream.operators.windows.records_kept import KeptRecords
from actorstream.operators.windows.session_table import SPANS
from actorstream.operators.windows.triggers import AtEnd, Every, Trigger, innermost
from actorstream.operators.windows.window_operator import PANES, WindowOperator
from actorstream.operators.windows.window_process import ProcessedRecords, WindowProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.model.world import Clock
    from actorstream.operators.timed import TimedOperator
    from actorstream.operators.windows.aggregates import Aggregation
    from actorstream.operators.windows.contents import Contents
    from actorstream.state.operator_state import OperatorState

Emit: TypeAlias = Literal["on_close", "updates"]

SLICES_MAX: Final = 1_000
"""Of how many slices a window may consist."""

RECORDS: Final = "records"
KEYS: Final = "keys"


class Aligned(NamedTuple):
    """Windows that can share slices of the greatest common divisor of size and slide, from the offset on."""

    size_us: int
    slide_us: int
    offset_us: int


@dataclass(frozen=True)
class WindowDefinition(TimedDefinition):
    """A window operator.

    Attributes:
        assigner: Which windows a record belongs to.
        aggregation: What is computed of the records of a window.
        trigger: When a window gives a result; None: as `emit` says.
        allowed_lateness_us: How long a window of event time is kept beyond its end, for records that are late.
        emit: "on_close": when it has ended, and for each record after that; "updates": for each record.
        process: Makes the object of one subtask, where the aggregation is that of `process`.

    Raises:
        PlanError: The words contradict each other, or something is missing: see `check`.
    """

    assigner: WindowAssigner[Any]
    aggregation: Aggregation
    trigger: Trigger[Any] | None = None
    allowed_lateness_us: int = 0
    emit: Emit = "on_close"
    process: Callable[[], WindowProcess[Any, Any, Any]] | None = None

    def __post_init__(self) -> None:
        """Check it; where accumulators would have to be merged and cannot, the records are kept."""
        check(self.assigner, self.trigger, self.allowed_lateness_us, self.emit)
        if self.assigner.merging and self.aggregation.merge is None and not self.aggregation.is_kept:
            object.__setattr__(self, "aggregation", self.aggregation.of_kept())

    @property
    def kind(self) -> str:
        """The user's word."""
        return f"window-{self.aggregation.shape}"

    @property
    def inputs(self) -> int:
        """One."""
        return 1

    @property
    def event_time(self) -> bool:
        """Whether records need timestamps."""
        inner = None if self.trigger is None else innermost(self.trigger)
        every = isinstance(inner, Every) and inner.domain == "event"
        if self.assigner.ends and not isinstance(self.assigner, Count):
            return self.assigner.domain == "event" or every
        return every

    @property
    def takes_time(self) -> bool:
        """Whether results say which timestamps records had, if they had any."""
        return (
            self.event_time or isinstance(self.assigner, Count) or not self.assigner.ends or bool(self.custom_trigger)
        )

    @property
    def asks_clock(self) -> bool:
        """Whether windows go by it, or somebody is shown it: a trigger, or the user's own class."""
        by_clock = self.assigner.ends and self.assigner.domain != "event"
        return by_clock or bool(self.custom_trigger) or self.process is not None

    @property
    def emits_aside(self) -> bool:
        """Whether the user's own class may give to side outputs."""
        return self.process is not None

    @property
    def custom_trigger(self) -> Trigger[Any] | None:
        """The trigger, if it is another than that which these windows have by themselves."""
        return None if type(self.trigger) is AtEnd else self.trigger

    @property
    def aligned(self) -> Aligned | None:
        """How slices may be shared; None where they may not.

        They may between windows of event time that begin at equal distances and fire by themselves,
        if the accumulators of their slices, of which there are not too many, can be merged.
        """
        windows = self.assigner
        if not isinstance(windows, Sliding) or type(windows) not in {Sliding, Tumbling} or windows.domain != "event":
            return None
        if self.custom_trigger is not None or self.emit != "on_close" or self.aggregation.is_kept:
            return None
        slices = windows.size_us // gcd(windows.size_us, windows.slide_us)
        if slices > (1 if self.aggregation.merge is None else SLICES_MAX) or windows.slide_us > windows.size_us:
            return None
        return Aligned(windows.size_us, windows.slide_us, windows.offset_us)

    def columns(self, operator: str, /) -> list[Column]:
        """Give the states; PlanError where something cannot be stored."""
        self.aggregation.check_storable(operator)
        columns = [Column(PANES, "map", SELF_DESCRIBING)]
        if self.aggregation.is_kept:
            columns.append(Column(RECORDS, "map", SELF_DESCRIBING))
        if self.process is not None:
            columns.append(Column(KEYS, "map", SELF_DESCRIBING))
        if self.assigner.merging:
            columns.append(Column(SPANS, "value", SELF_DESCRIBING))
        if isinstance(self.assigner, Count):
            columns.append(Column(NUMBER, "value", codec_for(int)))
        else:
            columns.append(Column(TIMERS, "timers", SELF_DESCRIBING))
        return columns

    def open(self, operator: str, state: OperatorState, clock: Clock, /) -> TimedOperator:
        """Make one subtask's operator over its state."""
        contents = self._contents(operator, state, clock)
        if isinstance(self.assigner, Count):
            return CountedWindows(self.assigner, contents, state, PANES, updates=self.emit == "updates")
        kind = MergingWindows if self.assigner.merging else WindowOperator
        return kind(self, contents, state, clock)

    def _contents(self, operator: str, state: OperatorState, clock: Clock) -> Contents:
        if self.process is not None:
            process = self.process()
            if not isinstance(cast("object", process), WindowProcess):
                raise PlanError(f"{operator}: process gave {process!r}, expected a WindowProcess")
            tables = state.maps[RECORDS], state.maps[KEYS]
            return ProcessedRecords(self.aggregation, tables, process, clock, merging=self.assigner.merging)
        if self.aggregation.is_kept:
            return KeptRecords(self.aggregation, state.maps[RECORDS])
        return Folded(self.aggregation)


def check(windows: WindowAssigner[Any], trigger: Trigger[Any] | None, allowed_lateness_us: int, emit: Emit) -> None:
    """Refuse windows that cannot be.

    Raises:
        PlanError: What contradicts what, and the remedy.
    """
    if not isinstance(cast("object", windows), WindowAssigner):
        raise PlanError(f"window({windows!r}): expected windows such as Tumbling(60) or Session(30)")
    kind = type(windows).__name__
    if not _overrides(windows, WindowAssigner, "assign"):
        raise PlanError(f"window({kind}()): the class has no `assign`; override it to say which windows a record is in")
    if emit not in get_args(Emit):
        raise PlanError(f"window({kind}): emit is {emit!r}, expected 'on_close' or 'updates'")
    if trigger is not None:
        if emit == "updates":
            raise PlanError(f"window({kind}): emit='updates' is a trigger, for each record: leave out one of the two")
        _check_trigger(windows, kind, trigger)
    elif not windows.ends and emit != "updates":
        raise PlanError(f"window({kind}()) never closes: say when it gives a result, as in trigger=Trigger.count(100)")
    if allowed_lateness_us and (isinstance(windows, Count) or not windows.ends or windows.domain != "event"):
        raise PlanError(
            f"window({kind}): allowed_lateness is for windows that close by the watermark: nothing comes late here, "
            "leave it out"
        )


def _check_trigger(windows: WindowAssigner[Any], kind: str, trigger: Trigger[Any]) -> None:
    if not isinstance(cast("object", trigger), Trigger):
        raise PlanError(f"window({kind}): trigger is {trigger!r}, expected a Trigger such as Trigger.count(100)")
    if isinstance(windows, Count):
        raise PlanError(f"window({kind}) fires when a window is full: for a trigger take Global()")
    inner = innermost(trigger)
    name = type(inner).__name__
    if isinstance(inner, AtEnd) and not windows.ends:
        raise PlanError(f"window({kind}()) has no end to fire at: take another trigger, such as Trigger.count(100)")
    if isinstance(inner, AtEnd) and inner.domain != windows.domain:
        said, other = ("at_watermark", "event") if inner.domain == "event" else ("at_clock", "processing")
        raise PlanError(
            f"window({kind}): Trigger.{said}() is for windows of {other} time, and these close by {windows.domain} "
            f"time: leave the trigger out, or say {kind}(..., domain={other!r})"
        )
    if not _overrides(inner, Trigger, "on_element"):
        raise PlanError(f"window({kind}): {name} has no `on_element`; override it to say when a window fires")
    if windows.merging and not _overrides(inner, Trigger, "on_merge"):
        raise PlanError(f"window({kind}): {name} has no `on_merge`, and sessions merge; override it")


def _overrides(given: object, base: type, method: str) -> bool:
    return getattr(type(given), method) is not getattr(base, method)
