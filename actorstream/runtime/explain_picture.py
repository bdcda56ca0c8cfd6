"""What is seen of a job at one instant, and what is concluded from it: the two ends of `job.explain()`.

    Picture   actors ── channels ──> actors       who can send to whom, who waits
              gauges                              how far event time has come, and which part holds it
              checkpoint, failure, readers        what else can hold a job up
    Finding   one conclusion, in a sentence

Frozen values without a way back to the runtime: a picture can be kept, compared, and made up by a test. Wall times
are `..._us`; durations that were measured by the monotonic clock are turned into the wall time at which they began.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from actorstream.model.times import TIME_MAX

if TYPE_CHECKING:
    from actorstream.model.ids import CheckpointId, SubtaskId

Held: TypeAlias = Literal["layers", "state memory"]
"""Why an actor takes no records though it could send on what they give."""
Doing: TypeAlias = Literal["write", "pre_commit", "commit"]
"""Which call of a sink's writer is under way."""
WaitingKind: TypeAlias = Literal["window", "join", "timer"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is so. `case` names its kind; `since` is a wall time in microseconds, where it is known."""

    case: str
    sentence: str
    operator: str | None = None
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One input of a watermark: a split, or a channel.

    `highest_us` is the latest event time of a record, `idle_at_us` when it will be idle if none comes; None: unknown.
    """

    name: str
    watermark: int
    idle: bool = False
    ended: bool = False
    highest_us: int | None = None
    idle_at_us: int | None = None

    @property
    def active(self) -> bool:
        """Whether it can hold the watermark."""
        return not (self.idle or self.ended)


@dataclass(frozen=True, slots=True)
class Gauge:
    """The event time at one place of an actor: behind an `assign_timestamps`, or ("") where records enter."""

    operator: str
    watermark: int
    parts: tuple[Part, ...] = ()
    idle_timeout_us: int | None = None
    out_of_orderness_us: int = 0

    @property
    def holding(self) -> int | None:
        """The index of the part that holds the watermark; None: all are idle or have ended."""
        active = [index for index, part in enumerate(self.parts) if part.active]
        counting = [index for index in active if self.parts[index].watermark >= self.watermark]
        if counting:
            return min(counting, key=lambda index: self.parts[index].watermark)
        return max(active, key=lambda index: self.parts[index].watermark, default=None)


@dataclass(frozen=True, slots=True)
class Split:
    """One split of a source.

    `last_us`: when records of it were last taken in; `depth`: how many were read and wait; `paused`: its alignment
    group, while it is ahead of that.
    """

    name: str
    finished: bool = False
    had_records: bool = False
    last_us: int | None = None
    depth: int = 0
    paused: str | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel into an actor.

    `operator` is the sending one, `gauge` its event time, `told_us` how much of it was sent; `delay_us` is what the
    sender holds back on purpose. `set_aside`: not read until a barrier has come on the others.
    """

    sender: SubtaskId
    operator: str
    depth: int = 0
    set_aside: bool = False
    barrier_missing: bool = False
    gauge: str | None = None
    told_us: int | None = None
    delay_us: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """The operator of an actor that waits for time: for event time `due_us`, or for the clock to pass `clock_due_us`.

    `exact`: nothing of it can be seen before `due_us`, and something can then; else it may only be tidying up.
    """

    operator: str
    kind: WaitingKind
    gauge: str
    due_us: int = TIME_MAX
    clock_due_us: int = TIME_MAX
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    """A call out of the runtime that an actor waits for. `doing` is None for a function of the user's."""

    operator: str
    doing: Doing | None = None
    since_us: int | None = None


@dataclass(frozen=True, slots=True)
class Limited:
    """An operator that takes no more though records wait, since it was told how much it may: by `by`.

    "concurrency": `limit` calls are under way at a time, of which `running` have no result yet, and `ready` have one
    and wait for those before them. "rate": so many calls are begun a second. "throttle": so many records pass a second.
    """

    operator: str
    by: Literal["concurrency", "rate", "throttle"]
    limit: float
    waiting: int
    running: int = 0
    ready: int = 0


@dataclass(frozen=True, slots=True)
class Actor:
    """One subtask. `rests`: nothing is left for it to do until something comes.

    `slow_us` is how long a single record took at most, if that was long, and `slow_at_us` when one last did;
    `functions` names the operators that call the user's.
    """

    identity: SubtaskId
    parallelism: int = 1
    source: str | None = None
    sinks: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    began_us: int = 0
    records_in: int = 0
    busy_seconds: float = 0.0
    slow_us: int | None = None
    slow_at_us: int | None = None
    idle_seconds: float = 0.0
    backpressured_seconds: float = 0.0
    depth: int = 0
    rests: bool = True
    opened: bool = True
    ended: bool = False
    held: Held | None = None
    layers: int = 0
    call: Call | None = None
    waits_for: tuple[SubtaskId, ...] = ()
    waits_since_us: int | None = None
    writing: int = 0
    aligning: CheckpointId | None = None
    channels: tuple[Channel, ...] = ()
    splits: tuple[Split, ...] = ()
    gauges: tuple[Gauge, ...] = ()
    waiting: Waiting | None = None
    limited: Limited | None = None

    @property
    def label(self) -> str:
        """How sentences name it."""
        return self.named(self.identity.chain)

    def named(self, operator: str) -> str:
        """Name an operator of it, with the subtask where there are several."""
        return f"'{operator}'" + (f" (subtask {self.identity.subtask})" if self.parallelism > 1 else "")

    def gauge(self, operator: str | None) -> Gauge | None:
        """Give the event time behind an operator; None if none passes there."""
        return next((gauge for gauge in self.gauges if gauge.operator == operator), None)

    def split(self, name: str) -> Split | None:
        """Give a split by name."""
        return next((split for split in self.splits if split.name == name), None)


@dataclass(frozen=True, slots=True)
class CheckpointUnderWay:
    """The checkpoint in progress, and who has not acknowledged it. `publishing`: all have."""

    checkpoint: CheckpointId
    began_us: int
    missing: tuple[SubtaskId, ...] = ()
    publishing: bool = False
    final: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """How checkpoints go. `interval_us` None: none is taken by itself."""

    interval_us: int | None = None
    under_way: CheckpointUnderWay | None = None
    failed_in_a_row: int = 0
    last_abort: str | None = None
    completed: int = 0
    uncommitted: tuple[SubtaskId, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt ended. `next_try_us` None: the next one is under way, or there will be none."""

    text: str
    operator: str | None = None
    is_sink: bool = False
    at_us: int = 0
    next_try_us: int | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """A subscription that has no room, and for which the job waits."""

    operator: str
    unread: int
    buffer: int


@dataclass(frozen=True, slots=True)
class LoopHeld:
    """Somebody held, or holds, the event loop. `actor` None: code that is no actor's of this job.

    `where` is the innermost function; `until_us` None: it still does.
    """

    since_us: int
    where: str
    operator: str | None = None
    actor: SubtaskId | None = None
    until_us: int | None = None


@dataclass(frozen=True)
class Picture:
    """A job at one instant. Without an attempt there are no actors."""

    now_us: int
    status: str
    seconds: float = 0.0
    records_in: int = 0
    records_out: int = 0
    restarts: int = 0
    gave_up: str | None = None
    failure: Failure | None = None
    gate_closed: bool = False
    actors: tuple[Actor, ...] = ()
    checkpoints: Checkpoints = Checkpoints()
    readers: tuple[Reader, ...] = ()
    timers_at_end: str = "fire"
    rescaling: bool = False
    loop_held: LoopHeld | None = None

    def actor(self, identity: SubtaskId) -> Actor | None:
        """Give one actor; None if the picture does not have it."""
        return self._by_identity.get(identity)

    @cached_property
    def _by_identity(self) -> dict[SubtaskId, Actor]:
        return {actor.identity: actor for actor in self.actors}

    @property
    def sources(self) -> tuple[Actor, ...]:
        """Those that read input."""
        return tuple(actor for actor in self.actors if actor.source is not None)
