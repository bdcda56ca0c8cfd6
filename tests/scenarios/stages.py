"""What the words of a scenario file mean: for each protocol a stage that feeds it events and gives the effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from actorstream.model.ids import AttemptNumber, ChannelIndex, CheckpointId, SubtaskId
from actorstream.protocol.alignment import Alignment
from actorstream.protocol.attempts import Claim, next_claim
from actorstream.protocol.commit import PendingCommit, SinkCommits
from actorstream.protocol.coordinator import Coordinator
from actorstream.protocol.recovery import ManifestFact, decide
from actorstream.protocol.restart import Restart, RestartState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Stage(Protocol):
    """One protocol object, driven by words."""

    def play(self, verb: str, words: Sequence[str]) -> Sequence[object]:
        """Feed one event; give the effects."""
        ...


class AlignmentStage:
    """`inputs N`, then `barrier|cancel CHANNEL ID`, `end CHANNEL`, `trigger|abort ID`, `unable REASON`, `able`."""

    def __init__(self) -> None:
        self.alignment = Alignment(channels=1)

    def play(self, verb: str, words: Sequence[str]) -> Sequence[object]:
        """Feed one event."""
        match verb, words:
            case "inputs", [count]:
                self.alignment = Alignment(channels=int(count))
            case "barrier", [channel, checkpoint]:
                return self.alignment.on_barrier(ChannelIndex(int(channel)), CheckpointId(int(checkpoint)))
            case "cancel", [channel, checkpoint]:
                return self.alignment.on_cancel(ChannelIndex(int(channel)), CheckpointId(int(checkpoint)))
            case "end", [channel]:
                return self.alignment.on_end_of_input(ChannelIndex(int(channel)))
            case "trigger", [checkpoint]:
                return self.alignment.on_trigger(CheckpointId(int(checkpoint)))
            case "abort", [checkpoint]:
                return self.alignment.on_abort(CheckpointId(int(checkpoint)))
            case "unable", reason:
                self.alignment.on_unable(" ".join(reason))
            case "able", []:
                self.alignment.on_able()
            case _:
                raise ValueError(f"unknown command: {verb} {words}")
        return []


class CoordinatorStage:
    """`job SUBTASK... SETTING=N...`, then events led by the time; the last line shown is `wake_at_us`.

    Subtasks whose name starts with `source` are the sources. Events: `start`, `time`, `request R`, `stop R`,
    `ack SUBTASK ID`, `decline SUBTASK ID REASON`, `finished SUBTASK`, `published ID`, `publish_failed ID REASON`,
    `committed SUBTASK ID`.
    """

    coordinator: Coordinator[str]

    def play(self, verb: str, words: Sequence[str]) -> Sequence[object]:
        """Feed one event."""
        if verb == "job":
            self.coordinator = _coordinator(words)
            return []
        effects = self._event(int(verb), *words)
        return [*effects, f"wake {self.coordinator.wake_at_us}"]

    def _event(self, now: int, kind: str, *words: str) -> Sequence[object]:
        it = self.coordinator
        match kind, words:
            case "start", ():
                return it.on_start(now)
            case "time", ():
                return it.on_time(now)
            case "request", (request,):
                return it.on_request(now, int(request))
            case "stop", (request,):
                return it.on_stop(now, int(request))
            case "finished", (name,):
                return it.on_finished(now, SubtaskId(name, 0))
            case "ack", (name, checkpoint):
                return it.on_ack(now, SubtaskId(name, 0), CheckpointId(int(checkpoint)), f"{name}@{now}")
            case _:
                return self._outcome(now, kind, words)

    def _outcome(self, now: int, kind: str, words: Sequence[str]) -> Sequence[object]:
        it = self.coordinator
        match kind, words:
            case "decline", (name, checkpoint, *reason):
                return it.on_decline(now, SubtaskId(name, 0), CheckpointId(int(checkpoint)), " ".join(reason))
            case "published", (checkpoint,):
                return it.on_published(now, CheckpointId(int(checkpoint)))
            case "publish_failed", (checkpoint, *reason):
                return it.on_publish_failed(now, CheckpointId(int(checkpoint)), " ".join(reason))
            case "committed", (name, checkpoint):
                return it.on_committed(now, SubtaskId(name, 0), CheckpointId(int(checkpoint)))
            case _:
                raise ValueError(f"unknown event: {kind} {words}")


class CommitStage:
    """`restored ID:TOKEN...`, `pre_commit ID TOKEN|-`, `complete ID`, `committed ID`, `pending`."""

    def __init__(self) -> None:
        self.sink = SinkCommits()

    def play(self, verb: str, words: Sequence[str]) -> Sequence[object]:
        """Feed one event."""
        match verb, words:
            case "restored", pairs:
                self.sink = SinkCommits()
                split = [pair.split(":") for pair in pairs]
                return self.sink.on_restored([PendingCommit(CheckpointId(int(n)), t.encode()) for n, t in split])
            case "pre_commit", [checkpoint, token]:
                self.sink.on_pre_commit(CheckpointId(int(checkpoint)), None if token == "-" else token.encode())
                return []
            case "complete", [checkpoint]:
                return self.sink.on_complete(CheckpointId(int(checkpoint)))
            case "committed", [checkpoint]:
                return self.sink.on_committed(CheckpointId(int(checkpoint)))
            case "pending", []:
                return self.sink.pending()
            case _:
                raise ValueError(f"unknown command: {verb} {words}")


class RecoveryStage:
    """`store`, `claim ATTEMPT FIRST`, `manifest ID ATTEMPT|? PROBLEM...`, `next`, `decide [SETTING=N...]`."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.facts: list[ManifestFact] = []

    def play(self, verb: str, words: Sequence[str]) -> Sequence[object]:
        """Add a fact, or ask."""
        match verb, words:
            case "store", []:
                self.claims, self.facts = [], []
            case "claim", [attempt, first]:
                self.claims.append(Claim(AttemptNumber(int(attempt)), CheckpointId(int(first))))
            case "manifest", [checkpoint, attempt, *problem]:
                number = None if attempt == "?" else AttemptNumber(int(attempt))
                self.facts.append(ManifestFact(CheckpointId(int(checkpoint)), number, " ".join(problem) or None))
            case "next", []:
                return [next_claim(self.claims, [fact.checkpoint for fact in self.facts])]
            case "decide", settings:
                given = {name: CheckpointId(int(value)) for name, value in map(_setting, settings)}
                decision = decide(
                    self.facts,
                    self.claims,
                    restore=given.get("restore"),
                    accept_duplicates="accept_duplicates" in given,
                )
                return [decision]
            case _:
                raise ValueError(f"unknown command: {verb} {words}")
        return []


class RestartStage:
    """`never`, `fixed_delay`, `exponential` or `failure_rate` with SETTING=N; then `fail TIME PLACE|- FRACTION`."""

    def __init__(self) -> None:
        self.state = RestartState(Restart.never())

    def play(self, verb: str, words: Sequence[str]) -> Sequence[object]:
        """Choose a strategy, or let the job fail."""
        if verb == "fail":
            now, place, fraction = words
            return [self.state.on_failure(int(now), None if place == "-" else place, float(fraction))]
        given = {name: int(value) for name, value in map(_setting, words)}
        makers: dict[str, Callable[..., Restart]] = {
            "never": Restart.never,
            "fixed_delay": Restart.fixed_delay,
            "exponential": Restart.exponential,
            "failure_rate": Restart.failure_rate,
        }
        self.state = RestartState(makers[verb](**given))
        return []


STAGES: dict[str, Callable[[], Stage]] = {
    "alignment": AlignmentStage,
    "coordinator": CoordinatorStage,
    "commit": CommitStage,
    "recovery": RecoveryStage,
    "restart": RestartStage,
}
"""By the first word of a scenario file's name."""


def _coordinator(words: Sequence[str]) -> Coordinator[str]:
    subtasks = [SubtaskId(name, 0) for name in words if "=" not in name]
    given = {name: int(value) for name, value in map(_setting, (word for word in words if "=" in word))}
    return Coordinator(
        subtasks=subtasks,
        sources=frozenset(subtask for subtask in subtasks if subtask.chain.startswith("source")),
        first_checkpoint=CheckpointId(given.get("first", 1)),
        interval_us=given.get("interval"),
        timeout_us=given.get("timeout", 10_000_000),
        pause_us=given.get("pause", 0),
        tolerated_failures=given.get("tolerated", 0),
    )


def _setting(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value
