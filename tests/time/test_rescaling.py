"""After any row of rescales, every key gives what it would have given had its key group never been moved."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream import WindowResult
from actorstream.operators.changes import Change
from actorstream.operators.early_timers import EarlyTimers
from actorstream.operators.floors import Floors
from actorstream.operators.waiting_text import WaitingText
from actorstream.runtime.event_time import EventTime
from actorstream.runtime.rescaled_time import floors_of
from tests.firing import fired_at_once
from tests.state.rig import Shelf
from tests.time import rescaling
from tests.time.driving import Event
from tests.time.rescaling import MOVED, Given, run
from tests.time.rescaling_steps import steps_of

if TYPE_CHECKING:
    from actorstream.checkpoints.manifest import FloorRun
    from actorstream.graph.nodes import Node
    from actorstream.graph.plan import Chain

TWO_SIDES = ("join", "cogroup", "table", "two inputs")


def key_of(value: Any) -> str:
    match value:
        case Event() | WindowResult() | Change():
            return str(value.key)
        case tuple():
            return key_of(next(each for each in value if each is not None))
        case _:
            return str(value)


def by_key(given: list[Given]) -> dict[tuple[str, str], list[Any]]:
    found: dict[tuple[str, str], list[Any]] = {}
    for stream, value in given:
        found.setdefault((stream, key_of(value)), []).append(value)
    return found


def check(case: str, seed: int) -> None:
    """Run one plan with rescales and without; AssertionError where they differ."""
    random = Random(f"{case} {seed}")
    sides = 2 if any(word in case for word in TWO_SIDES) else 1
    steps = steps_of(random, sides)
    shelf = Shelf(Path(mkdtemp()))
    try:
        with fired_at_once(random.choice((1, 2, 256))):
            moved, still = asyncio.run(run(case, steps, random.choice((1, 2, 3)), shelf, random))
        assert by_key(moved.given) == by_key(still.given)
        assert moved.late <= still.late
    finally:
        rmtree(shelf.folder)


@pytest.mark.parametrize("case", MOVED)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_rescales_change_nothing_of_a_key_t33_t47(case: str, seed: int) -> None:
    """Results, their order, what is late, and the watermark that handlers see; also in the midst of firing (T24)."""
    check(case, seed)


@pytest.mark.parametrize("case", ["timers", "sessions", "interval join"])
async def test_once_the_watermark_has_passed_all_floors_the_code_is_what_it_was(case: str, tmp_path: Path) -> None:
    """No record pays for floors that there are not."""
    subtasks, random = rescaling.Subtasks(rescaling.Planned(case), 2), Random(1)

    def texts() -> list[bool]:
        runners = [one.runner for one in subtasks.subtasks]
        return ["floored" in runner._step_for("whole", timed=True).step.source for runner in runners]

    assert texts() == [False, False]
    await subtasks.owner(0).told(60)
    await subtasks.rescale(1, Shelf(tmp_path), random, undone=True)
    assert texts() == [True]
    await subtasks.owner(0).told(59)
    await subtasks.owner(0).finish()
    assert texts() == [True]
    await subtasks.owner(0).told(60)
    await subtasks.owner(0).finish()
    assert texts() == [False]


# ---- the test proves itself: each of these bugs is found


def _of_others(chain: Chain, reports: Any, groups: int) -> list[FloorRun]:
    runs = floors_of(chain, reports, groups)
    times = [run.watermark for run in runs]
    return [run._replace(watermark=time) for run, time in zip(runs, [*times[1:], *times[:1]], strict=True)]


def _least(chain: Chain, reports: Any, groups: int) -> list[FloorRun]:
    runs = floors_of(chain, reports, groups)
    return [run._replace(watermark=min(run.watermark for run in runs)) for run in runs]


def _set_late(self: EarlyTimers, key: object, name: object, domain: Any, at: int) -> None:
    self._table.set(key, name, domain, at)


def _passed(self: WaitingText, node: Node, mark: str, depth: int) -> None:
    del node, mark
    self.emit(depth, "if tf - 1 > wp: wp = tf - 1")


BUGS: dict[str, tuple[str, Any]] = {
    "floors are not in the checkpoint": ("tumbling, all records", patch.object(rescaling, "floors_of", lambda *_: [])),
    "floors are those of another key group": ("sessions", patch.object(rescaling, "floors_of", _of_others)),
    "floors are the least of all": ("tumbling, sliced, lateness", patch.object(rescaling, "floors_of", _least)),
    "a second rescale forgets the floors of the first": (
        "cogroup of sessions",
        patch.object(EventTime, "floors", property(lambda self: self._floors if self._stage.now < 0 else ())),
    ),
    "what was due before the rescale waits for the watermark": (
        "timers",
        patch.object(EarlyTimers, "_read_on", lambda *_: None),
    ),
    "a timer set below its floor waits for the watermark": ("timers", patch.object(EarlyTimers, "set", _set_late)),
    "what is due by a floor moves time for all keys": (
        "timers",
        patch.object(WaitingText, "_passed", _passed),
    ),
    "states expire by the watermark of the subtask": (
        "expiring by event time",
        patch.object(Floors, "at_timer", lambda _, key, time: time),
    ),
    "handlers see the watermark of the subtask": (
        "timers",
        patch.object(Floors, "at", lambda _, key, watermark: watermark),
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_in_the_floors_is_found(bug: str) -> None:
    """Within a bounded number of plans."""
    case, mutant = BUGS[bug]
    with mutant:
        for seed in range(100):
            try:
                check(case, seed)
            except AssertionError:
                return
    pytest.fail(f"{bug}: not found in 100 plans")
