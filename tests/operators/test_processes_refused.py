"""Classes and states that do not fit where they are given: refused when the plan is made, or at the start."""

from __future__ import annotations

from typing import Any

import pytest

from actorstream import (
    BroadcastContext,
    BroadcastProcess,
    BroadcastState,
    Context,
    ElementContext,
    KeyedProcess,
    OperatorListState,
    Pipeline,
    PlanError,
    Process,
    Timer,
    ValueState,
)
from actorstream.errors import StateAccessError
from actorstream.operators.process_binding import make_process
from tests.operators.broadcasting import Scores
from tests.operators.test_operator_list import Batches


def test_outside_a_job_there_is_no_state() -> None:
    """Neither before the operator is made nor on the class, where it is the declaration."""
    with pytest.raises(StateAccessError, match=r"Batches.waiting was used before its operator was made"):
        _ = Batches().waiting
    with pytest.raises(StateAccessError, match=r"Scores.rules was used before"):
        make_process(Scores, Scores).rules = {}  # type: ignore[attr-defined]
    assert isinstance(Scores.rules, BroadcastState)
    assert isinstance(Batches.waiting, OperatorListState)


class _Timed(Process[int, int]):
    def on_timer(self, timer: Timer, ctx: Any, /) -> None:
        """There is no key."""


class _Async(Process[int, int]):
    async def on_element(self, value: int, ctx: ElementContext, /) -> list[int]:
        return [value]


class _AsyncRules(BroadcastProcess[str, int, int, int]):
    def on_element(self, value: int, ctx: Context[str], /) -> None:
        """Do nothing."""

    async def on_broadcast(self, value: int, ctx: BroadcastContext, /) -> None:
        """Be refused."""


class _Keyed(KeyedProcess[int, int, int]):
    def on_element(self, value: int, ctx: Context[int], /) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda s: s.process(_Timed), "has on_timer, but a timer belongs to a key"),
        (lambda s: s.process(_Async), "on_element is async, which a Process cannot be: await before it"),
        (lambda s: s.process(_Keyed), "is a KeyedProcess, which does not fit here: derive it from Process, or put key"),
        (lambda s: s.process(Batches()), "which all subtasks would share"),
        (lambda s: s.key_by(abs).process(Batches), "is a Process, which does not fit here: derive it from KeyedProc"),
        (
            lambda s: s.key_by(abs).connect(s.broadcast()).process(_AsyncRules),
            "on_broadcast is async, which a",
        ),
        (lambda s: s.key_by(abs).connect(s.broadcast()).process(_Keyed), "derive it from BroadcastProcess"),
        (lambda s: s.key_by(abs).connect(s), "the other stream has no key"),
    ],
)
def test_classes_that_do_not_fit_are_refused_where_they_are_given(build: Any, said: str) -> None:
    """With what to do."""
    with pytest.raises(PlanError) as refused:
        build(Pipeline("p").source([1]))
    assert said in str(refused.value)


def make(owner: type[Any]) -> Any:
    """Build an object: a function that does is not asked for its class before the start."""
    return owner()


class _KeyState(Process[int, int]):
    count: ValueState[int] = ValueState(0)

    def on_element(self, value: int, ctx: ElementContext, /) -> None:
        """Do nothing."""


class _RulesAlone(KeyedProcess[int, int, int]):
    rules: BroadcastState[int, int] = BroadcastState()

    def on_element(self, value: int, ctx: Context[int], /) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda s: s.process(_KeyState), r"_KeyState \(_KeyState\) has a ValueState 'count', which belongs to a key"),
        (lambda s: s.key_by(abs).process(_RulesAlone), r"has a BroadcastState 'rules', but no broadcast stream"),
        (lambda s: s.process(lambda: make(_Keyed), name="k"), r"_Keyed \(k\) is a KeyedProcess, which does not fit"),
        (
            lambda s: s.key_by(abs).process(lambda: make(Batches), name="k"),
            r"Batches \(k\) is a Process, which does not",
        ),
    ],
)
async def test_states_that_do_not_fit_are_refused_at_the_start(build: Any, said: str) -> None:
    """A function that makes the object says its class only then."""
    pipeline = Pipeline("p")
    build(pipeline.source([1]))
    with pytest.raises(PlanError, match=said):
        async with pipeline.run():
            pass
