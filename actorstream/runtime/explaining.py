"""What `job.explain()` says: what holds a job's output up, in sentences, the most telling first.

    runtime ──gather──> Picture ──each case──> Finding or None ──> one paragraph
            (explain_gather.py)  (explain_*.py: life, flow, checkpoints, time)

A case looks at one way in which things can be held up and finds it, or does not. They stand in the order in which
they explain: a job that does not run explains all else, a sink that does not return explains the back-pressure that it
makes. Those about event time are given what holds it (explain_time.py) beside the picture. What only says how things
are comes behind; that nothing is wrong is said only where nothing was found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from actorstream.runtime import explain_checkpoints as checkpoints
from actorstream.runtime import explain_flow as flow
from actorstream.runtime import explain_life as life
from actorstream.runtime import explain_loop as loop
from actorstream.runtime import explain_time_cases as time
from actorstream.runtime.explain_time import holds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.runtime.explain_picture import Finding, Picture
    from actorstream.runtime.explain_time import Hold

Case: TypeAlias = "Callable[[Picture], Finding | None]"
TimeCase: TypeAlias = "Callable[[Picture, Sequence[Hold]], Finding | None]"

HOLDS: Final[Sequence[Case]] = (
    life.rescaling,
    life.restarting,
    life.opening,
    life.stopping,
    loop.held,
    flow.slow_call,
    flow.reader_is_full,
    flow.layers_pile_up,
    flow.state_waits_for_disk,
    flow.told_to_wait,
    flow.back_pressure,
    checkpoints.checkpoint_waits,
    checkpoints.commits_wait,
    checkpoints.checkpoints_fail,
    checkpoints.no_checkpoints,
    loop.slow_function,
)
"""What holds things up, the cause before what follows from it."""

TIME_HOLDS: Final[Sequence[TimeCase]] = (
    time.no_watermarks,
    time.silent_split,
    time.idle_input,
    time.quiet_input,
    time.input_behind,
    time.paused_by_alignment,
)
"""What holds event time up."""

TIME_STANDS: Final[Sequence[TimeCase]] = (time.window_open, time.clock_not_come)
STANDS: Final[Sequence[Case]] = (life.all_ended, life.source_ended)
"""How things stand: no fault, but often the answer."""


def explain(picture: Picture) -> list[Finding]:
    """Say what holds a job's output up, the most telling first; at least one finding, and it never raises."""
    if (over := life.not_running(picture)) is not None:
        return [over]
    waiting = holds(picture)
    held = [case(picture) for case in HOLDS] + [case(picture, waiting) for case in TIME_HOLDS]
    stands = [case(picture, waiting) for case in TIME_STANDS] + [case(picture) for case in STANDS]
    findings = [finding for finding in held + stands if finding is not None]
    if any(held) or life.all_ended(picture) is not None:
        return findings
    well = life.no_input(picture) or life.running(picture)
    return [*findings, well]


def in_sentences(findings: Sequence[Finding]) -> str:
    """Give one paragraph."""
    return " ".join(finding.sentence for finding in findings)
