"""What must hold of watermark generators: they follow the records, never go back, and survive restarts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import CodecError, PlanError, RestoreError, TimestampError
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.generators import BoundedOutOfOrderness, Custom, WatermarkGenerator

if TYPE_CHECKING:
    from actorstream.operators.generators import Time

SECOND = 1_000_000


def moved(generator: BoundedOutOfOrderness, *times: int) -> BoundedOutOfOrderness:
    """Do what the generated loop does for each record."""
    for time in times:
        if time > generator.highest:
            generator.highest = time
    return generator


class Marks(WatermarkGenerator[str]):
    """Punctuated: a record "end" says that all before it is complete; a tick gives what `periodic` holds."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.periodic: Time | None = None

    def on_element(self, value: str, timestamp: datetime, /) -> Time | None:
        if value != "end":
            return None
        self.ends.append(timestamp.timestamp())
        return timestamp

    def on_period(self) -> Time | None:
        return self.periodic

    def snapshot(self) -> object:
        return self.ends

    def restore(self, state: Any, /) -> None:
        self.ends = state


class Gives:
    """Gives whatever it is told to: a user's class need not derive from ours."""

    def __init__(self, *given: object) -> None:
        self.given = list(given)

    def on_element(self, _value: object, _timestamp: datetime, /) -> Any:
        return self.given.pop(0)

    def on_period(self) -> Any:
        return self.given.pop(0)

    def snapshot(self) -> object:
        return self.given

    def restore(self, state: Any, /) -> None:
        self.given = state


def stored(snapshot: object) -> object:
    """What comes back out of a checkpoint."""
    return SELF_DESCRIBING.decode(SELF_DESCRIBING.encode(snapshot))


def test_before_the_first_record_nothing_is_promised() -> None:
    """Whatever the delay: TIME_MIN, and not something below it."""
    assert BoundedOutOfOrderness(0).watermark() == BoundedOutOfOrderness(5 * SECOND).watermark() == TIME_MIN
    assert Custom(Marks(), "orders").watermark() == TIME_MIN


def test_watermark_stays_just_below_the_highest_time_less_the_delay() -> None:
    """A record exactly `delay` behind is not late: late is what is at or below the watermark."""
    generator = moved(BoundedOutOfOrderness(5 * SECOND), 10 * SECOND, 12 * SECOND, 11 * SECOND)

    assert generator.watermark() == 7 * SECOND - 1


@settings(max_examples=100, deadline=None)
@given(delay=st.integers(0, 20), times=st.lists(st.integers(-50, 50), max_size=20))
def test_bounded_watermark_is_that_of_all_records_so_far_and_never_goes_back(delay: int, times: list[int]) -> None:
    """And no record within the delay is at or below it."""
    generator = BoundedOutOfOrderness(delay)
    for count, time in enumerate(times, start=1):
        before = generator.watermark()
        moved(generator, time)

        assert generator.watermark() == max(times[:count]) - delay - 1
        assert generator.watermark() >= before


@settings(max_examples=100, deadline=None)
@given(delays=st.tuples(st.integers(0, 20), st.integers(0, 20)), times=st.lists(st.integers(-50, 50)))
def test_bounded_generator_keeps_its_promise_over_a_restart_t47(delays: tuple[int, int], times: list[int]) -> None:
    """T47: also where the new code has a longer delay: what was late before the crash is late after it."""
    before, after = moved(BoundedOutOfOrderness(delays[0]), *times), BoundedOutOfOrderness(delays[1])

    after.restore(stored(before.snapshot()))

    assert after.watermark() == before.watermark()
    assert moved(after, 200).watermark() == 200 - delays[1] - 1


def test_punctuated_generator_moves_with_the_records_that_say_so() -> None:
    """The others are no news, and it stays."""
    custom = Custom(Marks(), "orders")

    assert custom.on_element("a", 5 * SECOND) == TIME_MIN
    assert custom.on_element("end", 6 * SECOND) == 6 * SECOND
    assert custom.on_element("b", 9 * SECOND) == 6 * SECOND
    assert custom.watermark() == 6 * SECOND
    assert custom.ignored == 0


def test_periodic_watermark_counts_as_that_of_a_record() -> None:
    """For generators that know from elsewhere how far time has come."""
    marks = Marks()
    custom = Custom(marks, "orders")

    assert custom.on_period() == TIME_MIN
    marks.periodic = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    assert custom.on_period() == custom.watermark() == 60 * SECOND
    marks.periodic = 90.5
    assert custom.on_period() == 90_500_000


def test_generator_sees_the_time_of_the_record_exactly() -> None:
    """As an aware datetime, to the microsecond."""
    seen: list[datetime] = []

    class Looks(Gives):
        def on_element(self, _value: object, timestamp: datetime, /) -> None:
            seen.append(timestamp)

    Custom(Looks(), "orders").on_element("a", 1_700_000_000_123_457)

    assert seen == [datetime(2023, 11, 14, 22, 13, 20, 123457, tzinfo=UTC)]
    assert seen[0].utcoffset() == timedelta(0)


def test_watermark_that_goes_back_is_ignored_and_counted_t41() -> None:
    """T41: the promise stands; the count tells that the generator is wrong. The same again is no mistake."""
    custom = Custom(Gives(10, 8, 10, 9.999999, 11), "orders")

    assert [custom.on_element("a", 0) for _ in range(3)] == [10 * SECOND] * 3
    assert custom.ignored == 1
    assert custom.on_period() == 10 * SECOND
    assert custom.ignored == 2
    assert custom.on_element("a", 0) == 11 * SECOND


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (datetime(2024, 1, 1), "has no time zone"),  # noqa: DTZ001
        (float("nan"), "is nan"),
        (1.7e12, "looks like milliseconds: divide by 1000"),
        ("now", "is of type str"),
        (True, "is of type bool"),
    ],
)
def test_watermark_that_is_no_time_is_an_error_that_names_the_generator(given: object, message: str) -> None:
    """One in milliseconds would close every window there is; nothing of it is kept."""
    custom = Custom(Gives(5, given, given), "orders")
    custom.on_element("a", 0)

    named = "^the watermark that watermark generator Gives of operator 'orders' gave "
    with pytest.raises(TimestampError, match=named + f".*{message}"):
        custom.on_element("a", 0)
    with pytest.raises(TimestampError, match=named):
        custom.on_period()
    assert custom.watermark() == 5 * SECOND


def test_error_of_the_generator_is_its_own() -> None:
    """Who runs the record says where it happened."""
    with pytest.raises(IndexError):
        Custom(Gives(), "orders").on_element("a", 0)


def test_custom_generator_goes_on_after_a_restart_t47() -> None:
    """T47: its watermark and its own state are in the checkpoint."""
    before, marks = Custom(Marks(), "orders"), Marks()
    before.on_element("end", 6 * SECOND)
    after = Custom(marks, "orders")

    after.restore(stored(before.snapshot()))

    assert after.watermark() == 6 * SECOND
    assert marks.ends == [6.0]
    assert after.on_element("end", 5 * SECOND) == 6 * SECOND
    assert after.ignored == 1


def test_snapshot_is_not_changed_by_what_follows_t125() -> None:
    """T125: the generator gave its own list, and goes on filling it before the checkpoint is written."""
    custom, marks = Custom(Marks(), "orders"), Marks()
    custom.on_element("end", 6 * SECOND)
    snapshot = custom.snapshot()
    custom.on_element("end", 7 * SECOND)

    Custom(marks, "orders").restore(stored(snapshot))

    assert marks.ends == [6.0]


def test_snapshot_that_cannot_be_stored_is_an_error_that_names_the_generator() -> None:
    """At the first checkpoint, not at the restart."""
    custom = Custom(Gives(object()), "orders")

    with pytest.raises(CodecError, match=r"the snapshot of watermark generator Gives of operator 'orders' cannot be"):
        custom.snapshot()


def test_generator_may_be_of_another_kind_after_an_upgrade_t47() -> None:
    """T47: the watermark stays where it was, both ways; a generator that is new has its own beginning."""
    bounded, custom = moved(BoundedOutOfOrderness(SECOND), 10 * SECOND), Custom(Gives(20), "orders")
    custom.on_element("a", 0)

    fresh = Custom(Marks(), "orders")
    fresh.restore(stored(bounded.snapshot()))
    assert fresh.watermark() == bounded.watermark()

    bounded.restore(stored(custom.snapshot()))
    assert bounded.watermark() == 20 * SECOND


@pytest.mark.parametrize("state", [None, "6", (1, 2, 3), (1, "kept"), 1.5, True])
def test_snapshot_of_something_else_is_refused(state: object) -> None:
    """The operator's name now belongs to another kind of operator."""
    with pytest.raises(RestoreError, match=f"a value of type {type(state).__name__} for a watermark generator"):
        BoundedOutOfOrderness(0).restore(state)
    with pytest.raises(RestoreError, match="for watermark generator Marks of operator 'orders'"):
        Custom(Marks(), "orders").restore(state)


@pytest.mark.parametrize("kind", ["bounded", "custom"])
def test_watermark_from_elsewhere_lifts_the_generator_and_never_lowers_it(kind: str) -> None:
    """A source that knows its watermark says so without a record."""
    generator = BoundedOutOfOrderness(5) if kind == "bounded" else Custom(Marks(), "orders")
    generator.raise_to(100)
    assert generator.watermark() == 100

    generator.raise_to(50)
    assert generator.watermark() == 100

    generator.raise_to(TIME_MAX)
    assert generator.watermark() == TIME_MAX


@pytest.mark.parametrize("given", [None, object(), Gives, Gives().snapshot])
def test_what_is_no_generator_is_refused_when_it_is_made(given: object) -> None:
    """A class in place of an object, or a function that gives a function, would fail at the first record."""
    with pytest.raises(PlanError, match=r"operator 'orders': `watermarks` gave .* expected an object with the methods"):
        Custom(given, "orders")
