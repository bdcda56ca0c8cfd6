"""What one run of a simulation consists of: drawn from a seed, written in one line, read back from it.

    "17 policy='pct' mailbox=2 | parallelism=2 crash_step=213 power=True | parallelism=3"
     seed and what the whole run goes by   process 1                       process 2, which finishes

What is as usual is not written, so a shrunk plan is a short line.
"""

from __future__ import annotations

import ast
import errno
import random
import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from actorstream.errors import PlanError
from actorstream.testing.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.testing.loop import Policy

_READINGS = 8  # a source gives two records at a time, and waits for half of a pause before every second one
_ERRORS = (errno.EIO, errno.ENOSPC)


@dataclass(frozen=True)
class Plan:
    """All that one run consists of.

    Attributes:
        seed: Decides every choice that is not written here.
        policy: Who of the ready tasks runs next.
        sessions: One process after the other; the last one finishes.
        records: So many of each list that is an input; None: all.
        mailbox: So many batches fit into a lane of an actor; 0: as in production.
        wire: Records go through the codec from actor to actor.
        interval: From one checkpoint to the next, in virtual seconds.
        timeout: Of a checkpoint.
        retained: How many checkpoints are kept.
        early_freezes: State is also written after up to so many seconds each; 0: never.
        pause: Seconds, at most, that a source waits between two readings.
        call_delay: Usual longest time before, and after, a call in a thread.
        in_memory: Lists stay in memory, so that no task reads ahead.
        alignment: After so many virtual seconds a barrier overtakes the records before it; None: never. What the
            `settings` of the simulation say counts more.
    """

    seed: int
    policy: Policy = "random"
    sessions: tuple[Session, ...] = (Session(),)
    records: int | None = None
    mailbox: int = 0
    wire: bool = False
    interval: float = 0.06
    timeout: float = 60.0
    retained: int = 3
    early_freezes: float = 0.0
    pause: float = 0.0
    call_delay: float = 0.01
    in_memory: bool = False
    alignment: float | None = None

    def __str__(self) -> str:
        """Write it in one line, which `parse` reads."""
        head = [str(self.seed), *_differing(self, Plan(self.seed), {"seed", "sessions"})]
        return " | ".join(" ".join(part) for part in (head, *(_differing(each, Session()) for each in self.sessions)))


class Length(NamedTuple):
    """How long an undisturbed run is: where there is something to meet. `records`: of the longest input."""

    steps: int
    operations: int
    seconds: float
    records: int = 50


def parse(text: str) -> Plan:
    """Read a plan from its line.

    Raises:
        PlanError: It is none.
    """
    head, *sessions = text.split("|")
    seed, _, rest = head.strip().partition(" ")
    if not re.fullmatch(r"\d+", seed) or not sessions:
        raise PlanError(f"{text!r} is no plan: copy that of a failure's line, as in '7 mailbox=1 | crash_step=213 | '")
    given = [Session(**_values(each, Session)) for each in sessions]
    return Plan(int(seed), sessions=tuple(given), **_values(rest, Plan))


def _differing(value: object, usual: object, without: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    names = [each.name for each in fields(value) if each.name not in without]  # type: ignore[arg-type]
    return [
        f"{name}={repr(getattr(value, name)).replace(' ', '')}"
        for name in names
        if getattr(value, name) != getattr(usual, name)
    ]


def _values(text: str, kind: type) -> dict[str, Any]:
    known = {each.name for each in fields(kind)}
    values: dict[str, Any] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        try:
            values[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError) as error:
            raise PlanError(f"{word!r} in a plan cannot be read: expected name=value") from error
        if name not in known:
            raise PlanError(f"a plan has no {name!r}: it knows {', '.join(sorted(known - {'sessions', 'seed'}))}")
    return values


# ---- drawing


def draw(seed: int, length: Length, *, crashes: int, parallelism: int) -> Plan:
    """Draw a run: up to `crashes` processes that do not come to their end, and one that does."""
    rng = random.Random(f"plan {seed}")
    width = rng.randint(1, parallelism)
    seconds = rng.choice((0.0, 0.1, 0.4, 0.8))  # so long the input takes: some checkpoints lie within it
    sessions: list[Session] = []
    for _ in range(rng.randint(0 if seed % 4 == 0 else min(1, crashes), crashes)):
        ending = _ending(Session(width), rng, length, seconds)
        sessions.append(_disturbed(ending, rng, length, parallelism, seconds))
        if rng.random() < 0.4:
            width = rng.randint(1, parallelism)
    slow = rng.choice((0.0, 0.0, 0.03)) if crashes else 0.0
    sessions.append(Session(width, power=bool(crashes), slow=slow))
    return Plan(
        seed,
        policy=rng.choice(("fifo", "random", "random", "pct")),
        sessions=tuple(sessions),
        mailbox=rng.choice((0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)),
        wire=rng.random() < 0.3,
        interval=rng.choice((0.02, 0.06, 0.06, 0.2)),
        timeout=rng.choice((0.06, 0.2, 60.0, 60.0)),
        retained=rng.choice((1, 2, 3, 100)),
        early_freezes=rng.choice((0.0, 0.0, 0.02, 0.004)),
        pause=round(seconds * _READINGS / max(1, length.records), 4),
        call_delay=rng.choice((0.001, 0.01, 0.01)),
        in_memory=rng.random() < 0.25,
        alignment=rng.choice((None, None, 0.0, 0.0, 0.02)),
    )


def _ending(session: Session, rng: random.Random, length: Length, seconds: float) -> Session:
    """Draw how a process ends before its time; few after the undisturbed run's length, but some."""
    session = replace(session, power=rng.random() < 0.6)
    kind, when = rng.random(), rng.random() ** 2 * 4
    if kind < 0.4:
        return replace(session, crash_step=1 + int(when * length.steps))
    if kind < 0.75:
        return replace(session, crash_operation=1 + int(when * length.operations))
    if kind < 0.85:
        return replace(session, cancel_step=1 + int(when * length.steps))
    return replace(session, stop_after=round(rng.random() * (seconds + 0.2), 4))


def _disturbed(session: Session, rng: random.Random, length: Length, parallelism: int, whole: float) -> Session:
    """Draw what happens to a process before its end; to a third of them, nothing."""

    def places(most: int) -> tuple[int, ...]:
        return tuple(sorted(rng.randint(1, max(1, most)) for _ in range(rng.randint(1, 3))))

    def seconds() -> float:
        return round(rng.random() ** 2 * (whole + 0.1), 4)

    draws: dict[str, Callable[[], Session]] = {
        "faults": lambda: replace(session, faults={at: rng.choice(_ERRORS) for at in places(2 * length.operations)}),
        "failing": lambda: replace(session, failing=rng.choice(("/layers", "/checkpoints", "/staged"))),
        "unread": lambda: replace(session, unread=places(2 * length.operations)),
        "kills": lambda: replace(session, kills=tuple((step, rng.randint(0, 99)) for step in places(length.steps))),
        "raises": lambda: replace(session, raises=places(length.steps)),
        "disconnects": lambda: replace(session, disconnects=places(length.steps // 10)),
        "lost": lambda: replace(session, lost=places(length.steps // 20)),
        "rescales": lambda: replace(
            session, rescales=tuple((seconds(), rng.randint(1, parallelism)) for _ in range(rng.randint(1, 2)))
        ),
        "savepoints": lambda: replace(session, savepoints=tuple(seconds() for _ in range(rng.randint(1, 2)))),
        "slow": lambda: replace(session, slow=0.03),
        "zombie": lambda: replace(session, zombie=seconds() * 2),
    }
    if rng.random() < 0.35:
        return session
    return draws[rng.choice(sorted(draws))]()
