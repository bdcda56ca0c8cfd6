"""Functions of all records of a window that remember something: of the window, or of the key.

class Sizes(WindowProcess[str, Click, int]):
    def on_window(self, key, window, values, ctx):
        ctx.global_state["windows"] = ctx.global_state.get("windows", 0) + 1
        yield len(values)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from actorstream.errors import PlanError
from actorstream.operators.any_number import refuse_text
from actorstream.operators.map_view import MapView
from actorstream.operators.state_declarations import MapState
from actorstream.operators.timed import Aside
from actorstream.operators.user_time import datetime_of
from actorstream.operators.windows.records_kept import KeptRecords
from actorstream.operators.windows.results import ShownWindows
from actorstream.state.missing import MISSING, private_copy

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping, Sequence
    from datetime import datetime

    from actorstream.model.world import Clock
    from actorstream.operators.contexts import OutputTag
    from actorstream.operators.windows.aggregates import Aggregation
    from actorstream.operators.windows.assigners import Window
    from actorstream.operators.windows.panes import Pane
    from actorstream.state.map_table import MapTable

K_contra = TypeVar("K_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
U = TypeVar("U")


class WindowContext(Protocol):
    """What a `WindowProcess` is told, and where it remembers. Valid during the call only."""

    @property
    def watermark(self) -> datetime:
        """No more records up to here are expected."""
        ...

    @property
    def now(self) -> datetime:
        """Processing time, from the job's clock: never use another."""
        ...

    @property
    def state(self) -> MutableMapping[str, Any]:
        """What is remembered of this key and window, until the window is dropped: between results of one window.

        Raises:
            PlanError: Windows merge: there is no saying which of several states would be the session's (T61).
        """
        ...

    @property
    def global_state(self) -> MutableMapping[str, Any]:
        """What is remembered of this key, for all its windows, for good."""
        ...

    def emit_to(self, tag: OutputTag[U], value: U) -> None:
        """Give a record to a side output, where `windows.side_output(tag)` finds it; nobody takes it: it is dropped.

        Its event time is that of the window's results.
        """
        ...


class WindowProcess(Generic[K_contra, T_contra, R_co]):
    """Subclass it: `on_window` is called with all records of a window each time that it fires."""

    def on_window(
        self, key: K_contra, window: Window, values: Sequence[T_contra], ctx: WindowContext, /
    ) -> Iterable[R_co] | None:
        """Give back what to emit, each as a result of the window: a list, a generator, or nothing.

        The values are in the order of their time, of `Count` and untimed windows as they came.
        """
        raise NotImplementedError


class ProcessedRecords(KeptRecords):
    """All records of a window, and a `WindowProcess` for them; also the `WindowContext` that it sees."""

    def __init__(
        self,
        aggregation: Aggregation,
        tables: tuple[MapTable, MapTable],
        process: WindowProcess[Any, Any, Any],
        clock: Clock,
        *,
        merging: bool,
    ) -> None:
        """Keep runs in the first of `tables`, and what is remembered of keys in the second."""
        records, keys = tables
        super().__init__(aggregation, records)
        self._process = process
        self._asides: list[Aside] = []
        self._merging = merging
        self._clock = clock
        self._windows = ShownWindows()
        self._global = MapView(_GLOBAL, keys)
        self._pane: Pane | None = None
        self._watermark = 0

    def values(self, pane: Pane, watermark: int, *, stays: bool) -> Iterable[object]:
        """Give what the process makes of the records; then, as `Aside`, what it gave to side outputs."""
        self._pane, self._watermark, self._global.key = pane, watermark, pane.key
        try:
            values = self._process.on_window(pane.key, self._windows.of(pane.span), self.records(pane), self)
            refuse_text(values)
            results = [private_copy(value) if stays else value for value in values or ()]
            return [*results, *self._asides]
        finally:
            self._pane, self._global.key, self._asides = None, MISSING, []

    @property
    def watermark(self) -> datetime:
        """No more records up to here are expected."""
        return datetime_of(self._watermark)

    @property
    def now(self) -> datetime:
        """The job's clock."""
        return datetime_of(self._clock.now_us())

    @property
    def state(self) -> MutableMapping[str, Any]:
        """What is remembered of the window."""
        kind = type(self._process).__name__
        if self._merging:
            raise PlanError(
                f"{kind} asks for ctx.state, which sessions do not have: they merge, and nobody can say which state "
                "would be the session's; use ctx.global_state"
            )
        if self._pane is None:
            raise _GLOBAL.refuse(type(self._process))
        return self._pane.own

    @property
    def global_state(self) -> MutableMapping[str, Any]:
        """What is remembered of the key."""
        return self._global

    def emit_to(self, tag: OutputTag[Any], value: object) -> None:
        """Give a record to a side output."""
        self._asides.append(Aside(tag.name, private_copy(value)))


_GLOBAL: Final[MapState[str, Any]] = MapState()
_GLOBAL.name = "global_state"
