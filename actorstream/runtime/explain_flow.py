"""What keeps records from moving: who is slow, and who waits for whom.

    orders ──waits──> enrich ──waits──> out      in commit for 12 s: that is the one to look at

A chain of waiting actors is followed to the one that does not wait for another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorstream.runtime.explain_picture import Finding
from actorstream.runtime.explain_words import counted, listed, since, span

if TYPE_CHECKING:
    from actorstream.runtime.explain_picture import Actor, Call, Picture

_HOLDING_BACK: Final = {
    "layers": "takes no records until state has been merged",
    "state memory": "takes no records until changed state is written",
    "concurrency": "has no slot left for another call",
    "rate": "begins no more calls than its rate= says",
    "throttle": "holds records back to its rate",
}
SLOW_CALL_US: Final = 1_000_000
"""A call that has lasted so long holds things up; a shorter one is how a job works."""


def layers_pile_up(picture: Picture) -> Finding | None:
    """Nobody takes records, since state is written faster than it is merged."""
    if not picture.gate_closed:
        return None
    deepest = max(picture.actors, key=lambda actor: actor.layers, default=None)
    where = "" if deepest is None else f": that of {deepest.label} is in {deepest.layers} files"
    return Finding(
        "layers pile up",
        f"No actor takes records until state has been merged{where}. It goes on by itself; if this comes often, take "
        "checkpoints less often, or give the disk more room to breathe.",
        None if deepest is None else deepest.identity.chain,
    )


def state_waits_for_disk(picture: Picture) -> Finding | None:
    """An actor takes no records until what it has changed is written."""
    held = [actor for actor in picture.actors if actor.held == "state memory"]
    if not held or picture.gate_closed:
        return None
    return Finding(
        "state waits for disk",
        f"{listed([actor.label for actor in held])} takes no records until changed state is written: the disk is "
        "slower than the changes. A larger state_memory only helps with bursts.",
        held[0].identity.chain,
    )


def slow_call(picture: Picture) -> Finding | None:
    """A sink, or a function of the user's, does not come back."""
    slow = [
        (actor.call.since_us or 0, actor, actor.call)
        for actor in picture.actors
        if actor.call is not None
        and (actor.call.since_us is None or picture.now_us - actor.call.since_us >= SLOW_CALL_US)
    ]
    if not slow:
        return None
    _, actor, call = min(slow, key=lambda each: each[0])
    more = f", and {len(slow) - 1} more actors wait in such calls" if len(slow) > 1 else ""
    return Finding(
        "slow sink" if call.operator in actor.sinks else "slow call",
        f"{actor.named(call.operator)} {_in_call(picture, call)}{more}. Until it returns, the actor does nothing else: "
        "see whether what it writes to is reachable.",
        call.operator,
        call.since_us,
    )


def reader_is_full(picture: Picture) -> Finding | None:
    """A subscription is not read."""
    if not picture.readers:
        return None
    reader = picture.readers[0]
    return Finding(
        "unread subscription",
        f"A subscription to '{reader.operator}' has {counted(reader.unread, 'unread element')} and no room for more "
        f"(buffer={reader.buffer}), so '{reader.operator}' waits for its reader: read it faster, or subscribe with "
        'overflow="drop_oldest" or "error".',
        reader.operator,
    )


def told_to_wait(picture: Picture) -> Finding | None:
    """Records wait for a slot of an async function, or for a rate."""
    found = [(actor.limited.waiting, actor, actor.limited) for actor in picture.actors if actor.limited is not None]
    if not found:
        return None
    _, actor, limited = max(found, key=lambda each: each[0])
    who = actor.named(limited.operator)
    waiting = f"with {counted(limited.waiting, 'record') if limited.waiting else 'more'} in front of it"
    if limited.by == "throttle":
        text = f"{who} lets {limited.limit:g} records a second pass, as it was told to, {waiting}."
    elif limited.by == "rate":
        text = f"{who} begins {limited.limit:g} calls a second, as its rate= says, {waiting}."
    else:
        text = f"{who} has as many calls under way as concurrency={limited.limit:g} lets it, {waiting}."
        if limited.ready > limited.running:
            text += (
                f" Only {limited.running} of them still run: {limited.ready} have their result and wait for one before "
                "them, so look at how long the longest calls take; with ordered=False nobody waits for these."
            )
        else:
            text += " What it asks is the slow part: raise concurrency= if that can take more at a time."
    return Finding({"throttle": "throttled", "rate": "rate"}.get(limited.by, "slots taken"), text, limited.operator)


def back_pressure(picture: Picture) -> Finding | None:
    """Somebody is slower than those before it."""
    waiting = [actor for actor in picture.actors if actor.waits_for]
    if not waiting:
        return None
    receivers = {identity for actor in waiting for identity in actor.waits_for}
    first = next((actor for actor in waiting if actor.identity not in receivers), waiting[0])
    way = way_to_slowest(picture, first)
    if len(way) == 1:
        return None
    slowest = way[-1]
    labels = [actor.label for actor in way]
    waits = f"{labels[0]} waits for {labels[1]}" + "".join(f", which waits for {label}" for label in labels[2:])
    began = first.waits_since_us
    when = "" if began is None else f" since {since(began, picture.now_us)}"
    others = len(waiting) - (len(way) - 1)
    more = f" {others} more actors wait for room, too." if others > 0 else ""
    works = (slowest.call, slowest.held, slowest.aligning, slowest.limited) == (None, None, None, None)
    advice = " Give it more parallelism, or let it do less for each record." if works else ""
    return Finding(
        "back-pressure",
        f"{waits}{when}. The slowest is {slowest.label}: it {doing_now(picture, slowest)}.{more}{advice}",
        slowest.identity.chain,
        began,
    )


# ---- who does what


def way_to_slowest(picture: Picture, first: Actor) -> list[Actor]:
    """Follow those who wait for room in another's mailbox to one that does not."""
    way, seen = [first], {first.identity}
    while True:
        behind = [picture.actor(identity) for identity in way[-1].waits_for if identity not in seen]
        known = [actor for actor in behind if actor is not None]
        if not known:
            return way
        # One that waits itself is not the slowest, but leads there.
        following = next((actor for actor in known if actor.waits_for), None) or max(
            known, key=lambda actor: (actor.call is not None, actor.depth)
        )
        way.append(following)
        seen.add(following.identity)


def doing_now(picture: Picture, actor: Actor) -> str:
    """Say what an actor is at, as the rest of a sentence that begins with it."""
    if actor.call is not None:
        where = "" if actor.call.operator == actor.identity.chain else f" of '{actor.call.operator}'"
        return _in_call(picture, actor.call, where)
    if why := actor.held or (actor.limited and actor.limited.by):
        return _HOLDING_BACK[why]
    if actor.waits_for:
        names = [other.label for identity in actor.waits_for if (other := picture.actor(identity)) is not None]
        return f"waits for room in the mailbox of {listed(names)}" if names else "waits for room in a mailbox"
    aside = [channel for channel in actor.channels if channel.set_aside]
    if aside:
        late = [f"'{channel.operator}'" for channel in actor.channels if channel.barrier_missing]
        names = [f"'{channel.operator}'" for channel in aside]
        return (
            f"has put the input of {listed(names)} aside until the barrier of "
            f"checkpoint {actor.aligning} has come from {listed(late) if late else 'the others'}"
        )
    total = actor.busy_seconds + actor.idle_seconds + actor.backpressured_seconds
    share = f"is busy {100 * actor.busy_seconds / total:.0f} % of its time" if total > 0 else "works"
    return f"{share} and has {counted(actor.depth, 'record')} in its mailbox" if actor.depth else share


def _in_call(picture: Picture, call: Call, where: str = "") -> str:
    what = f"in {'a call' if call.doing is None else call.doing}{where}"
    return f"has been {what}" + ("" if call.since_us is None else f" for {span(picture.now_us - call.since_us)}")
