"""What must hold of restart strategies."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import PlanError
from actorstream.protocol.restart import GiveUp, Restart, RestartAfter, RestartState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SECOND = 1_000_000
MIDDLE = 0.5
"""The fraction at which jitter varies nothing."""


def decisions(restart: Restart, *failures_us: int) -> list[RestartAfter | GiveUp]:
    state = RestartState(restart)
    return [state.on_failure(now_us, None, MIDDLE) for now_us in failures_us]


def delays(restart: Restart, *failures_us: int) -> list[int | None]:
    return [d.delay_us if isinstance(d, RestartAfter) else None for d in decisions(restart, *failures_us)]


def test_never_gives_up_at_once() -> None:
    """What a job without a store does."""
    assert decisions(Restart.never(), 0) == [GiveUp("the restart strategy is never")]


def test_fixed_delay_counts_restarts_over_the_whole_life() -> None:
    """However long the job ran in between."""
    restart = Restart.fixed_delay(2, delay=timedelta(seconds=3))

    assert delays(restart, 0, 10**12, 2 * 10**12) == [3 * SECOND, 3 * SECOND, None]


def test_exponential_doubles_up_to_its_maximum() -> None:
    """1 2 4 5 5 ..."""
    restart = Restart.exponential(initial=1, maximum=5)

    assert delays(restart, 0, 1, 2, 3, 4) == [SECOND, 2 * SECOND, 4 * SECOND, 5 * SECOND, 5 * SECOND]


def test_exponential_starts_over_after_a_quiet_time() -> None:
    """Measured between two failures; the limit of attempts starts over too."""
    restart = Restart.exponential(initial=1, reset_after=60, attempts=2)

    assert delays(restart, 0, SECOND, 61 * SECOND, 62 * SECOND, 63 * SECOND) == [
        SECOND,
        2 * SECOND,
        SECOND,
        2 * SECOND,
        None,
    ]


def test_jitter_varies_both_ways_and_keeps_the_maximum() -> None:
    """Many jobs that failed together must not come back together."""
    restart = Restart.exponential(initial=10, maximum=10.5, jitter=0.2)

    assert RestartState(restart).on_failure(0, None, 0.0) == RestartAfter(8 * SECOND)
    assert RestartState(restart).on_failure(0, None, 0.75) == RestartAfter(10_500_000)


def test_failure_rate_gives_up_when_failures_come_too_fast() -> None:
    """Two in ten seconds may; a third may not, unless the first is ten seconds old."""
    restart = Restart.failure_rate(2, per=10, delay=1)

    assert delays(restart, 0, 5 * SECOND, 10 * SECOND, 14 * SECOND) == [SECOND, SECOND, SECOND, None]
    assert decisions(restart, 0, 1, 2)[-1] == GiveUp("3 failures within 10 s, 2 may")


@pytest.mark.parametrize(
    "restart", [Restart.exponential(), Restart.fixed_delay(99), Restart.failure_rate(99, per=1)], ids=str
)
def test_same_place_three_times_in_a_row_gives_up(restart: Restart) -> None:
    """That record would fail for ever."""
    state = RestartState(restart)
    poison, other = ("views", 0, "17"), ("views", 0, "18")
    places = [poison, poison, other, poison, None, poison, poison]
    assert all(isinstance(state.on_failure(0, place, MIDDLE), RestartAfter) for place in places)

    decision = state.on_failure(0, poison, MIDDLE)
    assert isinstance(decision, GiveUp)
    assert "3 times in a row at the same place" in decision.reason


def test_failures_without_a_place_are_never_the_same_place() -> None:
    """A disk that is full says nothing about a record."""
    state = RestartState(Restart.exponential())

    assert all(isinstance(state.on_failure(0, None, MIDDLE), RestartAfter) for _ in range(200))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Restart.fixed_delay(-1), "attempts is -1, expected 0 or more"),
        (lambda: Restart.fixed_delay(delay=-1), "delay is -1, expected a duration of 0 s or more"),
        (lambda: Restart.fixed_delay(delay=float("nan")), "delay is nan"),
        (lambda: Restart.exponential(jitter=2), "jitter is 2, expected a share from 0 to 1"),
        (lambda: Restart.exponential(jitter=-0.1), "jitter is -0.1"),
        (lambda: Restart.exponential(initial=5, maximum=1), "below initial"),
        (lambda: Restart.exponential(initial=-1), "Restart: initial is -1"),
        (lambda: Restart.exponential(maximum=-1), "Restart: maximum is -1"),
        (lambda: Restart.exponential(reset_after=-1), "Restart: reset_after is -1"),
        (lambda: Restart.exponential(attempts=-1), "Restart: attempts is -1"),
        (lambda: Restart.failure_rate(1, per=0), "^Restart: per is 0, expected a duration above 0 s"),
        (lambda: Restart.failure_rate(1, per=-1), "Restart: per is -1"),
        (lambda: Restart.failure_rate(-1, per=1), "Restart: failures is -1"),
        (lambda: Restart.failure_rate(1, per=1, delay=-1), "Restart: delay is -1"),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], Restart], message: str) -> None:
    """At once, where they are written."""
    with pytest.raises(PlanError, match=message):
        make()


def test_what_is_not_said_and_the_bounds_of_what_may_be() -> None:
    """The defaults are promised in the docstrings; the least and the greatest are allowed."""
    assert Restart.fixed_delay() == Restart.fixed_delay(3, delay=1)
    assert Restart.exponential() == Restart.exponential(
        initial=0.1, maximum=60, jitter=0.1, reset_after=600, attempts=None
    )
    assert Restart.failure_rate(2, per=1) == Restart.failure_rate(2, per=1, delay=1)
    assert delays(Restart.exponential(initial=0, maximum=0, jitter=0, attempts=0), 0) == [None]
    assert delays(Restart.exponential(initial=1, maximum=1, jitter=1), 0) == [SECOND]


def test_a_limit_of_restarts_says_so() -> None:
    """The reason is what a person reads."""
    for restart in (Restart.fixed_delay(1), Restart.exponential(attempts=1)):
        assert decisions(restart, 0, 1)[1] == GiveUp("1 restarts are used up")


def test_the_first_failure_anywhere_is_the_first_at_that_place() -> None:
    """The third one gives up, whatever the place is called."""
    state = RestartState(Restart.fixed_delay(9))
    effects = [state.on_failure(0, "", MIDDLE) for _ in range(3)]
    assert [type(effect) for effect in effects] == [RestartAfter, RestartAfter, GiveUp]


STRATEGIES = st.sampled_from(
    [
        Restart.never(),
        Restart.fixed_delay(5, delay=60),
        Restart.exponential(attempts=9),
        Restart.exponential(jitter=1.0, initial=0.01, maximum=60, reset_after=1),
        Restart.failure_rate(3, per=5, delay=60),
    ]
)
FAILURES = st.lists(
    st.tuples(st.integers(0, 3 * SECOND), st.sampled_from([None, "a", "b"]), st.floats(0, 1, exclude_max=True)),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(restart=STRATEGIES, failures=FAILURES)
def test_delays_are_bounded_and_the_third_failure_at_one_place_gives_up(
    restart: Restart, failures: Sequence[tuple[int, str | None, float]]
) -> None:
    """For every strategy, any timing and any jitter."""
    state, now_us, places = RestartState(restart), 0, [""]
    for pause_us, place, fraction in failures:
        now_us += pause_us
        places.append(place or f"unknown {len(places)}")
        decision = state.on_failure(now_us, place, fraction)
        if isinstance(decision, GiveUp):
            return
        assert 0 <= decision.delay_us <= 60 * SECOND
        assert len(places) < 3 or len(set(places[-3:])) > 1
