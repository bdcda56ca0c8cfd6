"""What must hold of the clock that says when an input is idle."""

from __future__ import annotations

from typing import Literal, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import InvariantError
from actorstream.protocol.idleness import IdleClock, Pause

Step: TypeAlias = tuple[int, Literal["record", "paused", "resumed"], Pause]
"""Time since the step before, what happens, and why."""

STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from(["record", "paused", "resumed"]),
        st.sampled_from(["back_pressure", "alignment"]),
    ),
    max_size=25,
)


def play(clock: IdleClock, now: int, step: Step) -> None:
    _, what, why = step
    match what:
        case "record":
            clock.on_record(now)
        case "paused":
            clock.on_paused(now, why)
        case "resumed":
            clock.on_resumed(now, why)


def test_quiet_input_is_idle_after_the_timeout() -> None:
    """At the timeout itself, so that a wake-up set for `idle_at` finds it idle."""
    clock = IdleClock(10, started_us=100)

    assert clock.idle_at(100) == clock.idle_at(104) == 110
    assert not clock.is_idle(109)
    assert clock.is_idle(110)
    assert clock.idle_at(110) is None


def test_record_ends_idleness_and_starts_the_timeout_anew() -> None:
    """Also long after it was idle."""
    clock = IdleClock(10, started_us=0)
    clock.on_record(50)

    assert not clock.is_idle(59)
    assert clock.idle_at(50) == 60


def test_input_that_need_not_have_a_record_is_idle_until_its_first() -> None:
    """A split that never had one, or was idle in the snapshot, holds nobody up after a restart."""
    clock = IdleClock(10)
    assert clock.is_idle(0)
    assert clock.idle_at(0) is None

    clock.on_record(100)

    assert not clock.is_idle(109)
    assert clock.is_idle(110)


def test_clock_stands_while_paused_t44() -> None:
    """T44: the picture of the module: 4 before the pause and 6 after it."""
    clock = IdleClock(10, started_us=0)
    clock.on_paused(4)

    assert not clock.is_idle(34)
    assert clock.idle_at(34) is None

    clock.on_resumed(34)
    assert clock.idle_at(34) == 40
    assert not clock.is_idle(39)
    assert clock.is_idle(40)


def test_reasons_to_pause_may_overlap_t44() -> None:
    """T44: the sink takes records again, and still the other sources must catch up."""
    clock = IdleClock(10, started_us=0)
    clock.on_paused(4, "back_pressure")
    clock.on_paused(6, "alignment")
    clock.on_resumed(20, "back_pressure")

    assert not clock.is_idle(100)

    clock.on_resumed(100, "alignment")
    assert clock.idle_at(100) == 106


def test_same_reason_counts_once_t44() -> None:
    """T44: a reader that says so at each turn is resumed by one word; and a word too many starts nothing."""
    clock = IdleClock(10, started_us=0)
    clock.on_paused(4)
    clock.on_paused(5)
    clock.on_resumed(20)
    clock.on_resumed(24)

    assert clock.idle_at(24) == 26


def test_record_during_a_pause_counts_from_its_end_t44() -> None:
    """T44: the record that was waiting to be sent is not old when it goes at last."""
    clock = IdleClock(10, started_us=0)
    clock.on_paused(9)
    clock.on_record(50)

    assert not clock.is_idle(90)
    clock.on_resumed(90)
    assert clock.idle_at(90) == 100


def test_pause_does_not_end_idleness_t44() -> None:
    """T44: only a record does: what is idle stays so while the others hold the pipeline back."""
    clock = IdleClock(10, started_us=0)
    clock.on_paused(12)

    assert clock.is_idle(12)
    clock.on_resumed(20)
    assert clock.is_idle(20)


def test_time_that_goes_back_counts_as_none() -> None:
    """The input is waited for a little longer, never shorter."""
    clock = IdleClock(10, started_us=100)

    assert not clock.is_idle(0)
    clock.on_paused(95)
    clock.on_resumed(95)
    assert clock.idle_at(95) == 105


@settings(max_examples=200, deadline=None)
@given(timeout=st.integers(1, 20), steps=STEPS)
def test_idle_if_and_only_if_quiet_for_the_timeout_t44(timeout: int, steps: list[Step]) -> None:
    """T44: against one that counts each microsecond that was not paused; `idle_at` says when that will be."""
    clock, now, quiet, idle_before = IdleClock(timeout, started_us=0), 0, 0, False
    pauses: set[Pause] = set()
    for step in steps:
        passed, what, why = step
        for _ in range(passed):
            now, quiet = now + 1, quiet + (not pauses)
            assert clock.is_idle(now) == (quiet >= timeout)
        idle_before = clock.is_idle(now)
        play(clock, now, step)
        match what:
            case "record":
                quiet = 0
            case "paused":
                pauses.add(why)
            case "resumed":
                pauses.discard(why)
        assert clock.is_idle(now) == (idle_before and what != "record")
        expected = None if pauses or quiet >= timeout else now + timeout - quiet
        assert clock.idle_at(now) == expected


@pytest.mark.parametrize("timeout", [0, -1])
def test_timeout_must_be_above_zero(timeout: int) -> None:
    """With 0 every input would be idle between two records of one batch."""
    with pytest.raises(InvariantError, match=f"got {timeout}"):
        IdleClock(timeout)
