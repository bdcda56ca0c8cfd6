"""What kind of callable a user has given: plain, async, a class, an instance in place of its class."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import TYPE_CHECKING, get_origin

from actorstream.api.handler_calls import handler_calls
from actorstream.errors import PlanError
from actorstream.graph.nodes import ProcessSpec
from actorstream.graph.render import function_name
from actorstream.operators.contexts import OutputTag
from actorstream.operators.process_roles import problem_of_class

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actorstream.graph.nodes import ProcessRole


def is_async(fn: object) -> bool:
    """Tell whether calling `fn` gives something to await or to iterate asynchronously.

    Looks through partials and into `__call__` of objects. A plain function that
    returns an awaitable cannot be told apart before it is called.
    """
    while isinstance(fn, partial):
        fn = fn.func
    if isinstance(fn, type) or not callable(fn):
        return False
    return any(iscoroutinefunction(part) or isasyncgenfunction(part) for part in (fn, type(fn).__call__))


def require_callable(fn: object, operator: str) -> None:
    """Refuse what is no function.

    Raises:
        PlanError: `fn` is not callable.
    """
    if not callable(fn):
        raise PlanError(f"{operator}({fn!r}): expected a function, got a {type(fn).__name__}")


def require_plain(fn: object, operator: str) -> None:
    """Refuse what is not a plain function.

    Raises:
        PlanError: `fn` is not callable, or async.
    """
    require_callable(fn, operator)
    if is_async(fn):
        raise PlanError(
            f"{operator}({function_name(fn)}): async functions are not supported here yet; make it a plain function, "
            "or await in a sink, which may be async"
        )


def output_name(tag: object, what: str) -> str:
    """Give the name of a side output.

    Raises:
        PlanError: `tag` is no OutputTag.
    """
    if not isinstance(tag, OutputTag):
        raise PlanError(f"{what} is {tag!r}, expected an OutputTag, as in LATE: OutputTag[Order] = OutputTag('late')")
    return tag.name


def errors_name(tag: object, operator: str) -> str:
    """Give the name of the side output for what raises; "" where there is none.

    Raises:
        PlanError: `tag` is no OutputTag, or has no name.
    """
    if tag is None:
        return ""
    if name := output_name(tag, f"{operator}: errors"):
        return name
    raise PlanError(f"{operator}: errors is an OutputTag without a name: give it one, as in OutputTag('failed')")


def process_spec(
    op: object,
    handlers: Sequence[str] = ("on_element",),
    role: ProcessRole = "keyed",
    errors: object = None,
    calls: Mapping[str, object] | None = None,
) -> ProcessSpec:
    """Make the spec of a process from its class, or from a function that builds one; `handlers`: one for each input.

    `calls` is what was said of the calls of async handlers. A function that builds one is called once, to see
    what: the first subtask gets that.

    Raises:
        PlanError: `op` is an instance, no process class, or its handlers must not be async, or `calls` makes no sense;
            `errors` is no OutputTag.
    """
    built = op
    while isinstance(built, partial):
        built = built.func
    built = get_origin(built) or built  # Average[int] is Average
    owner = built if isinstance(built, type) else None
    first = handlers[0]
    base = {"keyed": ("KeyedProcess", "KeyedCoProcess")[len(handlers) - 1], "unkeyed": "Process"}.get(
        role, "BroadcastProcess"
    )
    if not callable(op) or (owner is None and hasattr(op, first)):
        kind = type(op).__name__
        raise PlanError(
            f"process was given the object {op!r}, which all subtasks would share: pass the class {kind}, or a "
            f"function that builds one for each subtask, as in process(lambda: {kind}(...), name=...)"
        )
    if owner is not None and not hasattr(owner, first):
        raise PlanError(f"process({owner.__name__}): the class has no {first}; derive it from {base}")
    if owner is not None and (problem := problem_of_class(role, owner)) is not None:
        raise PlanError(f"process({owner.__name__}): the class {problem}")
    seen = _Seen(op) if owner is None else None
    made = owner if seen is None else seen.made
    awaited = [name for name in (*handlers, "on_timer") if made is not None and is_async(getattr(made, name, None))]
    if awaited and role != "keyed":
        raise PlanError(
            f"process({made and made.__name__}): {awaited[0]} is async, which a {base} cannot be: await before it, in "
            "a map or flat_map, or make it a KeyedProcess"
        )
    said = {word: value for word, value in (calls or {}).items() if value is not None}
    if said and not awaited:
        raise PlanError(
            f"process({function_name(op)}): {', '.join(f'{word}=' for word in said)} is for async handlers, and this "
            "has plain ones: make them async def, and await in_thread(fn)(...) where they block"
        )
    limits = handler_calls(f"process({function_name(op)})", said) if awaited else None
    return ProcessSpec(seen or op, owner, len(handlers), role, errors=errors_name(errors, "process"), calls=limits)


class _Seen:
    """A function that builds process objects, which was called once to see what it builds: that one comes first.

    Attributes:
        made: The class of it; None where it raised: whoever runs the job will hear why.
    """

    def __init__(self, factory: Callable[[], object]) -> None:
        self._factory = factory
        self._first: list[object] = []
        self.made: type | None = None
        with suppress(Exception):
            self._first = [factory()]
            self.made = type(self._first[0])

    def __call__(self) -> object:
        return self._first.pop() if self._first else self._factory()


def class_name(spec: ProcessSpec) -> str | None:
    """Give the name of the class, which is the operator's where the user says no other; None: there is no class."""
    return None if spec.owner is None else spec.owner.__name__
