"""Under which circumstances bugs can show, where those of several areas do under the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.testing.disk import SimulatedDisk
from actorstream.testing.session import Session
from tests.simulation.evolution_plans import Act, Evolution, Part, Turn, draw_evolution

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

OFTEN: dict[str, Any] = {
    "interval": 0.02,
    "timeout": 60.0,
    "pause": 0.02,
    "retained": 2,
    "sessions": (*(Session(2, crash_step=step) for step in (200, 220, 240, 260, 280, 300)), Session(2, power=True)),
}
"""Checkpoints one after the other, and a row of crashes."""


def unsynced(call: str, where: Callable[[str], bool]) -> AbstractContextManager[object]:
    """Let a simulated disk not do a `call` for the paths that `where` picks."""
    real = getattr(SimulatedDisk, call)

    def sync(self: SimulatedDisk, path: str, /) -> None:
        if not where(path):
            real(self, path)

    return patch.object(SimulatedDisk, call, sync)


def in_turns(*turns: Turn, **fixed: Any) -> Callable[[int], Evolution]:
    """Draw the plan, under these turns."""

    def draw(seed: int) -> Evolution:
        usual = {"job": "keyed", "interval": 0.2, "timeout": 60.0, "early_freezes": 0.0, "live": False}
        evolution = draw_evolution(seed, **{**usual, **fixed})
        return Evolution(evolution.plan, turns)

    return draw


def act(at: float, asked: Any, name: str = "s", number: int = 1) -> Act:
    """Let a person ask for something at a time."""
    return Act(at, asked, name, number)


_DIES = Session(crash_step=500, power=True)
SAVED_AND_DEAD = Turn(_DIES, (Part(acts=(act(0.08, "savepoint"), act(0.2, "savepoint", "t")), parallelism=2),))
STOPPED = Turn(Session(power=True), (Part(acts=(act(0.2, "stop"),), parallelism=2),))
STOPPED_AGAIN = Turn(Session(power=True), (Part(acts=(act(0.1, "stop", "t"),), parallelism=2),))
