"""Which process class goes where, and which states it may have there: what only shows once the object is made.

role        class                             states by key   broadcast   list   timers
keyed       KeyedProcess, KeyedCoProcess      yes             no          yes    yes
broadcast   BroadcastProcess                  yes             yes         yes    yes
unkeyed     Process                           no              no          yes    no
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.operators.keyed_process import BroadcastProcess, Keyed, Process
from actorstream.operators.unkeyed_declarations import BroadcastState, UnkeyedDeclaration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.graph.nodes import ProcessRole
    from actorstream.operators.state_declarations import Declaration

_REMEDIES: dict[ProcessRole, str] = {
    "keyed": "derive it from KeyedProcess, or from KeyedCoProcess behind connect(...)",
    "broadcast": "derive it from BroadcastProcess",
    "unkeyed": "derive it from Process, or put key_by before .process(...)",
}


def problem_of_class(role: ProcessRole, owner: type) -> str | None:
    """Say why a class cannot be given to `.process` here; None: it can."""
    wrong = {
        "keyed": issubclass(owner, Process | BroadcastProcess),
        "broadcast": not issubclass(owner, BroadcastProcess),
        "unkeyed": not issubclass(owner, Process),
    }[role]
    if wrong:
        found = next((base.__name__ for base in owner.__mro__ if base.__module__ == Keyed.__module__), None)
        is_one = "is no process class" if found is None else f"is a {found}, which does not fit here"
        return f"{is_one}: {_REMEDIES[role]}"
    if role == "unkeyed" and hasattr(owner, "on_timer"):
        return "has on_timer, but a timer belongs to a key: put key_by before, and derive it from KeyedProcess"
    return None


def problem_of_role(role: ProcessRole, process: object, declared: Mapping[str, Declaration]) -> str | None:
    """Say what is wrong with a process object and its states in this role; None: nothing is."""
    problem = problem_of_class(role, type(process))
    if problem is not None:
        return problem
    for name, declaration in declared.items():
        kind = type(declaration).__name__
        if isinstance(declaration, BroadcastState) and role != "broadcast":
            return (
                f"has a {kind} {name!r}, but no broadcast stream that could write it: "
                "say keyed.connect(rules.broadcast()).process(...), and derive the class from BroadcastProcess"
            )
        if role == "unkeyed" and not isinstance(declaration, UnkeyedDeclaration):
            return (
                f"has a {kind} {name!r}, which belongs to a key, and no key: declare an OperatorListState, "
                "or put key_by before .process(...)"
            )
    return None
