"""Who holds the event loop, so that nothing else on it runs: seen by the watchdog, or measured by the actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorstream.runtime.explain_picture import Finding
from actorstream.runtime.explain_words import listed, since, span

if TYPE_CHECKING:
    from actorstream.runtime.explain_picture import LoopHeld, Picture

TOLD_US: Final = 60_000_000
"""What is over is told for so long."""
_ADVICE: Final = "call it in a thread (asyncio.to_thread), let it await, or do it in shorter pieces"


def held(picture: Picture) -> Finding | None:
    """The loop has had no turn for a while, or had none a moment ago."""
    hold = picture.loop_held
    if hold is None:
        return None
    who, now_us = _who(picture, hold), picture.now_us
    if hold.until_us is None:
        text = (
            f"{who} has held the event loop for {span(now_us - hold.since_us)}, in {hold.where}: nothing else on it "
            f"runs until that returns. Next time {_ADVICE}."
        )
    elif now_us - hold.until_us > TOLD_US:
        return None
    else:
        text = (
            f"{who} held the event loop for {span(hold.until_us - hold.since_us)} from "
            f"{since(hold.since_us, now_us)}, in {hold.where}, and nothing else on it ran: {_ADVICE}."
        )
    return Finding("loop held", text, hold.operator, hold.since_us)


def _who(picture: Picture, hold: LoopHeld) -> str:
    if hold.operator is None:
        return "Code that is not the job's"
    if hold.actor is None:
        return f"'{hold.operator}' of another job"
    actor = picture.actor(hold.actor)
    return f"'{hold.operator}'" if actor is None else actor.named(hold.operator)


def slow_function(picture: Picture) -> Finding | None:
    """A function takes so long for one record that the host feels it."""
    slow = [
        (actor.slow_us, actor.slow_at_us, actor)
        for actor in picture.actors
        if actor.slow_us and actor.slow_at_us is not None and picture.now_us - actor.slow_at_us <= TOLD_US
    ]
    if not slow:
        return None
    took_us, at_us, actor = max(slow, key=lambda each: each[0])
    names = [actor.named(name) for name in actor.functions] or [actor.label]
    who = names[0] if len(names) == 1 else f"One of {listed(names)}"
    return Finding(
        "slow function",
        f"{who} takes up to {span(took_us)} for one record, the last time at {since(at_us, picture.now_us)}, and holds "
        f"the event loop meanwhile: {_ADVICE}.",
        actor.functions[0] if len(names) == 1 and actor.functions else actor.identity.chain,
        at_us,
    )
