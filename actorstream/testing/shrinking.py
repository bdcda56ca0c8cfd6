"""A smaller plan that breaks the same promise: what is left of it is what matters.

    plan ── fewer processes ── fewer faults ── fewer records ── simpler order ── settings as usual ──> smaller plan
      ^                                                                                  │
      └──────────────────────── again, as long as one of them still fails ──────────────┘

Bounded by simulated steps, not by seconds: so a plan is shrunk to the same one on every machine.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from actorstream.testing.session import Session
from actorstream.testing.simulation_plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNS_MAX = 80
STEPS_MAX = 150_000
_UNDISTURBED = Session()
_HAPPENS = (
    "faults",
    "failing",
    "unread",
    "kills",
    "raises",
    "disconnects",
    "lost",
    "slow",
    "rescales",
    "savepoints",
    "zombie",
    "keeps",
    "power",
)
_SIMPLER = {"random": ("fifo",), "pct": ("fifo", "random")}


def shrink(
    plan: Plan, still_fails: Callable[[Plan], bool], *, records: int | None = None, enough: Callable[[], bool]
) -> Plan:
    """Give the smallest plan found.

    Args:
        plan: One that fails.
        still_fails: Runs another, and tells whether it breaks the same promise.
        records: How many records the longest input has, if it can be cut.
        enough: Asked before each run: whether to leave it at what was found.
    """
    tried: set[str] = {str(plan)}
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(plan, records):
            if str(smaller) in tried:
                continue
            if len(tried) > RUNS_MAX or enough():
                return plan
            tried.add(str(smaller))
            if still_fails(smaller):
                plan, progress = smaller, True
                break
    return plan


def _smaller(plan: Plan, records: int | None) -> Iterator[Plan]:
    """Give plans that are a bit smaller, the greatest steps first."""
    sessions = plan.sessions
    usual = Plan(plan.seed, "fifo", sessions, plan.records, pause=plan.pause, interval=plan.interval)
    yield from (usual, replace(usual, policy=plan.policy))
    for number in range(len(sessions) - 1):
        yield replace(plan, sessions=(*sessions[:number], *sessions[number + 1 :]))
    if any(session.version for session in sessions):
        yield replace(plan, sessions=tuple(replace(session, version=0) for session in sessions))
    for number, session in enumerate(sessions):
        for calm in (_calm(session), replace(_calm(session), power=session.power)):
            yield replace(plan, sessions=(*sessions[:number], calm, *sessions[number + 1 :]))
    known = records if plan.records is None else plan.records
    if known is not None:
        yield from _with_fewer_records(plan, known)
    for policy in _SIMPLER.get(plan.policy, ()):
        yield replace(plan, policy=policy)  # type: ignore[arg-type]
    for number, session in enumerate(sessions):
        for simpler in _simpler(session):
            yield replace(plan, sessions=(*sessions[:number], simpler, *sessions[number + 1 :]))
    yield from _as_usual(plan, Plan(plan.seed, sessions=sessions, policy=plan.policy, records=plan.records))


def _with_fewer_records(plan: Plan, known: int) -> Iterator[Plan]:
    for fewer in (known // 4, known // 2, known - known // 4, known - 1):
        if 0 < fewer < known:
            earlier = tuple(_earlier(session, fewer / known) for session in plan.sessions)
            yield replace(plan, records=fewer, sessions=earlier)
            yield replace(plan, records=fewer)


def _calm(session: Session) -> Session:
    """Give a session with the same end, to which nothing else happens."""
    calm = {name: getattr(_UNDISTURBED, name) for name in _HAPPENS}
    return replace(session, parallelism=1, **calm)


def _earlier(session: Session, part: float) -> Session:
    """Let a process end where it had come so far with a part of the records."""

    def scaled(place: int | None) -> int | None:
        return None if place is None else int(place * part) or 1

    return replace(
        session,
        crash_step=scaled(session.crash_step),
        crash_operation=scaled(session.crash_operation),
        cancel_step=scaled(session.cancel_step),
        stop_after=None if session.stop_after is None else round(session.stop_after * part, 4),
    )


def _as_usual(value: Plan, usual: Plan) -> Iterator[Plan]:
    """Give the value with one thing more as it usually is."""
    for each in fields(value):
        if getattr(value, each.name) != getattr(usual, each.name):
            yield replace(value, **{each.name: getattr(usual, each.name)})
    if value.mailbox > 1:
        yield replace(value, mailbox=1)


def _simpler(session: Session) -> Iterator[Session]:
    """Give sessions of the same end to which less happens, or that have fewer subtasks."""
    for name in _HAPPENS:
        for less in _less(getattr(session, name), getattr(_UNDISTURBED, name)):
            yield replace(session, **{name: less})  # type: ignore[arg-type]
    for parallelism in (1, session.parallelism - 1):
        if 0 < parallelism < session.parallelism:
            yield replace(session, parallelism=parallelism)


def _less(value: Any, usual: object) -> Iterator[object]:  # noqa: ANN401  (whatever an attribute of a session is)
    if value == usual:
        return
    yield usual
    if isinstance(value, tuple) and len(value) > 1:
        for number in range(len(value)):
            yield (*value[:number], *value[number + 1 :])
    if isinstance(value, dict) and len(value) > 1:
        for number in value:
            yield {each: value[each] for each in value if each != number}
