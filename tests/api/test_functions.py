"""What kind of callable a user has given must be known before a record meets it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

import pytest

from actorstream.api.functions import is_async, process_spec, require_plain
from actorstream.errors import PlanError
from actorstream.graph.awaited import HandlerCalls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

T = TypeVar("T")


async def coroutine(x: object) -> object:
    return x


async def generator(x: object) -> AsyncIterator[object]:
    yield x


class Remote:
    """An object with an async call."""

    async def __call__(self, x: object) -> object:
        """Answer."""
        return x

    async def method(self, x: object) -> object:
        """Answer."""
        return x


class Local:
    """An object with a plain call."""

    def __call__(self, x: object) -> object:
        """Answer."""
        return x


ASYNC = [coroutine, generator, Remote(), Remote().method, partial(coroutine, 1), partial(partial(Remote()), 1)]
PLAIN = [print, len, str.split, lambda x: x, Local(), Remote, partial(pow, 2), [].append]


@pytest.mark.parametrize("fn", ASYNC)
def test_async_functions_are_recognised_in_every_dress(fn: object) -> None:
    """T31: a record must not run while another of its key awaits; until that is built, awaiting is refused."""
    assert is_async(fn)
    with pytest.raises(PlanError, match=r"map\(.+\): async functions are not supported here yet"):
        require_plain(fn, "map")


@pytest.mark.parametrize("fn", PLAIN)
def test_plain_functions_are_left_alone(fn: object) -> None:
    """Also a class whose instances are async: calling it makes an instance."""
    assert not is_async(fn)
    require_plain(fn, "map")


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(PlanError, match="expected a function, got a int"):
        require_plain(3, "map")


class Visits(Generic[T]):
    """A process class, as far as this layer looks."""

    def __init__(self, limit: int = 1) -> None:
        self.limit = limit

    def on_element(self, value: T, ctx: object) -> Iterable[T]:
        """Give the record back."""
        yield value


class Slow(Visits[int]):
    """One whose handler awaits."""

    async def on_element(self, value: int, ctx: object) -> list[int]:  # type: ignore[override]
        """Await, perhaps."""
        return [value]


class Streaming(Visits[int]):
    """One whose handler is an async generator."""

    async def on_element(self, value: int, ctx: object) -> AsyncIterator[int]:  # type: ignore[override]
        """Await, perhaps."""
        yield value


@pytest.mark.parametrize("op", [Visits, Visits[int], partial(Visits, 3), partial(partial(Visits[int]), 3)])
def test_a_process_class_is_found_behind_its_dress(op: object) -> None:
    """Its name is the operator's, and queries by its states find it."""
    assert process_spec(op).owner is Visits
    assert process_spec(op).factory is op


def test_a_function_that_builds_one_hides_its_class() -> None:
    """It is called for each subtask, and now only to see whether handlers are async."""
    assert process_spec(lambda: Visits(3)).owner is None


def test_an_instance_is_refused() -> None:
    """All subtasks would share it, and its state."""
    with pytest.raises(PlanError, match=r"pass the class Visits, or a function.*process\(lambda: Visits\(\.\.\.\)"):
        process_spec(Visits(3))


@pytest.mark.parametrize("op", [Slow, Streaming, partial(Slow, 3), lambda: Slow(3)])
def test_async_handlers_are_seen_also_behind_a_function(op: object) -> None:
    assert process_spec(op).calls == HandlerCalls(16)
    assert process_spec(op, calls={"concurrency": 3, "timeout": 2, "retry": None}).calls == HandlerCalls(3, 2_000_000)


@pytest.mark.parametrize(
    ("op", "calls", "said"),
    [
        (Visits, {"concurrency": 3, "timeout": None}, "process(Visits): concurrency= is for async handlers, and this"),
        (Slow, {"concurrency": 0}, "process(Slow): concurrency is 0, expected 1 to"),
        (Slow, {"retry": 3}, "process(Slow): retry is 3, expected Retry"),
        (Slow, {"timeout": -1}, "process(Slow): timeout is -1"),
    ],
)
def test_what_is_said_of_calls_makes_sense(op: object, calls: dict[str, object], said: str) -> None:
    with pytest.raises(PlanError) as refused:
        process_spec(op, calls=calls)
    assert said in str(refused.value)


def test_a_class_without_a_handler_is_refused() -> None:
    with pytest.raises(PlanError, match=r"process\(Local\): the class has no on_element"):
        process_spec(Local)


def test_what_is_no_callable_is_refused() -> None:
    with pytest.raises(PlanError, match="process was given the object 3"):
        process_spec(3)
