"""What must hold of savepoints, stops with one, drains and hand-overs in every order of events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.model.ids import CheckpointId, SubtaskId
from actorstream.protocol.coordinator import Coordinator
from actorstream.protocol.coordinator_effects import (
    Abort,
    Answer,
    Complete,
    Drain,
    Effect,
    Fail,
    Finish,
    HandOver,
    Keep,
    Publish,
    PublishSavepoint,
    Resume,
    Trigger,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

SUBTASKS = (SubtaskId("source", 0), SubtaskId("sink", 0))
WISHES = ["checkpoint", "savepoint", "savepoint", "stop savepoint", "stop savepoint", "drain", "hand over", "stop"]
OUTCOMES = ["go on", "go on", "go on", "go on", "decline", "publish failed", "not kept", "finished", "time"]


@settings(max_examples=300, deadline=None)
@given(
    events=st.lists(st.sampled_from(OUTCOMES * 2 + WISHES), min_size=10, max_size=60),
    tolerated=st.integers(-1, 2),
    interval_us=st.sampled_from([None, 20]),
    chance=st.randoms(use_true_random=False),
)
def test_sources_are_never_left_stopped_and_everybody_is_answered(
    events: Sequence[str], tolerated: int, interval_us: int | None, chance: random.Random
) -> None:
    """Wishes at any moment, failures of everything; in the end a plain stop, and a world that answers."""
    world = _World(tolerated, interval_us)
    for event in events:
        world.now += chance.choice([0, 1, 5])
        world.feed(event)
    world.wish("stop")
    for _ in range(100):
        world.now += 100_000
        world.feed("finished" if world.draining and not world.finished else "go on")
        if world.over is not None:
            break
    assert world.over is not None
    world.settle()
    assert world.waiting.keys() <= world.handed_over, "every other request is answered"


@dataclass
class _World:
    """Carries the effects out, one at a time, and knows the rules in its own words."""

    tolerated: int
    interval_us: int | None
    now: int = 0
    next_request: int = 0
    waiting: dict[int, str] = field(default_factory=dict)
    handed_over: set[int] = field(default_factory=set)
    collecting: int | None = None
    publishing: Publish[str] | PublishSavepoint[str] | None = None
    stopped: bool = False
    draining: bool = False
    final: int | None = None
    completed: list[int] = field(default_factory=list)
    savepoints: list[int] = field(default_factory=list)
    keeping: Keep | None = None
    kept: set[int] = field(default_factory=set)
    committed: bool = False
    over: Finish | HandOver | Fail | None = None
    stops: bool = False
    finished: set[SubtaskId] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.it: Coordinator[str] = Coordinator(
            subtasks=SUBTASKS,
            sources=frozenset({SUBTASKS[0]}),
            first_checkpoint=CheckpointId(1),
            interval_us=self.interval_us,
            timeout_us=1 << 60,
            pause_us=0,
            tolerated_failures=self.tolerated,
        )
        self.see(self.it.on_start(0))

    def feed(self, event: str) -> None:
        if event in WISHES:
            self.wish(event)
        elif event == "time":
            self.see(self.it.on_time(self.now))
        elif event == "finished":
            for subtask in SUBTASKS:
                if self.over is None and self.final is None:
                    self.finished.add(subtask)
                self.see(self.it.on_finished(self.now, subtask))
        else:
            self.work(event)

    def work(self, event: str) -> None:
        """Let what is under way succeed or fail by one step."""
        it, now = self.it, self.now
        if self.keeping is not None:
            keep, self.keeping = self.keeping, None
            if event != "not kept":
                self.kept.add(keep.checkpoint)
            self.see(it.on_kept(now, "disk full" if event == "not kept" else None))
        elif self.final is not None and not self.committed:
            self.committed = True
            for subtask in SUBTASKS:
                self.see(it.on_committed(now, subtask, CheckpointId(self.final)))
        elif self.publishing is not None:
            self.publish(self.publishing, works=event != "publish failed")
        elif self.collecting is not None:
            if event == "decline":
                self.see(it.on_decline(now, SUBTASKS[1], CheckpointId(self.collecting), "x"))
            else:
                for subtask in SUBTASKS:
                    if self.collecting is not None:
                        self.see(it.on_ack(now, subtask, CheckpointId(self.collecting), "r"))
        else:
            self.see(it.on_time(now))

    def publish(self, what: Publish[str] | PublishSavepoint[str], *, works: bool) -> None:
        self.publishing = None
        if not works:
            self.see(self.it.on_publish_failed(self.now, what.checkpoint, "x"))
            return
        effects = self.it.on_published(self.now, what.checkpoint)
        if isinstance(what, PublishSavepoint):
            self.savepoints.append(what.checkpoint)
            assert Complete(what.checkpoint) not in effects, "a savepoint commits nothing"
        elif what.final:
            self.final = what.checkpoint
        self.see(effects)

    def wish(self, wish: str) -> None:
        self.next_request += 1
        request = self.next_request
        self.waiting[request] = wish
        it, now = self.it, self.now
        match wish:
            case "savepoint":
                effects = it.on_savepoint(now, request, f"s{request}")
            case "stop savepoint" | "drain":
                effects = it.on_stop(now, request, savepoint=f"s{request}", drain=wish == "drain")
            case "stop":
                self.stops = True
                effects = it.on_stop(now, request)
            case "hand over":
                effects = it.on_hand_over(now, request)
            case _:
                effects = it.on_request(now, request)
        was_over = self.over
        self.see(effects)
        assert was_over is None or request not in self.waiting, "asking after the end is answered at once"

    def see(self, effects: Sequence[Effect[str]]) -> None:
        for effect in effects:
            assert self.over is None or isinstance(effect, Answer)
            match effect:
                case Trigger(checkpoint, _, stop):
                    assert self.final is None
                    self.collecting = checkpoint
                    self.stopped = self.stopped or stop
                case Publish() | PublishSavepoint():
                    self.collecting, self.publishing = None, effect
                case Abort():
                    self.collecting = None
                case Complete(checkpoint):
                    self.completed.append(checkpoint)
                case Answer(request, checkpoint, error):
                    self.answered(self.waiting.pop(request), checkpoint, error)
                case _:
                    self.see_ending(effect)

    def see_ending(self, effect: Effect[str]) -> None:
        match effect:
            case Drain():
                assert not self.draining, "once"
                self.draining = True
            case Keep(checkpoint):
                assert self.committed
                assert checkpoint == self.completed[-1]
                self.keeping = effect
            case Resume():
                assert self.stopped
                assert not self.stops
                assert not self.draining
                self.stopped, self.final, self.committed = False, None, False
            case Finish() | HandOver() | Fail():
                self.see_end(effect)
            case _:
                raise AssertionError(effect)

    def see_end(self, effect: Finish | HandOver | Fail) -> None:
        self.over = effect
        if isinstance(effect, Fail):
            return
        assert self.committed
        assert self.keeping is None
        if isinstance(effect, HandOver):
            assert not self.stops, "a stop wins"
            self.handed_over = {request for request, wish in self.waiting.items() if wish == "hand over"}
            assert self.handed_over
        else:
            assert self.stops or self.finished == set(SUBTASKS) or self.kept

    def answered(self, wish: str, checkpoint: int | None, error: str | None) -> None:
        assert (checkpoint is None) == (error is not None)
        if checkpoint is None:
            return
        match wish:
            case "savepoint":
                assert checkpoint in self.savepoints or checkpoint in self.kept
            case "stop savepoint" | "drain":
                assert checkpoint in self.kept
                assert checkpoint in self.completed
            case _:
                assert checkpoint in self.completed

    def settle(self) -> None:
        """Let what a wish after the end began come to its end."""
        for _ in range(5):
            self.work("go on")
