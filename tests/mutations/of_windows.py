"""Bugs in windows: which records are in one, when it fires, and what a snapshot knows of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.model.times import TIME_MIN
from actorstream.operators.windows.merging import MergingWindows
from actorstream.operators.windows.session_table import SessionTable
from actorstream.operators.windows.sliced import SlicedWindows
from actorstream.operators.windows.sliced_grid import SliceGrid
from actorstream.operators.windows.window_operator import WindowOperator
from actorstream.runtime.chain_runner import ChainRunner
from actorstream.testing.session import Session
from tests.mutations.circumstances import OFTEN
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from actorstream.operators.windows.assigners import Span
    from actorstream.operators.windows.panes import Pane

AREA = Area("windows")


@AREA.in_time("sliced windows forget at a restore which have fired", job="tumbling", **OFTEN)
def _fired_forgotten() -> Sequence[AbstractContextManager[object]]:
    real = SlicedWindows.on_restore
    return [patch.object(SlicedWindows, "on_restore", lambda self, watermark, floors=(): real(self, TIME_MIN))]


_LATER: dict[str, Any] = {
    **OFTEN,
    "sessions": (*(Session(2, crash_step=step) for step in range(400, 800, 50)), Session(2, power=True)),
}


@AREA.in_time("a barrier is taken between two rounds of sliced windows", job="sliding", **_LATER)
def _between_rounds() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(ChainRunner, "may_pause", property(lambda _: True))]


@AREA.in_time("the record itself counts for the watermark before it", job="tumbling")
def _too_early() -> Sequence[AbstractContextManager[object]]:
    real = SlicedWindows.on_element
    close_at = SlicedWindows.close_at

    def on_element(self: SlicedWindows, key: object, value: object, timestamp: int, watermark: int, /) -> Any:
        return real(self, key, value, timestamp, max(watermark, timestamp - 1_000_001))

    return [
        patch.object(SlicedWindows, "on_element", on_element),
        patch.object(SlicedWindows, "close_at", lambda self, start: min(close_at(self, start), TIME_MIN)),
    ]


@AREA.in_time("a record that comes behind its window, but not too late, gives no new result", job="tumbling")
def _no_new_result() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(SlicedWindows, "_fired_again", lambda *_: None)]


@AREA.in_time("a slice goes with the first of its windows", job="sliding")
def _slice_gone() -> Sequence[AbstractContextManager[object]]:
    real = SliceGrid.first_kept
    return [patch.object(SliceGrid, "first_kept", lambda self, dropped_to: real(self, dropped_to) + self.slide)]


@AREA.in_time("what the later of two sessions held is lost where they become one", job="sessions")
def _later_lost() -> Sequence[AbstractContextManager[object]]:
    real = MergingWindows._merged

    def merged(self: MergingWindows, pane: Pane, touched: Sequence[Span], watermark: int) -> Pane:
        return real(self, pane, touched[:1], watermark)

    return [patch.object(MergingWindows, "_merged", merged)]


@AREA.in_time("a session that has grown is not found by its timer any more", job="sessions")
def _not_found() -> Sequence[AbstractContextManager[object]]:
    real = SessionTable.at

    def at(self: SessionTable, key: object, instant: int) -> Pane | None:
        pane = real(self, key, instant)
        return pane if pane is None or pane.span[1] - 1 <= instant else None

    return [patch.object(SessionTable, "at", at)]


@AREA.in_time("a record is late a second before its window ends", job="records")
def _late_early() -> Sequence[AbstractContextManager[object]]:
    real = WindowOperator._is_gone
    return [patch.object(WindowOperator, "_is_gone", lambda self, end, time: real(self, end, time + 1_000_000))]
