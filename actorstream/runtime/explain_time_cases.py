"""What keeps windows, joins and timers from giving results: event time that does not come, or the clock.

Each case is about one way in which time is held; `explain_time.py` finds out by whom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.runtime.explain_picture import Finding
from actorstream.runtime.explain_time import distance, standing, told
from actorstream.runtime.explain_words import instant, listed, since, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.model.ids import SubtaskId
    from actorstream.runtime.explain_picture import Picture
    from actorstream.runtime.explain_time import Hold, Step

QUIET_US: Final = 1_000_000
"""A split that has given nothing for so long is quiet."""
BEHIND_US: Final = 10_000_000
"""An input that is behind by so much is told also where nothing is due by the time of the others."""


def no_watermarks(picture: Picture, found: Sequence[Hold]) -> Finding | None:
    """Records have times, and nobody says how far time has come."""
    del picture
    for hold in found:
        root, split = hold.root, hold.split
        if root is None or split is None or root.gauge.operator or not split.had_records:
            continue
        if root.holding.watermark == TIME_MIN:
            return Finding(
                "no watermarks",
                f"Event time never moves for {hold.actor.named(hold.waiting.operator)}: the records of "
                f"'{root.actor.source}' have timestamps, but nothing says how far time has come. Say "
                ".assign_timestamps(...) right behind that source.",
                hold.waiting.operator,
            )
    return None


def silent_split(picture: Picture, found: Sequence[Hold]) -> Finding | None:
    """A split that never had a record is waited for."""
    hold = next((hold for hold in found if _is_silent(hold)), None)
    if hold is None or hold.root is None:
        return None
    began = hold.root.actor.began_us
    reading = f" since the job started reading it at {since(began, picture.now_us)}" if began else ""
    return Finding(
        "split without a record",
        f"{_first_upper(hold.where)} has never had a record{reading}, and holds {_gain(picture, hold)}. "
        f"{_advice(picture, hold.root)}",
        hold.root.actor.source,
        began or None,
    )


def idle_input(picture: Picture, found: Sequence[Hold]) -> Finding | None:
    """An input gives nothing, is waited for, and nothing ends that."""
    for hold in found:
        if hold.root is not None and hold.root.gauge.idle_timeout_us is None and _is_quiet(picture, hold):
            return _quiet_finding(picture, hold, hold.root, "idle input without idle timeout")
    return None


def quiet_input(picture: Picture, found: Sequence[Hold]) -> Finding | None:
    """An input gives nothing, and is waited for until its idle timeout is over."""
    for hold in found:
        if hold.root is not None and hold.root.gauge.idle_timeout_us is not None and _is_quiet(picture, hold):
            return _quiet_finding(picture, hold, hold.root, "quiet input")
    return None


def _quiet_finding(picture: Picture, hold: Hold, root: Step, case: str) -> Finding:
    facts = told(picture, hold)
    return Finding(
        case,
        f"{_first_upper(hold.where)} gives no records{f' ({facts})' if facts else ''}, and holds "
        f"{_gain(picture, hold)}. {_advice(picture, root)}",
        root.actor.source,
        None if hold.split is None else hold.split.last_us,
    )


def input_behind(picture: Picture, found: Sequence[Hold]) -> Finding | None:
    """Of several inputs one is behind, and the others wait for it."""
    for hold in found:
        step = _behind(picture, hold)
        if step is not None:
            return _behind_finding(picture, hold, step)
    return None


def _behind_finding(picture: Picture, hold: Hold, step: Step) -> Finding:
    behind, ahead = step.holding, step.next_ahead
    other = step.gauge.parts[ahead]
    by = distance(other.watermark, behind.watermark)
    split = hold.split
    facts = "which has never had a record" if split is not None and not split.had_records else told(picture, hold)
    root = "" if step is hold.root and hold.end == "split" else f", held by {hold.where}"
    return Finding(
        "input behind",
        f"Of the inputs of {step.actor.label}, {_named(step, step.part)} is behind{f' by {by}' if by else ''}: its "
        f"watermark is {standing(behind.watermark, picture)}, that of {_named(step, ahead)} "
        f"{standing(other.watermark, picture)}{root}{f'; {facts}' if facts else ''}. "
        f"{hold.actor.named(hold.waiting.operator)} waits for the one behind.",
        _operator(step, step.part),
        None if split is None else split.last_us,
    )


def paused_by_alignment(picture: Picture, found: Sequence[Hold]) -> Finding | None:
    """A split is not read on, since it is ahead of the others of its group."""
    del found
    paused = [(actor, split) for actor in picture.sources for split in actor.splits if split.paused is not None]
    if not paused:
        return None
    actor, split = paused[0]
    more = f" and {len(paused) - 1} more" if len(paused) > 1 else ""
    behind = _lowest_but(picture, {(each.identity, one.name) for each, one in paused})
    return Finding(
        "paused by alignment",
        f"Split '{split.name}' of {actor.named(actor.source or actor.identity.chain)}{more} is not read on: it is "
        f"further ahead than its group of aligned sources '{split.paused}' allows{behind}. It goes on when those "
        "behind have come closer; a larger max_drift lets it get further ahead.",
        actor.source,
    )


def _lowest_but(picture: Picture, paused: set[tuple[SubtaskId, str]]) -> str:
    """Say for whom those wait that are paused: the split that is lowest, as far as the picture shows it."""
    lowest = min(
        (
            (part.watermark, part.name, actor.named(actor.source or actor.identity.chain))
            for actor in picture.sources
            for gauge in actor.gauges
            for part in gauge.parts
            if gauge.operator and part.active and (actor.identity, part.name) not in paused
        ),
        default=None,
    )
    return "" if lowest is None else f", and waits for split '{lowest[1]}' of {lowest[2]}"


def window_open(picture: Picture, found: Sequence[Hold]) -> Finding | None:
    """What comes next is due at a time that has not come."""
    waiting = [hold for hold in found if hold.waiting.due_us != TIME_MAX]
    if not waiting:
        return None
    hold = waiting[0]
    name, due = hold.actor.named(hold.waiting.operator), hold.waiting.due_us
    match hold.waiting.kind:
        case "window" if hold.waiting.exact:
            what = f"The next window of {name} closes at {instant(due + 1, picture.now_us)}"
        case "window":
            what = f"No window of {name} closes, or is dropped, before {instant(due + 1, picture.now_us)}"
        case "join":
            what = f"{name} has nothing to give or drop by time before {instant(due, picture.now_us)}"
        case _:
            what = f"The next timer of {name} is set to {instant(due, picture.now_us)}"
    left = distance(due + (hold.waiting.kind == "window"), hold.watermark)
    where = f"{standing(hold.watermark, picture)}{f', {left} before that' if left else ''}"
    root, facts = hold.root, told(picture, hold)
    if root is not None and facts and root.gauge.out_of_orderness_us:
        facts += f", and others may come up to {span(root.gauge.out_of_orderness_us)} behind it"
    if _is_silent(hold) or _is_quiet(picture, hold) or _behind(picture, hold) is not None:
        facts = ""  # they are in the finding about that
    stays = ": it moves with the next record" if hold.end == "idle" else ""
    others = len({each.waiting.operator for each in waiting} - {hold.waiting.operator})
    more = f" {others} more operators wait for time, too." if others else ""
    return Finding(
        "window open" if hold.waiting.kind == "window" else f"{hold.waiting.kind} not due",
        f"{what}, and the watermark is {where}, held by {hold.where}{f' ({facts})' if facts else ''}{stays}.{more}",
        hold.waiting.operator,
        None if hold.split is None else hold.split.last_us,
    )


def clock_not_come(picture: Picture, found: Sequence[Hold]) -> Finding | None:
    """Timers or windows wait for the clock."""
    del found
    due = [
        (actor.waiting.clock_due_us, actor.named(actor.waiting.operator), actor.waiting.operator)
        for actor in picture.actors
        if actor.waiting is not None and not actor.ended and actor.waiting.clock_due_us != TIME_MAX
    ]
    if not due:
        return None
    at, _, operator = min(due)
    names = list(dict.fromkeys(name for _, name, _ in sorted(due)))
    left = at - picture.now_us
    when = f"in {span(left)}" if left > 0 else "now"
    return Finding(
        "waits for the clock",
        f"{listed(names)} {'wait' if len(names) > 1 else 'waits'} for the clock: next at "
        f"{instant(at, picture.now_us)}, {when}.",
        operator,
    )


# ---- what may be said of a hold


def _is_silent(hold: Hold) -> bool:
    """Tell whether a split that never had a record holds back more than itself."""
    split = hold.split
    return split is not None and not split.had_records and not split.paused and hold.without > hold.watermark


def _is_quiet(picture: Picture, hold: Hold) -> bool:
    """Tell whether a split that had records, and has none now, holds back more than itself."""
    root, split = hold.root, hold.split
    if root is None or split is None or not split.had_records or split.paused or not root.gauge.operator:
        return False
    if split.depth or root.actor.waits_for or hold.without <= hold.watermark:
        return False
    return picture.now_us - (split.last_us or root.actor.began_us) >= QUIET_US


def _behind(picture: Picture, hold: Hold) -> Step | None:
    """Give the place on the way where others are ahead by what matters, unless another finding says all of it."""
    step = next((step for step in hold.steps if step.ahead), None)
    if step is None or hold.end == "idle":
        return None
    joins = len({channel.operator for channel in step.actor.channels}) > 1
    if not joins and (_is_silent(hold) or _is_quiet(picture, hold)):
        return None
    other = step.gauge.parts[step.next_ahead].watermark
    if other < hold.waiting.due_us and other - step.holding.watermark < BEHIND_US:
        return None
    return step


# ---- parts of sentences


def _gain(picture: Picture, hold: Hold) -> str:
    name, could = hold.actor.named(hold.waiting.operator), hold.without
    text = f"the event time of {name}, which is {standing(hold.watermark, picture)}"
    if could > hold.watermark:
        text += f" and without it would be {standing(could, picture)}"
    if hold.watermark < hold.waiting.due_us <= could and hold.waiting.exact:
        text += "; results are due by then"
    return text


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _advice(picture: Picture, root: Step) -> str:
    timeout = root.gauge.idle_timeout_us
    if timeout is not None:
        at = root.holding.idle_at_us
        left = "" if at is None else f": from {instant(at, picture.now_us)} on, in {span(at - picture.now_us)}"
        return f"After its idle_timeout of {span(timeout)} it is not waited for{left}."
    if root.gauge.operator:
        return (
            f"Nothing ends that: '{root.gauge.operator}' has no idle_timeout. Say "
            "assign_timestamps(..., idle_timeout=30), and it is not waited for while it is quiet."
        )
    return (
        "Say .assign_timestamps(..., idle_timeout=30) behind that source, and it is not waited for while it is quiet."
    )


def _operator(step: Step, part: int) -> str:
    if step.actor.source is not None or part >= len(step.actor.channels):
        return step.actor.source or step.actor.identity.chain
    return step.actor.channels[part].operator


def _named(step: Step, part: int) -> str:
    """Name a part as an input: a split, or who sends on the channel."""
    if step.actor.source is not None or part >= len(step.actor.channels):
        return f"split '{step.gauge.parts[part].name}'"
    channel = step.actor.channels[part]
    same = [each for each in step.actor.channels if each.operator == channel.operator]
    return f"'{channel.operator}'" + (f" (subtask {channel.sender.subtask})" if len(same) > 1 else "")
