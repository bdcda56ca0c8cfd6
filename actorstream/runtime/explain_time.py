"""Who holds event time: from an operator that waits for it back to the split whose records would move it.

    'per-minute' at 12:00:31 <── channel of 'clicks' (12:00:31) <── split '1' of 'clicks' (12:00:31)     the root
                                 channel of 'views'  (12:04:10)                                          ahead

At each place the least active part holds the watermark. The way back ends at a split, or where time is already on its
way: in a lane behind other records, or in an operator that has yet to fire.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.runtime.explain_words import instant, span

if TYPE_CHECKING:
    from actorstream.model.ids import SubtaskId
    from actorstream.runtime.explain_picture import Actor, Gauge, Part, Picture, Split, Waiting

HOLDS_MAX: Final = 16
"""So many waiting operators are followed to what holds them: subtasks of one operator wait for the same."""
_SHOWN_US: Final = 500

End: TypeAlias = Literal["split", "channel", "lane", "firing", "idle", "ended", "unknown"]
"""Where the way back ends.

channel: at records from another actor, which get their times here; lane: the news waits in a mailbox; firing: the
sender has not done all that is due; idle: nobody is waited for; ended: no record comes any more.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One place on the way: the actor, its gauge, and the index of the part that holds it."""

    actor: Actor
    gauge: Gauge
    part: int

    @property
    def holding(self) -> Part:
        """The part that holds the watermark."""
        return self.gauge.parts[self.part]

    @property
    def ahead(self) -> list[int]:
        """The indexes of the active parts that are ahead of it."""
        least = self.holding.watermark
        return [index for index, part in enumerate(self.gauge.parts) if part.active and part.watermark > least]

    @property
    def next_ahead(self) -> int:
        """The index of the one that would hold it next; only where some are ahead."""
        return min(self.ahead, key=lambda index: self.gauge.parts[index].watermark)


@dataclass(frozen=True, slots=True)
class Hold:
    """The way from an operator that waits to what holds its time.

    `end` says what stands at the end of `steps`. `without` is the watermark that there would be if nobody waited for
    the split there.
    """

    actor: Actor
    waiting: Waiting
    watermark: int
    end: End
    steps: tuple[Step, ...]
    without: int

    @property
    def root(self) -> Step | None:
        """The last place, if there is one."""
        return self.steps[-1] if self.steps else None

    @property
    def split(self) -> Split | None:
        """The split that holds it, if it is one."""
        root = self.root
        return None if root is None or self.end != "split" else root.actor.split(root.holding.name)

    @property
    def where(self) -> str:
        """Name what holds it, for a sentence."""
        root = self.root
        if root is None:
            return "something unknown"
        actor = root.actor
        match self.end:
            case "split":
                return f"split '{root.holding.name}' of {actor.named(actor.source or actor.identity.chain)}"
            case "channel" | "unknown":
                return f"the records that {actor.label} gets from {_sender(root)}"
            case "lane":
                return f"{root.actor.label}, which has records from {_sender(root)} to work through first"
            case "firing":
                return f"{_sender(root)}, which has yet to do what is due there"
            case "idle" | "ended":
                return f"{actor.label}, whose inputs {'are all idle' if self.end == 'idle' else 'have all ended'}"


def holds(picture: Picture) -> list[Hold]:
    """Give, for operators that wait for event time which has not come, what holds it.

    At most HOLDS_MAX: first those that will give something at a time, then those that may only tidy up, then the
    rest; each in the order of the plan.
    """
    waiting: list[tuple[Actor, Waiting, Gauge]] = []
    for actor in picture.actors:
        gauge = None if actor.waiting is None else actor.gauge(actor.waiting.gauge)
        if actor.waiting is None or gauge is None or actor.ended or gauge.watermark == TIME_MAX:
            continue
        if actor.waiting.kind == "timer" and actor.waiting.due_us == TIME_MAX:
            continue
        if actor.waiting.due_us > gauge.watermark:
            waiting.append((actor, actor.waiting, gauge))
    waiting.sort(key=lambda each: (each[1].due_us == TIME_MAX, not each[1].exact))
    found: list[Hold] = []
    known: dict[tuple[SubtaskId, str], _Without] = {}
    for actor, due, gauge in waiting[:HOLDS_MAX]:
        end, steps = _back(picture, actor, gauge, ())
        left: int | None = None
        if end == "split":
            place = steps[-1].actor.identity, steps[-1].holding.name
            left = known.setdefault(place, _Without(picture, *place)).watermark(actor, gauge)
        found.append(Hold(actor, due, gauge.watermark, end, steps, gauge.watermark if left is None else left))
    return found


def _back(picture: Picture, actor: Actor, gauge: Gauge, steps: tuple[Step, ...]) -> tuple[End, tuple[Step, ...]]:
    index = gauge.holding
    if index is None:
        ended = all(part.ended for part in gauge.parts)
        last = Step(actor, gauge, 0)
        return "ended" if ended else "idle", (*steps, last) if gauge.parts else steps
    steps = (*steps, Step(actor, gauge, index))
    if actor.source is not None:
        return "split", steps
    if gauge.operator:
        return "channel", steps
    return _behind_channel(picture, steps)


def _behind_channel(picture: Picture, steps: tuple[Step, ...]) -> tuple[End, tuple[Step, ...]]:
    """Go on from a channel to the actor that sends on it, if the news is not on its way already."""
    last = steps[-1]
    channel = last.actor.channels[last.part] if last.part < len(last.actor.channels) else None
    sender = None if channel is None else picture.actor(channel.sender)
    gauge = None if sender is None or channel is None else sender.gauge(channel.gauge)
    if channel is None or sender is None or gauge is None or channel.told_us is None:
        return "unknown", steps
    if channel.told_us > last.holding.watermark:
        return "lane", steps
    if gauge.watermark != TIME_MIN and gauge.watermark - channel.delay_us > channel.told_us:
        return "firing", steps
    if any(step.actor.identity == sender.identity and step.gauge.operator == gauge.operator for step in steps):
        return "unknown", steps
    return _back(picture, sender, gauge, steps)


class _Without:
    """Watermarks as they would be without one split."""

    def __init__(self, picture: Picture, source: SubtaskId, split: str) -> None:
        self._picture = picture
        self._source = source
        self._split = split
        self._known: dict[tuple[SubtaskId, str], int | None] = {}

    def watermark(self, actor: Actor, gauge: Gauge) -> int | None:
        """Give the watermark at a gauge; None: nobody would be waited for there."""
        place = actor.identity, gauge.operator
        if place not in self._known:
            self._known[place] = gauge.watermark  # what a cycle finds
            left = [self._part(actor, gauge, index) for index in range(len(gauge.parts))]
            active = [watermark for watermark in left if watermark is not None]
            counting = [watermark for watermark in active if watermark >= gauge.watermark]
            self._known[place] = min(counting, default=gauge.watermark) if active else None
        return self._known[place]

    def _part(self, actor: Actor, gauge: Gauge, index: int) -> int | None:
        part = gauge.parts[index]
        if not part.active or (actor.identity == self._source and part.name == self._split):
            return None
        if actor.source is not None or gauge.operator or index >= len(actor.channels):
            return part.watermark
        channel = actor.channels[index]
        sender = self._picture.actor(channel.sender)
        before = None if sender is None else sender.gauge(channel.gauge)
        if sender is None or before is None:
            return part.watermark
        sent = self.watermark(sender, before)
        return None if sent is None else max(part.watermark, sent - channel.delay_us)


def _sender(step: Step) -> str:
    channels = step.actor.channels
    return f"'{channels[step.part].operator}'" if step.part < len(channels) else "another actor"


def told(picture: Picture, hold: Hold) -> str:
    """Say what is known of the records of the split that holds time: the last one's time, and when it came."""
    root, split = hold.root, hold.split
    if root is None or split is None:
        return ""
    said: list[str] = []
    if root.holding.highest_us is not None:
        said.append(f"its latest record is of {instant(root.holding.highest_us, picture.now_us)}")
    if split.last_us is not None:
        came = f"{span(picture.now_us - split.last_us)} ago, at {instant(split.last_us, picture.now_us)}"
        said.append(f"the last one came {came}")
    return ", ".join(said)


def standing(watermark: int, picture: Picture) -> str:
    """Say where a watermark stands: `at 12:00:31 UTC`."""
    if watermark == TIME_MIN:
        return "not at any time yet"
    return f"at {instant(watermark, picture.now_us)}"


def distance(later: int, earlier: int) -> str:
    """Say how far apart two times are, where both are times and differ by what would be seen."""
    return "" if earlier == TIME_MIN or later == TIME_MAX or later - earlier < _SHOWN_US else span(later - earlier)
