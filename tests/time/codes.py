"""What the tests of whole pipelines against naive computations share: numbers that say all of a record, and manners."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.time.driving import Event, Manner, by_key

MICROSECOND = 1e-6
MANNERS = st.builds(
    Manner,
    batch=st.sampled_from([1, 7, 512, 0]),
    fired=st.sampled_from([1, 2, 256]),
    piece=st.sampled_from([1, 5, 512]),
    parallelism=st.sampled_from([1, 1, 2, 3, 4]),
    seed=st.integers(0, 1_000),
    unit=st.just(MICROSECOND),
)


FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def code_of(event: Event) -> int:
    """Say all of a record in one number: what the naive windows take."""
    return event.number * 12 + event.value


def key_of(code: int) -> str:
    return "abc"[code % 3]


def same(code: int) -> int:
    return code


def compare(found: dict[str, list[Any]], expected: dict[str, list[Any]], manner: Manner) -> None:
    """Find no difference: in the whole order where there is one subtask, else in that of each key."""
    if manner.parallelism == 1:
        assert found == expected
    assert by_key(found) == by_key(expected)
