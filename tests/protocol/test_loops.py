"""What is known of a loop: never empty too early, never past a record that goes round, never beyond the cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.errors import InvariantError
from actorstream.model.ids import CheckpointId
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.protocol.loops import AT_THE_END, Circulation, Passed

ONE, TWO = CheckpointId(1), CheckpointId(2)


def test_it_is_empty_when_all_entrances_have_ended_and_all_have_left() -> None:
    loop = Circulation(1, 2)
    loop.on_entered(3, None)
    loop.on_end(0)
    loop.on_end(0)
    loop.on_left(3, None)
    assert not loop.is_empty, "the other entrance is open"
    loop.on_entered(1, None)
    loop.on_end(1)
    assert loop.is_closed
    assert not loop.is_empty
    loop.on_left(1, None)
    assert loop.is_empty


def test_more_cannot_leave_than_came() -> None:
    loop = Circulation(1, 1)
    loop.on_entered(1, 5)
    with pytest.raises(InvariantError, match="records of time 6 leave a loop that never came into it"):
        loop.on_left(1, 6)
    loop.on_left(0, 5)
    with pytest.raises(InvariantError, match=r"^1 records more have left a loop than came into it"):
        loop.on_left(1, None)


def test_event_time_stops_before_what_goes_round() -> None:
    """What was let in at 15 holds it at 14 until it, and what it has become, is out.

    entrance  20 ───────────── 30 ──────────
    inside        15 ─ 15 ────────── out
    told      19  14   14      14    30
    """
    loop = Circulation(1, 1)
    loop.on_watermark(0, 10)
    assert loop.passed(0) == Passed(10, idle=False)
    loop.on_entered(2, 15)
    loop.on_watermark(0, 20)
    assert loop.passed(0).watermark == 14
    loop.on_entered(1, 15)  # what it has become
    loop.on_left(2, 15)
    loop.on_watermark(0, 30)
    assert loop.passed(0).watermark == 14
    loop.on_left(1, 15)
    assert loop.passed(0).watermark == 30


def test_what_comes_late_takes_nothing_back() -> None:
    loop = Circulation(1, 1)
    loop.on_watermark(0, 30)
    assert loop.passed(0).watermark == 30
    loop.on_entered(1, 12)
    assert loop.passed(0).watermark == 30


def test_it_is_idle_where_all_entrances_are_and_nothing_goes_round() -> None:
    loop = Circulation(1, 1)
    loop.on_entered(1, 5)
    loop.on_idle(0)
    assert not loop.passed(0).idle
    loop.on_left(1, 5)
    assert loop.passed(0).idle
    loop.on_active(0)
    assert not loop.passed(0).idle


def test_at_the_end_all_is_due_but_the_end_itself() -> None:
    """Timers of any time fire, and what they give may still go round."""
    loop = Circulation(1, 1)
    loop.on_watermark(0, TIME_MAX)
    assert loop.passed(0).watermark == AT_THE_END
    loop.on_end(0)
    assert loop.passed(0).watermark == AT_THE_END


def test_who_has_not_taken_his_snapshot_keeps_to_the_cut() -> None:
    """What is known after the cut is not told before it.

    head 0  10 ──|1── 20         |1 is its snapshot of checkpoint 1
    head 1  10 ────── 10 ──|1── 20
    """
    loop = Circulation(2, 1)
    loop.on_watermark(0, 10)
    loop.on_snapshot(0, ONE)
    loop.on_watermark(0, 20)
    assert loop.passed(0).watermark == 20
    assert loop.passed(1).watermark == 10
    loop.on_snapshot(1, ONE)
    assert loop.passed(1).watermark == 20


def test_the_first_snapshot_makes_the_cut_and_no_later_one_does() -> None:
    """What was learnt between the first two snapshots is no part of the checkpoint for the third head either."""
    loop = Circulation(3, 1)
    loop.on_watermark(0, 10)
    loop.on_snapshot(0, ONE)
    loop.on_watermark(0, 20)
    loop.on_snapshot(1, ONE)
    assert loop.passed(2).watermark == 10


def test_nobody_keeps_to_the_cut_of_what_was_given_up() -> None:
    loop = Circulation(2, 1)
    loop.on_watermark(0, 10)
    loop.on_snapshot(0, ONE)
    loop.on_watermark(0, 20)
    loop.on_abort(ONE)
    assert loop.passed(1).watermark == 20
    loop.on_snapshot(1, TWO)
    loop.on_watermark(0, 30)
    loop.on_abort(ONE)
    assert loop.passed(0).watermark == 20, "an old abort changes nothing"


def test_it_goes_on_where_a_checkpoint_was() -> None:
    loop = Circulation(2, 2)
    loop.restore(10, [(25, False, False), (40, True, False)])
    loop.on_entered(1, 12)
    assert loop.passed(1) == Passed(11, idle=False) or loop.passed(1) == Passed(10, idle=False)
    loop.on_left(1, 12)
    loop.on_watermark(0, 26)
    assert loop.passed(1).watermark == 26


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "leave", "watermark", "idle", "end", "snapshot", "abort"]),
        st.integers(0, 2),
        st.integers(0, 60),
    ),
    max_size=60,
)


@given(EVENTS)
def test_no_head_goes_back_nor_past_a_record_that_was_in_time(events: list[tuple[str, int, int]]) -> None:
    """Whatever happens: a record that comes in ahead of what was told is ahead of it until it leaves."""
    loop = Circulation(3, 3)
    inside: list[int] = []
    told = [TIME_MIN] * 3
    checkpoint = 0
    for what, number, time in events:
        match what:
            case "enter":
                if time > max(told) and not loop.is_closed:
                    loop.on_entered(1, time)
                    inside.append(time)
            case "leave":
                if inside:
                    loop.on_left(1, inside.pop(time % len(inside)))
            case "watermark":
                loop.on_watermark(number, time)
            case "idle":
                loop.on_idle(number)
            case "end":
                loop.on_end(number)
            case "snapshot":
                checkpoint += time % 2
                loop.on_snapshot(number, CheckpointId(max(1, checkpoint)))
            case _:
                loop.on_abort(CheckpointId(max(1, checkpoint)))
        now = [loop.passed(head).watermark for head in range(3)]
        assert all(after >= before for before, after in zip(told, now, strict=True))
        assert max(now) < min(inside, default=TIME_MAX)
        assert loop.records == len(inside)
        told = now
