"""Which findings a picture gives, and in which order: what no real job can be brought to by a test, and any picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from actorstream.model.ids import CheckpointId, SubtaskId
from actorstream.model.times import TIME_MIN
from actorstream.runtime.explain_picture import (
    Actor,
    Call,
    Channel,
    Checkpoints,
    CheckpointUnderWay,
    Failure,
    Gauge,
    Part,
    Picture,
    Split,
    Waiting,
)
from actorstream.runtime.explain_time import holds
from actorstream.runtime.explaining import explain, in_sentences
from tests.runtime.pictures import NOW_US, SECOND, pictures

SOURCE, MIDDLE, LAST = SubtaskId("in", 0), SubtaskId("middle", 0), SubtaskId("out", 0)


def picture(*actors: Actor, status: str = "running") -> Picture:
    return Picture(now_us=NOW_US, status=status, actors=actors, seconds=10, records_in=100)


def cases(of: Picture) -> list[str]:
    return [finding.case for finding in explain(of)]


@given(pictures)
@settings(max_examples=60)
def test_any_picture_is_explained(any_picture: Picture) -> None:
    """Whatever state a job is in, also one that we did not think of: asking must not raise, and never says nothing."""
    findings = explain(any_picture)
    assert findings
    for finding in findings:
        assert finding.case
        assert finding.sentence.endswith("."), finding.sentence
        assert str(TIME_MIN) not in finding.sentence
    assert len({finding.case for finding in findings}) == len(findings), "each case is told once"
    assert in_sentences(findings)


@given(pictures)
@settings(max_examples=60)
def test_nothing_is_wrong_is_said_only_where_nothing_is(any_picture: Picture) -> None:
    found = cases(any_picture)
    if "no input" in found or "running" in found:
        assert not {"failed", "restarting", "slow sink", "back-pressure", "checkpoint waits"} & set(found)


def test_job_that_is_over_says_nothing_else() -> None:
    full = Actor(SOURCE, source="in", splits=(Split("0"),), waits_for=(LAST,))
    assert cases(picture(full, status="finished")) == ["finished"]
    assert cases(replace(picture(full, status="failed"), gave_up="broken")) == ["failed"]


def test_cause_comes_before_what_follows_from_it() -> None:
    """A sink that does not return makes back-pressure, and both make a checkpoint wait."""
    source = Actor(SOURCE, source="in", splits=(Split("0"),), waits_for=(LAST,), rests=False)
    call = Call("out", "commit", NOW_US - 9 * SECOND)
    sink = Actor(LAST, sinks=("out",), call=call, depth=2_048, rests=False)
    current = CheckpointUnderWay(CheckpointId(3), NOW_US - 5 * SECOND, (SOURCE, LAST))
    seen = replace(picture(source, sink), checkpoints=Checkpoints(1, current))
    assert cases(seen) == ["slow sink", "back-pressure", "checkpoint waits"]


# ---- back-pressure


def test_way_to_the_slowest_goes_over_all_that_wait() -> None:
    source = Actor(SOURCE, source="in", splits=(Split("0"),), waits_for=(MIDDLE,), waits_since_us=NOW_US - 4 * SECOND)
    middle = Actor(MIDDLE, waits_for=(LAST,), rests=False)
    slowest = Actor(LAST, busy_seconds=97, idle_seconds=3, depth=1_024, rests=False)
    (finding,) = [each for each in explain(picture(source, middle, slowest)) if each.case == "back-pressure"]
    assert "'in' waits for 'middle', which waits for 'out' since" in finding.sentence
    assert "The slowest is 'out': it is busy 97 % of its time and has 1,024 records in its mailbox." in finding.sentence
    assert "more parallelism" in finding.sentence
    assert finding.operator == "out"
    assert finding.since == NOW_US - 4 * SECOND


def test_of_several_that_are_full_the_one_that_waits_itself_leads_on() -> None:
    full = Actor(SubtaskId("full", 0), depth=4_000, rests=False)
    source = Actor(SOURCE, source="in", splits=(Split("0"),), waits_for=(full.identity, MIDDLE), rests=False)
    middle = Actor(MIDDLE, waits_for=(LAST,), rests=False)
    last = Actor(LAST, rests=False)
    text = in_sentences(explain(picture(source, full, middle, last)))
    assert "'in' waits for 'middle', which waits for 'out'" in text


def test_those_that_wait_for_each_other_do_not_let_it_go_round_for_ever() -> None:
    one = Actor(MIDDLE, waits_for=(LAST,))
    other = Actor(LAST, waits_for=(MIDDLE,))
    assert "back-pressure" in cases(picture(one, other))


def test_room_that_an_alignment_takes_is_explained_by_it() -> None:
    source = Actor(SOURCE, source="in", splits=(Split("0"),), waits_for=(LAST,), rests=False)
    channels = (
        Channel(SOURCE, "in", depth=2_048, set_aside=True),
        Channel(MIDDLE, "middle", barrier_missing=True),
    )
    aligns = Actor(LAST, channels=channels, aligning=CheckpointId(7), rests=False)
    text = in_sentences(explain(picture(source, aligns)))
    assert "has put the input of 'in' aside until the barrier of checkpoint 7 has come from 'middle'" in text


def test_state_that_waits_for_the_disk_is_told() -> None:
    held = Actor(MIDDLE, held="state memory")
    assert cases(picture(held))[0] == "state waits for disk"


# ---- checkpoints


def under_way(actor: Actor, *, publishing: bool = False) -> str:
    current = CheckpointUnderWay(CheckpointId(7), NOW_US - 12 * SECOND, (actor.identity,), publishing)
    return in_sentences(explain(replace(picture(actor), checkpoints=Checkpoints(1, current))))


def test_checkpoint_that_aligns_counts_the_channels_and_what_is_in_front_of_the_barrier() -> None:
    channels = (Channel(SOURCE, "in", set_aside=True), Channel(MIDDLE, "views", depth=2_048, barrier_missing=True))
    actor = Actor(LAST, channels=channels, aligning=CheckpointId(7))
    text = under_way(actor)
    assert "Checkpoint 7 has waited for 12 s for 'out'" in text
    assert "it has the barrier on 1 of 2 channels, that of 'views' is missing, behind 2,048 records" in text


def test_checkpoint_that_is_being_written_says_so() -> None:
    assert "'out' has its barrier and writes its state to the store" in under_way(Actor(LAST, writing=1))
    assert "its manifest is being written to the store" in under_way(Actor(LAST), publishing=True)


def test_checkpoint_that_has_only_begun_is_no_news() -> None:
    current = CheckpointUnderWay(CheckpointId(7), NOW_US - 1_000, (LAST,))
    seen = replace(picture(Actor(LAST)), checkpoints=Checkpoints(1, current))
    assert cases(seen) == ["no input"]


# ---- life


def test_operators_that_are_not_open_are_named() -> None:
    actor = Actor(LAST, opened=False, call=Call("out"))
    assert "'out' is not yet" in in_sentences(explain(picture(actor, status="restarting")))


def test_failure_of_long_ago_is_not_told() -> None:
    seen = replace(picture(Actor(LAST)), restarts=3, failure=Failure("broken", at_us=NOW_US - 61 * SECOND))
    assert cases(seen) == ["no input"]
    recent = replace(seen, failure=Failure("broken", at_us=NOW_US - 59 * SECOND))
    assert cases(recent) == ["restart loop"]


# ---- who holds time


def reads(name: str, *parts: Part, idle_timeout_us: int | None = None) -> Actor:
    """Give a source whose splits are the parts of one gauge, quiet for a minute."""
    splits = tuple(Split(part.name, had_records=True, last_us=NOW_US - 60 * SECOND) for part in parts)
    active = [part.watermark for part in parts if part.active]
    gauge = Gauge("times", min(active, default=TIME_MIN), parts, idle_timeout_us)
    return Actor(SubtaskId(name, 0), source=name, splits=splits, gauges=(gauge,))


def waits(*senders: Actor, due_us: int, told_us: int | None = None, delay_us: int = 0) -> Actor:
    channels: list[Channel] = []
    parts: list[Part] = []
    for sender in senders:
        watermark = sender.gauges[0].watermark - delay_us
        sent = watermark if told_us is None else told_us
        channel = Channel(sender.identity, sender.identity.chain, gauge="times", told_us=sent, delay_us=delay_us)
        channels.append(channel)
        parts.append(Part(f"0/{len(parts)}", watermark, idle=not any(part.active for part in sender.gauges[0].parts)))
    gauge = Gauge("", min(part.watermark for part in parts if part.active), tuple(parts))
    waiting = Waiting("windows", "window", "", due_us)
    return Actor(LAST, channels=tuple(channels), gauges=(gauge,), waiting=waiting)


def test_hold_leads_over_channels_to_the_split() -> None:
    fast = reads("fast", Part("a", 90 * SECOND), Part("b", 70 * SECOND))
    slow = reads("slow", Part("a", 50 * SECOND), Part("b", 10 * SECOND))
    (hold,) = holds(picture(fast, slow, waits(fast, slow, due_us=60 * SECOND - 1)))
    assert hold.end == "split"
    assert hold.where == "split 'b' of 'slow'"
    assert [step.actor.identity.chain for step in hold.steps] == ["out", "slow"]


def test_without_the_split_time_is_where_the_next_one_holds_it() -> None:
    fast = reads("fast", Part("a", 90 * SECOND), Part("b", 70 * SECOND))
    slow = reads("slow", Part("a", 50 * SECOND), Part("b", 10 * SECOND))
    seen = picture(fast, slow, waits(fast, slow, due_us=60 * SECOND - 1))
    assert holds(seen)[0].without == 50 * SECOND


def test_without_its_last_split_a_source_is_not_waited_for() -> None:
    fast, slow = reads("fast", Part("a", 90 * SECOND)), reads("slow", Part("a", 10 * SECOND))
    seen = picture(fast, slow, waits(fast, slow, due_us=60 * SECOND - 1))
    assert holds(seen)[0].without == 90 * SECOND


def test_what_the_sender_holds_back_on_purpose_is_no_delay_of_its() -> None:
    source = reads("in", Part("a", 90 * SECOND), Part("b", 95 * SECOND))
    seen = picture(source, waits(source, due_us=300 * SECOND, delay_us=20 * SECOND))
    (hold,) = holds(seen)
    assert hold.end == "split"
    assert hold.without == 75 * SECOND


@pytest.mark.parametrize(
    ("told_us", "end", "where"),
    [
        (95 * SECOND, "lane", "'out', which has records from 'in' to work through first"),
        (80 * SECOND, "firing", "'in', which has yet to do what is due there"),
    ],
)
def test_time_that_is_on_its_way_is_not_the_sources_fault(told_us: int, end: str, where: str) -> None:
    source = reads("in", Part("a", 90 * SECOND))
    waiting = waits(source, due_us=300 * SECOND, told_us=told_us)
    parts = (replace(waiting.gauges[0].parts[0], watermark=80 * SECOND),)
    waiting = replace(waiting, gauges=(replace(waiting.gauges[0], watermark=80 * SECOND, parts=parts),))
    (hold,) = holds(picture(source, waiting))
    assert (hold.end, hold.where) == (end, where)


def test_split_that_still_gives_records_is_behind_but_not_quiet() -> None:
    fast, slow = reads("fast", Part("a", 90 * SECOND)), reads("slow", Part("a", 10 * SECOND))
    slow = replace(slow, splits=(replace(slow.splits[0], last_us=NOW_US - 1_000),))
    found = cases(picture(fast, slow, waits(fast, slow, due_us=60 * SECOND - 1)))
    assert found == ["input behind", "window open"]


def test_split_whose_records_wait_is_not_called_quiet() -> None:
    """It is the actor that is slow then."""
    fast, slow = reads("fast", Part("a", 90 * SECOND)), reads("slow", Part("a", 10 * SECOND))
    for busy in (
        replace(slow, splits=(replace(slow.splits[0], depth=3),)),
        replace(slow, waits_for=(LAST,)),
    ):
        found = cases(picture(fast, busy, waits(fast, busy, due_us=60 * SECOND - 1)))
        assert "input behind" in found
        assert "idle input without idle timeout" not in found


def test_inputs_that_differ_by_little_are_no_news_where_nothing_is_due() -> None:
    """Two splits are never at the same instant."""
    fast, slow = reads("fast", Part("a", 90 * SECOND)), reads("slow", Part("a", 89 * SECOND))
    slow = replace(slow, splits=(replace(slow.splits[0], last_us=NOW_US),))
    assert cases(picture(fast, slow, waits(fast, slow, due_us=120 * SECOND - 1)))[0] == "window open"
    assert cases(picture(fast, slow, waits(fast, slow, due_us=90 * SECOND - 1)))[0] == "input behind"


def test_split_that_is_paused_for_others_is_not_called_quiet() -> None:
    fast, slow = reads("fast", Part("a", 90 * SECOND)), reads("slow", Part("a", 10 * SECOND))
    slow = replace(slow, splits=(replace(slow.splits[0], paused="group"),))
    found = cases(picture(fast, slow, waits(fast, slow, due_us=60 * SECOND - 1)))
    assert "idle input without idle timeout" not in found
    assert "paused by alignment" in found
