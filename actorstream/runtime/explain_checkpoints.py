"""What keeps checkpoints, and with them committed output, from being complete.

    Checkpoint 7   has waited 12 s for 'counts' (subtask 1) ── which has the barrier on 1 of 2 channels

Those behind an actor get their barrier from it: of all that have not acknowledged, the first in the order of the plan
is the one to look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorstream.runtime.explain_flow import doing_now
from actorstream.runtime.explain_picture import Finding
from actorstream.runtime.explain_words import counted, listed, span

if TYPE_CHECKING:
    from actorstream.runtime.explain_picture import Actor, CheckpointUnderWay, Picture

SLOW_CHECKPOINT_US: Final = 500_000
"""A checkpoint that has been under way for less is no news."""


def checkpoint_waits(picture: Picture) -> Finding | None:
    """A checkpoint is under way, and somebody has not acknowledged it."""
    current = picture.checkpoints.under_way
    if current is None or picture.now_us - current.began_us < SLOW_CHECKPOINT_US:
        return None
    took = span(picture.now_us - current.began_us)
    name = f"{'The final checkpoint' if current.final else 'Checkpoint'} {current.checkpoint}"
    effect = "what sinks have written since the last one becomes visible with it"
    if current.publishing:
        return Finding(
            "checkpoint waits",
            f"{name} began {took} ago and all have acknowledged it: its manifest is being written to the store, "
            f"and {effect}.",
            since=current.began_us,
        )
    missing = [actor for identity in current.missing if (actor := picture.actor(identity)) is not None]
    if not missing:
        return None
    first = missing[0]
    labels = [actor.label for actor in missing]
    return Finding(
        "checkpoint waits",
        f"{name} has waited for {took} for {listed(labels)}; {effect}. {_why(picture, first, current)}",
        first.identity.chain,
        current.began_us,
    )


def _why(picture: Picture, actor: Actor, current: CheckpointUnderWay) -> str:
    if actor.aligning == current.checkpoint:
        late = [channel for channel in actor.channels if channel.barrier_missing]
        names = [f"'{channel.operator}'" for channel in late]
        ahead = sum(channel.depth for channel in late)
        records = f", behind {counted(ahead, 'record')} that it has still to work through" if ahead else ""
        count = len(actor.channels)
        return (
            f"{actor.label} aligns: it has the barrier on {count - len(late)} of {count} channels, "
            f"that of {listed(names) or 'none'} is missing{records}. It {doing_now(picture, actor)}."
        )
    if actor.writing:
        return f"{actor.label} has its barrier and writes its state to the store."
    return f"{actor.label} has not come to its barrier: it {doing_now(picture, actor)}."


def checkpoints_fail(picture: Picture) -> Finding | None:
    """The last checkpoints came to nothing."""
    checkpoints = picture.checkpoints
    if not checkpoints.failed_in_a_row:
        return None
    count = checkpoints.failed_in_a_row
    why = "" if checkpoints.last_abort is None else f": {checkpoints.last_abort}"
    return Finding(
        "checkpoints fail",
        f"The last {'checkpoint' if count == 1 else f'{count} checkpoints'} failed{why}. Until one is complete, "
        "transactional sinks show nothing new, and a restart goes further back.",
    )


def commits_wait(picture: Picture) -> Finding | None:
    """The final checkpoint is complete, and its output is not committed everywhere."""
    late = [actor for each in picture.checkpoints.uncommitted if (actor := picture.actor(each)) is not None]
    if not late:
        return None
    names = [actor.named(sink) for actor in late for sink in actor.sinks] or [actor.label for actor in late]
    return Finding(
        "commits wait",
        f"The final checkpoint is complete; the job ends when {listed(names)} {'has' if len(names) == 1 else 'have'} "
        f"committed its output. {late[0].label} {doing_now(picture, late[0])}.",
        late[0].identity.chain,
    )


def no_checkpoints(picture: Picture) -> Finding | None:
    """Transactional sinks wait for a first checkpoint that nobody takes."""
    checkpoints = picture.checkpoints
    if checkpoints.interval_us is not None or checkpoints.completed or picture.status != "running":
        return None
    sinks = [actor.named(sink) for actor in picture.actors for sink in actor.sinks if actor.records_in]
    if not sinks:
        return None
    return Finding(
        "no checkpoints",
        f"{listed(sinks)} shows its output when a checkpoint is complete, and none is taken by itself "
        "(checkpoint_interval=None): call job.checkpoint(), or set an interval.",
        next(sink for actor in picture.actors for sink in actor.sinks),
    )
