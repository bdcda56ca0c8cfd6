"""Bugs in restores with more or fewer subtasks: stacks, pending output and floors of key groups that move."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from actorstream.checkpoints.manifest import FloorRun
from actorstream.codec.ordered_keys import decode_key_at
from actorstream.model.key_groups import KeyGroupRange
from actorstream.model.times import TIME_MIN
from actorstream.runtime import assembling, rescaled_time
from actorstream.runtime.operator_life import OperatorLife
from actorstream.runtime.rescaled_time import floors_of
from actorstream.state import stack
from actorstream.state.entries import HEAD_BYTES, VALUE, take_apart
from actorstream.state.missing import MISSING
from actorstream.state.operator_state import OperatorState
from actorstream.state.stack import LayerStack
from actorstream.testing.session import Session
from tests.mutations.circumstances import SAVED_AND_DEAD, in_turns, stubborn_lanes
from tests.mutations.entering import Area
from tests.simulation.evolution_plans import Part, Turn
from tests.state.machines import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from actorstream.protocol.commit import PendingCommit

AREA = Area("rescale")

_covering = LayerStack.covering


@AREA.in_state("a restore has the oldest layer on top", Rows)
def _restored_upside_down() -> Sequence[AbstractContextManager[object]]:
    def covering(key_groups: KeyGroupRange, runs: Iterable[Any] = ()) -> LayerStack:
        return _covering(key_groups, [(groups, layers[::-1]) for groups, layers in runs])

    return [patch.object(LayerStack, "covering", covering)]


@AREA.in_state("a merge of key groups forgets the stack of one owner", Rows)
def _one_owner_forgotten() -> Sequence[AbstractContextManager[object]]:
    def covering(key_groups: KeyGroupRange, runs: Iterable[Any] = ()) -> LayerStack:
        return _covering(key_groups, [run for run in runs if run[0].start <= key_groups.start])

    return [patch.object(LayerStack, "covering", covering)]


_settle = LayerStack._settle


@AREA.in_state("after a merge of key groups all see the stack of the first owner", Rows)
def _first_owner_counts() -> Sequence[AbstractContextManager[object]]:
    def settle(self: LayerStack, runs: list[Any]) -> None:
        _settle(self, [(KeyGroupRange(runs[0][0].start, runs[-1][0].end), runs[0][1])])

    return [patch.object(LayerStack, "_settle", settle)]


@AREA.in_state("the first key group of a run is looked for in the run before", Rows)
def _run_before() -> Sequence[AbstractContextManager[object]]:
    return [patch.object(stack, "bisect_right", bisect_left)]


@AREA.in_state("after a split a subtask reads the other half's key groups", Rows)
def _other_half_read() -> Sequence[AbstractContextManager[object]]:
    def stored_key(self: OperatorState) -> object:
        for _, layers in self.stack.runs():
            for layer in layers:
                entry = next(layer.scan(self._space.operator.to_bytes(2)), None)
                if entry is not None and take_apart(entry[1]).live[0] == VALUE:
                    whole = take_apart(entry[1]).key
                    return decode_key_at(whole or entry[0], 0 if whole else HEAD_BYTES)[0]
        return MISSING

    return [patch.object(OperatorState, "stored_key", stored_key)]


@AREA.in_jobs(
    "pending output of subtasks that are no more is lost (T109)",
    evolve=in_turns(
        SAVED_AND_DEAD,
        Turn(Session(power=True), (Part("move", parallelism=1),)),
        interval=None,
    ),
)
def _only_survivors() -> Sequence[AbstractContextManager[object]]:
    def restored(self: OperatorLife, operator: str) -> Sequence[PendingCommit]:
        return self.deployment.restored_tokens.get(operator, {}).get(self.identity.subtask, ())

    return [patch.object(OperatorLife, "_restored_tokens", restored)]


_MOVED: dict[str, Any] = {
    "events": 60,
    "interval": 0.2,
    "timeout": 60.0,
    "sessions": (Session(4, rescales=[(0.05, parallelism) for parallelism in (3, 2, 4, 1, 3)]),),
}
"""Rescaled again and again, while subtasks are at different times."""


def _floors(change: Callable[[list[FloorRun]], list[FloorRun]]) -> Sequence[AbstractContextManager[object]]:
    return [patch.object(assembling, "floors_of", lambda *given: change(floors_of(*given)))]


@AREA.in_time("floors are not in the checkpoint (T47)", job="flickering-slices", **_MOVED)
def _no_floors() -> Sequence[AbstractContextManager[object]]:
    return [stubborn_lanes(), *_floors(lambda runs: [])]


@AREA.in_time("floors are not in the checkpoint, and windows have timers (T47)", job="flickering-records", **_MOVED)
def _no_floors_of_timers() -> Sequence[AbstractContextManager[object]]:
    return [stubborn_lanes(), *_floors(lambda runs: [])]


@AREA.in_time("key groups get the floors of others (T33)", job="flickering-slices", **_MOVED)
def _floors_of_others() -> Sequence[AbstractContextManager[object]]:
    # As if the first key group were the last one.
    return _floors(lambda runs: sorted(FloorRun(8 - end, 8 - start, watermark) for start, end, watermark in runs))


@AREA.in_time("all key groups have the least time of all subtasks", job="flickering-timers", **_MOVED)
def _least_of_all() -> Sequence[AbstractContextManager[object]]:
    real = rescaled_time._of_subtask
    return [patch.object(rescaled_time, "_of_subtask", lambda groups, _, time: real(groups, TIME_MIN, time))]
