"""Bugs in windows: which records are in one, when it fires, and what a snapshot knows of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.model.times import TIME_MIN
from actorstream.operators.windows.sliced import SlicedWindows
from actorstream.runtime.chain_runner import ChainRunner
from actorstream.testing.session import Session
from tests.mutations.circumstances import OFTEN
from tests.mutations.entering import Area

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

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
