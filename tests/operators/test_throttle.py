"""How many records may pass: never more than the rate allows, and as many as that wherever there are enough."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actorstream.operators.throttle import BURST_SECONDS, Throttle
from tests.runtime.running_chain import SteppingClock


@given(
    st.floats(0.1, 10_000),
    st.lists(st.floats(0, 2), min_size=1, max_size=30),
)
def test_over_no_time_more_pass_than_the_rate_says(rate: float, waits: list[float]) -> None:
    clock = SteppingClock()
    throttle = Throttle(rate, clock)
    passed: list[tuple[float, int]] = []
    for wait in waits:
        clock.seconds += wait
        may = throttle.allowance()
        assert (may > 0) is (throttle.seconds_to_wait() == 0)
        throttle.passed(may)
        passed.append((clock.seconds, may))

    for first, (since, _) in enumerate(passed):
        for last in range(first, len(passed)):
            count = sum(may for _, may in passed[first : last + 1])
            assert count <= rate * (passed[last][0] - since + BURST_SECONDS) + 1 + 1e-6 * rate


@given(st.floats(0.1, 1_000), st.integers(1, 50))
def test_who_wakes_as_late_as_it_is_told_to_keeps_the_rate(rate: float, count: int) -> None:
    """Waking a little late each time costs nothing in the end."""
    clock = SteppingClock()
    throttle = Throttle(rate, clock)
    for _ in range(count):
        clock.seconds += throttle.seconds_to_wait() + BURST_SECONDS / 4
        throttle.passed(max(1, throttle.allowance()))

    assert clock.seconds <= count / rate + BURST_SECONDS * (count + 1) / 4


def test_what_was_too_much_is_paid_for() -> None:
    clock = SteppingClock()
    throttle = Throttle(10, clock)
    throttle.passed(100)

    assert throttle.allowance() == 0
    assert throttle.seconds_to_wait() == 10
