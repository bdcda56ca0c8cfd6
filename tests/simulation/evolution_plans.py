"""Plans in which people act on running jobs: what happens on one machine, and in which order, as one seed draws it.

turn    the machine's life until it dies, or all that runs on it has ended; then the oracles look
part    one process in it: where a job goes on or begins, at which parallelism, by which version of its code
act     what somebody asks of the running job at a moment of virtual time
"""

from __future__ import annotations

import errno
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from actorstream.testing.session import Session
from tests.simulation.jobs import DRAWN
from tests.simulation.running import Plan, draw

if TYPE_CHECKING:
    from collections.abc import Sequence

Asked: TypeAlias = Literal[
    "savepoint", "two savepoints", "savepoint twice", "rescale", "two rescales", "rescale one", "stop", "drain"
]
Begin: TypeAlias = Literal["go on", "take over", "back", "move", "fork"]
Afterwards: TypeAlias = Literal["", "delete a savepoint", "delete the store"]

STEPS_USUAL = 1_500
OPERATIONS_USUAL = 320
SECONDS_USUAL = 0.6
SHARE = 0.6
_ASKED: Sequence[Asked] = (
    *("savepoint", "two savepoints", "savepoint twice", "rescale", "rescale", "two rescales", "rescale one"),
    *("stop", "drain"),
)  # fmt: skip


@dataclass(frozen=True)
class Act:
    """What is asked of a running job, `at` seconds after it is up. `name`: of a savepoint; `number`: subtasks."""

    at: float
    asked: Asked
    name: str = ""
    number: int = 1


@dataclass(frozen=True)
class Part:
    """One process.

    Attributes:
        begin: Go on where the job is; take over from who holds the store; back to a savepoint of it; move, from a
            savepoint into a new store; fork.
        acts: What people ask of it.
        parallelism: Of the job.
        after: So many seconds after the machine.
        again: Say again what the store was begun from.
        pick: Which savepoint, and which fork, of those that there are: 0 is the oldest, 1 the newest.
        claim: The savepoint becomes the job's own.
    """

    begin: Begin = "go on"
    acts: Sequence[Act] = ()
    parallelism: int = 1
    after: float = 0.0
    again: bool = True
    pick: float = 1.0
    claim: bool = False


@dataclass(frozen=True)
class Turn:
    """One life of the machine. `version`: of the code, which renames operators; `leaf`: with what may be dropped."""

    session: Session
    parts: Sequence[Part]
    version: int = 0
    leaf: bool = True
    afterwards: Afterwards = ""


@dataclass(frozen=True)
class Evolution:
    """All that one run consists of; the plan says what holds for every process."""

    plan: Plan
    turns: Sequence[Turn]


def draw_evolution(seed: int, **fixed: object) -> Evolution:
    """Draw one; `fixed` are attributes of the plan that are not left to chance."""
    rng = random.Random(f"evolution {seed}")
    plan = replace(
        draw(seed, job=rng.choice(DRAWN), events=rng.choice((40, 60, 90)), restarts=rng.random() < 0.8),
        pause=rng.choice((0.06, 0.12)),  # else it would be over before anybody asks
        timeout=rng.choice((0.06, 60.0, 60.0, 60.0)),
    )
    plan = replace(plan, **fixed)  # type: ignore[arg-type]
    version, leaf, turns = 0, True, []
    for number in range(rng.randint(2, 4)):
        if number and rng.random() < 0.3:
            version += 1
        if number and rng.random() < 0.3:
            leaf = not leaf
        session = _draw_session(rng)
        parts = [_draw_part(rng, _first_begin(rng) if number else "go on", session)]
        if rng.random() < 0.45:
            begin: Begin = rng.choice(("take over", "move", "move", "fork", "fork"))
            parts.append(replace(_draw_part(rng, begin, session), after=rng.random() * SECONDS_USUAL * 0.7))
            if parts[0].begin == "move" and rng.random() < 0.5:
                parts[1] = replace(parts[1], begin="move", pick=parts[0].pick)
        elif parts[0].begin in {"back", "move"} and rng.random() < 0.2:
            parts[0] = replace(parts[0], claim=True)
        afterwards: Afterwards = rng.choice(("", "", "", "delete a savepoint", "delete the store", "delete the store"))
        turns.append(Turn(session, parts, version, leaf, afterwards))
    return Evolution(replace(plan, sessions=[turn.session for turn in turns]), turns)


def _first_begin(rng: random.Random) -> Begin:
    return rng.choice(("go on", "go on", "go on", "back", "move", "move", "fork"))


def _draw_part(rng: random.Random, begin: Begin, session: Session) -> Part:
    acts = [_draw_act(rng, rng.choice(_ASKED), SHARE) for _ in range(rng.choice((0, 1, 2, 3)))]
    acts.append(_draw_act(rng, "savepoint", 0.3))
    if session.crash_step is None and session.crash_operation is None:
        acts.append(_draw_act(rng, rng.choice(("stop", "stop", "drain"))))  # else it would read all its input
    return Part(
        begin,
        sorted(acts, key=lambda act: act.at),
        rng.randint(1, 4),
        again=rng.random() < 0.6,
        pick=rng.choice((1.0, 1.0, rng.random())),
    )


def _draw_act(rng: random.Random, asked: Asked, share: float = 1.0) -> Act:
    return Act(rng.random() * SECONDS_USUAL * share, asked, f"s{rng.randrange(9)}", rng.randint(1, 4))


def _draw_session(rng: random.Random) -> Session:
    session, kind = Session(power=rng.random() < 0.6), rng.random()
    if kind < 0.3:
        session = replace(session, crash_step=1 + int(rng.random() * STEPS_USUAL))
    elif kind < 0.6:
        session = replace(session, crash_operation=1 + int(rng.random() * OPERATIONS_USUAL))
    if rng.random() < 0.15:
        changes = rng.sample(range(1, OPERATIONS_USUAL), rng.randint(1, 3))
        session = replace(session, faults={change: rng.choice((errno.EIO, errno.ENOSPC)) for change in changes})
    elif rng.random() < 0.15:
        session = replace(session, failing=rng.choice(("/layers", "/checkpoints", "/savepoints", "/staged")))
    return session
