"""Under which circumstances bugs can show, where those of several areas do under the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

from actorstream.runtime.mailbox import Mailbox
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


def stubborn_lanes() -> AbstractContextManager[object]:
    """Let each actor take what one lane has before it looks at the next: their event times come far apart.

    Taking turns, as they do, two subtasks see so nearly the same that they are seldom at different times.
    """
    first: WeakKeyDictionary[Mailbox[Any, Any], int] = WeakKeyDictionary()

    def next_lane(self: Mailbox[Any, Any]) -> int | None:
        if self not in first:
            first[self] = asyncio.get_running_loop().environment.randint(0, 100)  # type: ignore[attr-defined]
        count = len(self.lanes)
        in_order = ((first[self] + offset) % count for offset in range(count))
        return next((at for at in in_order if self.lanes[at].items and not self.lanes[at].blocked), None)

    return patch.object(Mailbox, "next_lane", next_lane)


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
