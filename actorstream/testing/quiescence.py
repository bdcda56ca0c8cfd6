"""When a job can do nothing more by itself: the moment at which `send` returns.

A job is at rest when nothing is under way and everybody waits to be told something:

    split       its reader has given all that was sent        ──> waits for more
    actor       no item in any lane                           ──> waits at its mailbox
    snapshots   no frozen generation to write                 ──> waits for one
    coordinator no message to answer                          ──> waits for one

An actor whose throttle lets nothing pass rests too, whatever waits for it: the clock has to be moved.

All of it runs on one loop and hands on by waking, and whoever is woken waits no more from that instant on: a control
message shows so. One look between two turns of the loop is enough. A user's function that awaits something outside (a
sink that calls a service) is under way, and is given real time for it.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

from actorstream.errors import ActorstreamError
from actorstream.runtime.async_subtask import WithCalls
from actorstream.runtime.key_subtask import WithHandlers
from actorstream.runtime.source import SourceSubtask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorstream.runtime.built import Built
    from actorstream.runtime.subtask import Subtask
    from actorstream.testing.harness_source import FedSplit

TURNS = 1_000
"""So many turns of the loop come one after the other; from then on somebody waits for the outside world."""

_PAUSE_SECONDS = 0.001


class StillBusyError(ActorstreamError):
    """The job has not come to rest in the time given; the message says who is busy."""


async def wait_until(busy: Callable[[], str | None], patience: float) -> None:
    """Let the loop run until `busy` gives None; it is asked once a turn.

    Args:
        busy: Says who is busy and with what.
        patience: For how many real seconds.

    Raises:
        StillBusyError: Somebody is busy for longer.
        Exception: Whatever `busy` raises.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    for turn in count():
        what = busy()
        if what is None:
            return
        if loop.time() > deadline:
            raise StillBusyError(
                f"after {patience:g} s the job is still not at rest: {what}. If it only needs longer, as with much "
                "input or a slow service, say harness(pipeline, patience=...)"
            )
        await asyncio.sleep(0 if turn < TURNS else _PAUSE_SECONDS)


def busy_in(built: Built, splits: Iterable[FedSplit]) -> str | None:
    """Say who of an attempt is busy; None if it is at rest."""
    held = any(map(_reads_no_more, built.subtasks.values()))
    for split in splits:
        if not split.at_rest and not held:
            return f"split {split.name!r} of a source has {split.released - split.given} entries to read"
    for subtask in built.subtasks.values():
        if (what := _busy_actor(subtask)) is not None:
            return f"{subtask.identity} {what}"
    if not built.coordinator.is_at_rest:
        return "the coordinator is at work on a checkpoint"
    return None


def have_ended(built: Built) -> bool:
    """Tell whether the end of every split has been read."""
    sources = (subtask for subtask in built.subtasks.values() if isinstance(subtask, SourceSubtask))
    return all(place.finished for source in sources for place in source.positions.values())


def _reads_no_more(subtask: Subtask) -> bool:
    """Tell whether a throttle holds a source back, until its readers have no more room."""
    full = any(not lane.has_credit() for lane in subtask.mailbox.lanes)
    return isinstance(subtask, SourceSubtask) and full and subtask.is_throttled


def _busy_actor(subtask: Subtask) -> str | None:  # noqa: PLR0911  (one line a reason)
    mailbox, snapshots = subtask.mailbox, subtask.snapshots
    if subtask.runner.calling is not None:
        return f"is in a call of {subtask.runner.calling}, which awaits something outside"
    if isinstance(subtask, WithCalls | WithHandlers) and subtask.calls.running:
        return f"is in {subtask.calls.running} calls of {subtask.chain.head.name}, which await something outside"
    if subtask.is_throttled and mailbox.arrival.is_waited_for:
        return None if snapshots.is_at_rest else "writes a snapshot"
    if mailbox.front or any(lane.items for lane in mailbox.lanes):
        return f"has {mailbox.depth} records in its mailbox"
    if not mailbox.arrival.is_waited_for:
        return "works on a batch"
    if not snapshots.is_at_rest:
        return "writes a snapshot"
    return None
