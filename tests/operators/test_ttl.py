"""Time-to-live as the user says it, and when it makes a value expire."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.errors import PlanError
from actorstream.operators.state_declarations import ListState, MapState, ValueState
from actorstream.operators.ttl import TTL, Lifetime, TtlTime, shown, ttl_of
from actorstream.state.memtable import MISSING
from actorstream.state.ttl import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("given", "us"),
    [(timedelta(days=1), 86_400_000_000), (2, 2_000_000), (0.5, 500_000), (timedelta(microseconds=1), 1), (1e-6, 1)],
)
def test_duration_is_a_timedelta_or_seconds(given: timedelta | float, us: int) -> None:
    assert ttl_of(given) == TTL(given) == TTL(given, domain="processing", refresh="write")
    assert TTL(given).duration_us == us


@pytest.mark.parametrize(
    "given",
    [0, -1, 1e-9, float("nan"), float("inf"), 10**400, timedelta.max, timedelta(0), timedelta(days=-1)],
)
def test_duration_that_is_none_or_for_ever_is_refused(given: Any) -> None:
    """Expiry plus duration stays within what a layer can hold, and NaN would expire nothing, silently."""
    with pytest.raises(PlanError, match="expected one microsecond to 366000 days: leave it out"):
        TTL(given)


@pytest.mark.parametrize("given", [True, "1h", [1]])
def test_what_is_no_duration_is_refused(given: Any) -> None:
    with pytest.raises(PlanError, match=r"ttl is .*, expected a timedelta or seconds as a number"):
        TTL(given)


def test_unknown_words_are_refused_with_those_that_are_known() -> None:
    wrong: Any = "clock"
    with pytest.raises(PlanError, match="TTL: domain is 'clock', expected one of 'event', 'processing'"):
        TTL(1, domain=wrong)
    with pytest.raises(PlanError, match="TTL: refresh is 'clock', expected one of 'write', 'read'"):
        TTL(1, refresh=wrong)


@pytest.mark.parametrize(
    "declare", [lambda ttl: ValueState(0, ttl=ttl), lambda ttl: ListState(ttl=ttl), lambda ttl: MapState(ttl=ttl)]
)
def test_each_kind_of_state_takes_a_time_to_live(declare: Callable[[Any], Any]) -> None:
    assert declare(None).ttl is None
    assert declare(60).ttl == TTL(60)
    assert declare(TTL(60, domain="event")).ttl == TTL(60, domain="event")
    with pytest.raises(PlanError, match="ttl is 'x'"):
        declare("x")


def lifetime(refresh: Any = "write", now: int = 0) -> Lifetime:
    time = TtlTime()
    time.reach(now)
    return Lifetime(TTL(100e-6, refresh=refresh), time)


def test_time_that_goes_back_stands_still_t129() -> None:
    time = TtlTime()
    for now in (5, 9, 3, 8):
        time.reach(now)
    assert (time.now, time.written) == (9, 9)


def test_reading_moves_nothing_where_only_writing_does() -> None:
    pair = ("v", 50)
    assert lifetime("write", 40).on_read(pair) is pair


@pytest.mark.parametrize(("now", "expiry"), [(9, 100), (10, 110), (60, 160)])
def test_reading_moves_the_expiry_by_steps_of_a_tenth(now: int, expiry: int) -> None:
    """Each time it moves, the value is in the next snapshot: not every reading should cost that."""
    assert lifetime("read", now).on_read(("v", 100)) == ("v", expiry)


@pytest.mark.parametrize("refresh", ["read", "write"])
def test_reading_what_can_be_changed_is_writing(refresh: str) -> None:
    """Nobody tells that it was not changed; to the microsecond, since a change may be the last."""
    assert lifetime(refresh, 1).on_read(([1], 100)) == ([1], 101)


@pytest.mark.parametrize("refresh", ["read", "write"])
@pytest.mark.parametrize("value", ["v", [1]])
def test_reading_never_makes_a_life_shorter(refresh: str, value: object) -> None:
    """In event time a record that comes late writes at an earlier time; so does one after a duration was cut."""
    assert lifetime(refresh, 1).on_read((value, 500)) == (value, 500)


def test_reading_gives_an_expiry_to_what_has_none_where_reading_counts() -> None:
    """A value from before there was a time-to-live."""
    assert lifetime("read", 7).on_read(("v", NEVER)) == ("v", 107)
    assert lifetime("write", 7).on_read(([1], NEVER)) == ([1], 107)
    assert lifetime("write", 7).on_read(("v", NEVER)) == ("v", NEVER)


def test_value_is_shown_while_now_is_before_its_expiry() -> None:
    """Half-open, as every interval."""
    assert [shown(("v", 5), now) for now in (4, 5, 6)] == ["v", MISSING, MISSING]
    assert shown(MISSING, 4) is MISSING
