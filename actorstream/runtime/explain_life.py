"""What the job as a whole is at: not running, starting again, at its end, or in good order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorstream.model.times import TIME_MAX
from actorstream.runtime.explain_picture import Finding
from actorstream.runtime.explain_words import counted, instant, listed, since, span

if TYPE_CHECKING:
    from actorstream.runtime.explain_picture import Failure, Picture

LOOPING_US: Final = 60_000_000
"""A failure is told for so long after the job runs again."""
_TEXT_MAX: Final = 600


def not_running(picture: Picture) -> Finding | None:
    """The job is over."""
    if picture.status == "finished":
        return Finding(
            "finished",
            f"The job has finished: {_counts(picture)} in {span(round(picture.seconds * 1e6))}, and all output is "
            "committed.",
        )
    if picture.status == "failed":
        why = _short(picture.gave_up or "it was cancelled")
        return Finding(
            "failed",
            f"The job has failed after {counted(picture.restarts, 'restart')}: {why}. Correct the cause and run it "
            "again.",
        )
    return None


def rescaling(picture: Picture) -> Finding | None:
    """Somebody gives the job another parallelism."""
    if picture.status != "restarting" or not picture.rescaling:
        return None
    return Finding(
        "rescaling",
        "The job is being rescaled: its sources stop at a checkpoint, and other actors go on from it.",
    )


def restarting(picture: Picture) -> Finding | None:
    """The job failed, and is being started again; or it was, a moment ago, and may be again."""
    failure = picture.failure
    if picture.rescaling:
        return None
    if failure is None:
        if picture.status != "restarting":
            return None
        return Finding("restarting", f"The job is being started again, for the {_nth(picture.restarts)} time.")
    looping = picture.restarts > 1
    if picture.status != "restarting" and (picture.now_us - failure.at_us > LOOPING_US):
        return None
    sink = failure.is_sink
    who = f"Sink '{failure.operator}' fails, and is tried again" if sink else "The job fails, and is started again"
    if looping:
        who += f", {picture.restarts} times so far"
    return Finding(
        "sink retries" if sink else "restart loop" if looping else "restarting",
        f"{who}: {_short(failure.text)} (at {since(failure.at_us, picture.now_us)}). {_next(picture, failure)}",
        failure.operator,
        failure.at_us,
    )


def _next(picture: Picture, failure: Failure) -> str:
    if failure.next_try_us is not None:
        left = span(failure.next_try_us - picture.now_us)
        return f"The next attempt starts at {instant(failure.next_try_us, picture.now_us)}, in {left}."
    if picture.status == "restarting":
        return "The next attempt is being started."
    return "It runs again, from its last checkpoint."


def opening(picture: Picture) -> Finding | None:
    """An attempt is up to its operators' `open`, and no record flows yet."""
    if picture.status not in {"starting", "restarting"} or not picture.actors:
        return None
    closed = [actor for actor in picture.actors if not actor.opened]
    names = [actor.named(actor.call.operator) if actor.call is not None else actor.label for actor in closed]
    if not names:
        return None
    return Finding("opening", f"No record flows before all operators are open: {listed(names)} is not yet.")


def stopping(picture: Picture) -> Finding | None:
    """Somebody stops the job."""
    if picture.status != "stopping":
        return None
    return Finding(
        "stopping", "The job is being stopped: its sources read no more, and it ends with a final checkpoint."
    )


def all_ended(picture: Picture) -> Finding | None:
    """Every split of every source has ended."""
    splits = [split for actor in picture.sources for split in actor.splits]
    if not picture.sources or not all(split.finished for split in splits) or picture.status != "running":
        return None
    clocks = [
        (actor.waiting.clock_due_us, actor.named(actor.waiting.operator))
        for actor in picture.actors
        if actor.waiting is not None and not actor.ended and actor.waiting.clock_due_us != TIME_MAX
    ]
    if clocks and picture.timers_at_end == "wait":
        at, name = min(clocks)
        left = f" (the next at {instant(at, picture.now_us)}, in {span(at - picture.now_us)})"
        rest = f'once the timers of {name} have fired by the clock{left}: timers_at_end is "wait"'
    else:
        busy = [actor.label for actor in picture.actors if not actor.ended]
        rest = f"once {listed(busy)} is through with what has come" if busy else "with its final checkpoint"
    return Finding("all sources ended", f"All sources have ended; the job ends {rest}.")


def source_ended(picture: Picture) -> Finding | None:
    """A source has ended, and others have not: no record comes from it any more."""
    by_name: dict[str, list[bool]] = {}
    for actor in picture.sources:
        by_name.setdefault(actor.source or "", []).extend(split.finished for split in actor.splits)
    ended = [name for name, splits in by_name.items() if splits and all(splits)]
    if not ended or len(ended) == len(by_name):
        return None
    names = [f"'{name}'" for name in ended]
    return Finding(
        "source ended",
        f"{listed(names)} {'has' if len(ended) == 1 else 'have'} ended: nothing more comes "
        "from there, and event time does not wait for it.",
        ended[0],
    )


def no_input(picture: Picture) -> Finding | None:
    """Everything that came has been worked through."""
    if picture.status != "running" or not picture.actors or not all(actor.rests for actor in picture.actors):
        return None
    last = max((split.last_us for actor in picture.sources for split in actor.splits if split.last_us), default=None)
    if not picture.records_in:
        began = min(actor.began_us for actor in picture.actors)
        ever = f" since the job started at {since(began, picture.now_us)}" if began else " yet"
        text = f"no record has come{ever}"
        last = began or None
    elif last is None:
        text = f"all that came ({counted(picture.records_in, 'record')}) has been worked through, and no more comes"
    else:
        text = f"all that came has been worked through, and no record has come since {since(last, picture.now_us)}"
    return Finding("no input", f"Nothing is wrong: {text}.", since=last)


def running(picture: Picture) -> Finding:
    """The job runs."""
    if picture.status != "running":
        return Finding("not up", f"The job is {picture.status}.")
    rate = picture.records_in / picture.seconds if picture.seconds > 0 else 0.0
    busiest = max(picture.actors, key=lambda actor: actor.busy_seconds, default=None)
    most = f" {busiest.label} has the most to do." if busiest is not None and busiest.busy_seconds else ""
    return Finding(
        "running",
        f"Nothing is wrong: the job runs, {_counts(picture)} in {span(round(picture.seconds * 1e6))} "
        f"({rate:,.0f} records/s on average).{most}",
    )


def _counts(picture: Picture) -> str:
    return f"{counted(picture.records_in, 'record')} came in and {picture.records_out:,} went to sinks"


def _nth(count: int) -> str:
    tens = {1: "st", 2: "nd", 3: "rd"}
    return f"{count}{'th' if count // 10 % 10 == 1 else tens.get(count % 10, 'th')}"


def _short(text: str) -> str:
    text = text.rstrip(".")
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}..."
