"""What must hold of sources that wait for each other."""

from __future__ import annotations

from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import InvariantError
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.protocol.watermark_alignment import IDLE, AlignmentGroup, Effect, Pause, Resume

Event: TypeAlias = tuple[str, str, int]
"""Kind, member, watermark."""

EVENTS: st.SearchStrategy[list[Event]] = st.lists(
    st.tuples(
        st.sampled_from(["report", "report", "report", "idle", "join", "leave"]),
        st.sampled_from("abcde"),
        st.one_of(st.integers(0, 40), st.sampled_from([TIME_MIN, TIME_MAX - 1])),
    ),
    max_size=40,
)


def group_of(drift: int, **watermarks: int) -> AlignmentGroup[str]:
    group = AlignmentGroup[str](drift)
    for member in watermarks:
        group.join(member)
    for member, watermark in watermarks.items():
        group.report(member, watermark)
    return group


def test_member_too_far_ahead_waits_until_the_slowest_has_come_on() -> None:
    """The picture of the module."""
    group = group_of(10, a=12, b=20, c=IDLE, d=IDLE)

    assert group.limit == 22
    assert group.report("c", 25) == [Pause("c")]
    assert group.paused("c")
    assert group.report("a", 14) == []
    assert group.report("a", 15) == [Resume("c")]
    assert not group.paused("c")


def test_member_at_the_limit_goes_on() -> None:
    """`max_drift` is what is allowed."""
    group = group_of(10, a=12, b=22)

    assert not group.paused("b")
    assert group.report("b", 23) == [Pause("b")]


def test_effects_come_in_the_order_of_joining() -> None:
    """Never in that of a set: the same events must give the same effects."""
    group = group_of(10, a=0, c=30, b=12, d=25)

    assert group.report("a", 2) == [Resume("b")]
    assert group.report("a", 40) == [Pause("a")]
    assert group.report("b", 40) == [Resume("c"), Pause("b"), Resume("d")]


def test_member_that_comes_back_far_behind_pauses_the_others() -> None:
    """The least may fall: it was idle, and was not waited for meanwhile."""
    group = group_of(10, a=12, b=20, c=IDLE)

    assert group.report("c", 5) == [Pause("b")]
    assert group.report("c", IDLE) == [Resume("b")]


def test_idle_group_pauses_nobody_t45() -> None:
    """T45: TIME_MAX and the drift must not be more than there is: 64 bits elsewhere, and a limit nobody knows here."""
    group = group_of(10, a=IDLE, b=IDLE)

    assert group.limit == TIME_MAX
    assert not group.paused("a")
    assert group.report("a", TIME_MAX - 1) == []
    assert group.limit == TIME_MAX


def test_idle_member_is_not_paused_however_far_it_had_come() -> None:
    """It could not take the record that ends its idleness."""
    group = group_of(10, a=0, b=50)
    assert group.paused("b")

    assert group.report("b", IDLE) == [Resume("b")]
    assert group.report("b", 51) == [Pause("b")]


def test_member_that_has_not_reported_is_not_waited_for() -> None:
    """It may take long to open; a member without a watermark that wants to be waited for says TIME_MIN."""
    group = group_of(10, a=12)
    group.join("late")

    assert group.report("a", 1_000) == []
    assert group.report("late", TIME_MIN) == [Pause("a")]


def test_member_that_leaves_is_resumed_and_holds_nobody_t45() -> None:
    """T45: a paused source that is stopped must be able to end; and the slowest takes its limit with it."""
    group = group_of(10, a=12, b=25, c=40)

    assert group.leave("c") == [Resume("c")]
    assert group.leave("a") == [Resume("b")]
    assert not group.paused("c")


def test_without_drift_all_wait_for_the_slowest() -> None:
    """The tightest there is: equal watermarks go on together."""
    group = group_of(0, a=1, b=1)

    assert group.report("a", 2) == [Pause("a")]
    assert group.report("b", 2) == [Resume("a")]


@settings(max_examples=200, deadline=None)
@given(drift=st.integers(0, 15), events=EVENTS)
def test_effects_agree_with_a_model_that_looks_at_all_members_again(drift: int, events: list[Event]) -> None:
    """And always some member that is not idle can go on: the one that stands lowest."""
    group, model = AlignmentGroup[str](drift), dict[str, int]()
    paused: set[str] = set()
    for kind, member, watermark in events:
        if (kind == "join") == (member in model):
            continue
        effects: list[Effect[str]] = []
        match kind:
            case "join":
                group.join(member)
                model[member] = IDLE
            case "leave":
                effects = group.leave(member)
                del model[member]
            case _:
                model[member] = IDLE if kind == "idle" else watermark
                effects = group.report(member, model[member])

        for effect in effects:
            assert (effect.member in paused) == isinstance(effect, Resume)
            paused ^= {effect.member}
        least = min(model.values(), default=TIME_MAX)
        assert paused == {each for each, at in model.items() if at != IDLE and at - least > drift}
        assert {each for each in "abcde" if group.paused(each)} == paused
        active = [each for each, at in model.items() if at != IDLE]
        assert not active or any(not group.paused(each) for each in active)


def test_strangers_are_refused() -> None:
    """A member that was forgotten would never be resumed."""
    group = group_of(10, a=1)

    with pytest.raises(InvariantError, match="'b' reported to a group of aligned sources which it has not joined"):
        group.report("b", 1)
    with pytest.raises(InvariantError, match="not joined"):
        group.leave("b")
    with pytest.raises(InvariantError, match="'a' joined a group of aligned sources in which it is already"):
        group.join("a")
    assert not group.paused("b")


def test_negative_drift_is_refused() -> None:
    """Then even the slowest would wait, for ever."""
    with pytest.raises(InvariantError, match="got -1"):
        AlignmentGroup[str](-1)
