"""What must hold of the checkpoint coordinator in every order of events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.model.ids import CheckpointId, SubtaskId
from actorstream.protocol.coordinator import Coordinator
from actorstream.protocol.coordinator_effects import (
    Abort,
    Answer,
    Complete,
    Effect,
    Fail,
    Finish,
    Publish,
    Trigger,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

Report: TypeAlias = tuple[SubtaskId, int]

SUBTASKS = (SubtaskId("source", 0), SubtaskId("source", 1), SubtaskId("sink", 0))
STRANGER = SubtaskId("stranger", 0)
LIKELY = ["ack", "ack", "all ack", "all ack", "all ack", "published", "published", "published", "time", "time"]
EVENTS = [
    *LIKELY,
    *LIKELY,
    "publish_failed",
    "decline",
    "decline",
    "finished",
    "request",
    "request",
    "stop",
    "committed",
]


@settings(max_examples=120, deadline=None)
@given(
    count=st.integers(1, 3),
    interval_us=st.sampled_from([None, 5, 20]),
    pause_us=st.sampled_from([0, 7]),
    tolerated=st.integers(-1, 2),
    events=st.lists(st.sampled_from(EVENTS), min_size=20, max_size=60),
    afterwards=st.lists(st.sampled_from(EVENTS), max_size=5),
    ends_by_stop=st.booleans(),
    chance=st.randoms(use_true_random=False),
)
def test_rules_hold_and_the_job_ends_once_everything_answers(
    count: int,
    interval_us: int | None,
    pause_us: int,
    tolerated: int,
    events: Sequence[str],
    afterwards: Sequence[str],
    ends_by_stop: bool,
    chance: random.Random,
) -> None:
    """Arbitrary events, wrong and repeated ones too; then a stop or the end of input, and a world that answers."""
    oracle = _Oracle(SUBTASKS[:count], interval_us, pause_us, tolerated)
    oracle.start()
    for event in events:
        oracle.feed(event, chance)
    oracle.answer_everything(by_stop=ends_by_stop)

    assert oracle.ended
    for event in afterwards:
        oracle.feed(event, chance)
    assert oracle.waiting == {}, "every request is answered"


@dataclass
class _Oracle:
    """Feeds events, follows the effects, and knows the rules in its own words."""

    subtasks: Sequence[SubtaskId]
    interval_us: int | None
    pause_us: int
    tolerated: int
    now: int = 0
    next_request: int = 0
    waiting: dict[int, tuple[str, int]] = field(default_factory=dict)  # request -> kind, newest id when it came
    current: int | None = None
    publishing: bool = False
    stopping: bool = False
    newest: int = 0
    completed: list[int] = field(default_factory=list)
    final_completed: int | None = None
    final_ids: set[int] = field(default_factory=set)
    stop_ids: set[int] = field(default_factory=set)
    acked: dict[SubtaskId, int] = field(default_factory=dict)
    reported: int = 0
    finished: set[SubtaskId] = field(default_factory=set)
    committed: set[SubtaskId] = field(default_factory=set)
    failures: int = 0
    ended: bool = False
    paused_until: int = 0
    last_start: int = 0

    def __post_init__(self) -> None:
        self.sources = frozenset(self.subtasks[:2])
        self.coordinator: Coordinator[Report] = Coordinator(
            subtasks=self.subtasks,
            sources=self.sources,
            first_checkpoint=CheckpointId(1),
            interval_us=self.interval_us,
            timeout_us=50,
            pause_us=self.pause_us,
            tolerated_failures=self.tolerated,
        )

    def start(self) -> None:
        self.see(self.coordinator.on_start(0), "start")

    def feed(self, event: str, chance: random.Random) -> None:
        self.now += chance.choice([0, 0, 0, 1, 10, 30])
        subtask = chance.choice([*self.subtasks, *self.subtasks, STRANGER])
        checkpoint = chance.choice([self.newest, self.newest, self.newest, self.newest - 1, self.newest + 1])
        match event:
            case "ack":
                self.ack(subtask, checkpoint)
            case "all ack":
                for each in self.subtasks:
                    self.ack(each, self.newest)
            case "decline":
                self.see(self.coordinator.on_decline(self.now, subtask, CheckpointId(checkpoint), "x"), event)
            case "published":
                self.see(self.coordinator.on_published(self.now, CheckpointId(checkpoint)), event)
            case "publish_failed":
                self.see(self.coordinator.on_publish_failed(self.now, CheckpointId(checkpoint), "x"), event)
            case "finished":
                self.finish(subtask)
            case "time":
                self.time()
            case "committed":
                self.commit(subtask, min(checkpoint, self.completed[-1] if self.completed else 0))
            case _:
                self.ask(event)

    def ack(self, subtask: SubtaskId, checkpoint: int) -> None:
        self.reported += 1
        if checkpoint == self.current and subtask in self.subtasks and not self.publishing:
            self.acked.setdefault(subtask, self.reported)
        report = (subtask, self.reported)
        self.see(self.coordinator.on_ack(self.now, subtask, CheckpointId(checkpoint), report), "ack")

    def finish(self, subtask: SubtaskId) -> None:
        new = subtask in self.subtasks and subtask not in self.finished and not self.ended
        lacking = new and self.current is not None and not self.publishing and subtask not in self.acked
        if new and self.final_completed is None:
            self.finished.add(subtask)
        effects = self.coordinator.on_finished(self.now, subtask)
        if lacking:
            assert effects == [Trigger(CheckpointId(self.newest), (subtask,), self.stopping)]
        self.see(effects, "finished")

    def commit(self, subtask: SubtaskId, checkpoint: int) -> None:
        if self.final_completed is not None and checkpoint >= self.final_completed and subtask in self.subtasks:
            self.committed.add(subtask)
        self.see(self.coordinator.on_committed(self.now, subtask, CheckpointId(checkpoint)), "committed")

    def time(self) -> None:
        self.see(self.coordinator.on_time(self.now), "time")
        wake = self.coordinator.wake_at_us
        assert wake is None or wake > self.now, "on_time at wake_at does what was due"

    def ask(self, kind: str) -> None:
        self.next_request += 1
        self.waiting[self.next_request] = (kind, self.newest)
        ask = self.coordinator.on_stop if kind == "stop" else self.coordinator.on_request
        was_ended = self.ended
        self.see(ask(self.now, self.next_request), kind)
        if was_ended:
            assert self.next_request not in self.waiting, "asking after the end is answered at once"

    def see(self, effects: Sequence[Effect[Report]], event: str) -> None:
        for effect in effects:
            assert not self.ended or isinstance(effect, Answer), "nothing comes after the end"
            match effect:
                case Trigger():
                    self.see_trigger(effect, event)
                case Publish(checkpoint, reports, final):
                    assert checkpoint == self.current
                    assert not self.publishing
                    assert reports == {subtask: (subtask, self.acked[subtask]) for subtask in self.subtasks}
                    assert final == (checkpoint in self.final_ids)
                    self.publishing = True
                case Abort(checkpoint, _, latest):
                    assert checkpoint == self.current
                    assert not self.publishing or event == "publish_failed"
                    assert latest == (self.completed[-1] if self.completed else None)
                    self.current, self.publishing = None, False
                    self.failures += 1
                case Complete(checkpoint):
                    self.see_complete(checkpoint, event)
                case Answer():
                    self.see_answer(effect)
                case Fail():
                    assert self.current is None
                    assert 0 <= self.tolerated < self.failures
                    self.ended = True
                case Finish():
                    assert self.final_completed is not None
                    assert self.committed == set(self.subtasks)
                    self.ended = True
                case _:
                    raise AssertionError(f"nobody asked for {effect}")
        assert self.ended or self.tolerated < 0 or self.failures <= self.tolerated

    def see_trigger(self, effect: Trigger, event: str) -> None:
        if effect.checkpoint == self.current:
            assert event == "finished"
            return
        assert self.current is None, "one checkpoint in progress"
        assert self.final_completed is None, "none follows the final one"
        assert effect.checkpoint > self.newest
        assert set(effect.subtasks) == self.sources | self.finished
        assert effect.stop == any(kind == "stop" for kind, _ in self.waiting.values())
        asked = any(kind == "request" for kind, _ in self.waiting.values())
        final = effect.stop or self.finished == set(self.subtasks)
        if not final and not asked:
            assert self.interval_us is not None
            assert self.now >= max(self.last_start + self.interval_us, self.paused_until)
        if final:
            self.final_ids.add(effect.checkpoint)
        self.current = self.newest = effect.checkpoint
        self.stopping, self.acked, self.last_start = effect.stop, {}, self.now

    def see_complete(self, checkpoint: int, event: str) -> None:
        assert event == "published"
        assert checkpoint == self.current
        assert self.publishing
        self.completed.append(checkpoint)
        self.current, self.publishing, self.failures = None, False, 0
        self.paused_until = self.now + self.pause_us
        if checkpoint in self.final_ids:
            self.final_completed = checkpoint

    def see_answer(self, effect: Answer) -> None:
        kind, newest = self.waiting.pop(effect.request)
        assert (effect.checkpoint is None) == (effect.error is not None)
        if effect.checkpoint is not None:
            assert effect.checkpoint in self.completed
            if kind == "stop":
                assert effect.checkpoint == self.final_completed
            else:
                assert effect.checkpoint > newest, "it started after the request"

    def answer_everything(self, *, by_stop: bool) -> None:
        """End the job, with subtasks and a disk that do their part, and time that passes."""
        if by_stop:
            self.ask("stop")
        for subtask in () if by_stop else self.subtasks:
            self.finish(subtask)
        for _ in range(20):
            if self.ended:
                return
            if self.final_completed is not None:
                for subtask in self.subtasks:
                    self.commit(subtask, self.final_completed)
            elif self.publishing:
                self.see(self.coordinator.on_published(self.now, CheckpointId(self.newest)), "published")
            elif self.current is not None:
                for subtask in self.subtasks:
                    self.ack(subtask, self.newest)
            else:
                wake = self.coordinator.wake_at_us
                assert wake is not None, "idle, not ended, and nothing to wait for"
                self.now = max(self.now, wake)
                self.time()
