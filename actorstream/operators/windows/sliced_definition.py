"""Windows that share slices, as an operator of a pipeline: `WindowDefinition.aligned` says which may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import InvariantError
from actorstream.operators.columns import Column
from actorstream.operators.timed import TimedDefinition
from actorstream.operators.windows.sliced import SLICES, SlicedWindows

if TYPE_CHECKING:
    from actorstream.model.world import Clock
    from actorstream.operators.windows.definition import WindowDefinition
    from actorstream.state.operator_state import OperatorState


@dataclass(frozen=True)
class SlicedDefinition(TimedDefinition):
    """The same windows as `windows`, with one accumulator for each key and slice."""

    windows: WindowDefinition

    @property
    def kind(self) -> str:
        """The user's word."""
        return self.windows.kind

    @property
    def inputs(self) -> int:
        """One."""
        return 1

    @property
    def event_time(self) -> bool:
        """Always."""
        return True

    @property
    def fetches_rows(self) -> bool:
        """Slices are no rows."""
        return False

    def columns(self, operator: str, /) -> list[Column]:
        """Give the one state; PlanError where it cannot be stored."""
        self.windows.aggregation.check_storable(operator)
        return [Column(SLICES, "slices", SELF_DESCRIBING)]

    def open(self, operator: str, state: OperatorState, clock: Clock, /) -> SlicedWindows:
        """Make one subtask's operator over its state; `on_restore` follows."""
        del clock
        aligned, windows = self.windows.aligned, self.windows
        if aligned is None:
            raise InvariantError(f"{operator}: these windows share no slices")
        return SlicedWindows(aligned, windows.aggregation, windows.allowed_lateness_us, state)
