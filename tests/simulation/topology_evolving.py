"""What people do with a running topology beside all that happens to it: they upgrade its program, and fork it.

by savepoint         stop_after=0.13 keeps=True   |  version=1        begun from the savepoint of the stop
from a checkpoint    crash_step=310               |  version=1        the program was replaced after the crash
fork                 savepoints=(0.05,)           |  fork='f'  |  ...  |  fork='f'        in between, its origin goes on
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from actorstream.testing.session import Session

if TYPE_CHECKING:
    from actorstream.testing.simulation_plan import Length, Plan


def evolving(plan: Plan, length: Length, parallelism: int) -> Plan:
    """Draw upgrades and forks into a plan; to more than half of all plans, neither."""
    rng = random.Random(f"evolving {plan.seed}")
    sessions = list(plan.sessions)
    if rng.random() < 0.3:
        sessions = _upgraded(sessions, rng)
    if rng.random() < 0.2:
        sessions = _forked(sessions, rng, length, parallelism)
    return replace(plan, sessions=tuple(sessions))


def _upgraded(sessions: list[Session], rng: random.Random) -> list[Session]:
    if len(sessions) == 1:
        sessions = [Session(sessions[0].parallelism, stop_after=round(rng.random() * 0.3, 4)), *sessions]
    version = 0
    found = [sessions[0]]
    at = rng.randrange(1, len(sessions))
    for number, session in enumerate(sessions[1:], 1):
        if number == at or (version == 1 and rng.random() < 0.5):
            version += 1
            found[-1] = _with_savepoint(found[-1], rng)
        found.append(replace(session, version=version))
    return found


def _with_savepoint(session: Session, rng: random.Random) -> Session:
    """Let the process before an upgrade stop in good order, as a rule; else the next goes on from its checkpoints."""
    if session.stop_after is not None:
        return replace(session, keeps=True)
    if session.zombie is None and rng.random() < 0.5:
        calm = replace(session, crash_step=None, crash_operation=None, cancel_step=None)
        return replace(calm, stop_after=round(rng.random() * 0.3, 4), keeps=True)
    return session


def _forked(sessions: list[Session], rng: random.Random, length: Length, parallelism: int) -> list[Session]:
    at = rng.randrange(len(sessions))
    origin = sessions[at]
    if origin.zombie is not None:
        return sessions
    saved = replace(origin, savepoints=tuple(round(rng.random() ** 2 * 0.1, 4) for _ in range(rng.randint(1, 2))))
    version = min(2, origin.version + rng.choice((0, 0, 1)))
    first = Session(rng.randint(1, parallelism), fork="f", version=version)
    if rng.random() < 0.7:
        first = replace(first, crash_step=1 + int(rng.random() * 2 * length.steps), power=rng.random() < 0.5)
    last = Session(rng.randint(1, parallelism), fork="f", version=min(2, version + rng.choice((0, 0, 1))), power=True)
    later = sessions[at + 1 :]
    # Where the origin dies before it has a savepoint, the fork begins from that of a stop, maybe by a later version.
    last = replace(last, version=max(last.version, *(each.version for each in later if each.keeps), 0))
    return [*sessions[:at], saved, first, *later, last]
