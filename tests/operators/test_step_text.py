"""Getters of Python's own are written out, and only where that means the same."""

from __future__ import annotations

from enum import Enum
from operator import attrgetter, itemgetter, methodcaller
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.operators.step_text import getter_text

if TYPE_CHECKING:
    from collections.abc import Callable


class Word(str, Enum):  # noqa: UP042  (a StrEnum formats as its value)
    """Text that formats as something else."""

    NAME = "name"


@pytest.mark.parametrize(
    ("getter", "text"),
    [
        (itemgetter(0), "[0]"),
        (itemgetter(-1), "[-1]"),
        (itemgetter("price"), "['price']"),
        (itemgetter("it's \n\ud800"), '["it\'s \\n\\ud800"]'),
        (attrgetter("price"), ".price"),
        (attrgetter("__class__"), ".__class__"),
    ],
)
def test_a_plain_getter_is_written_out(getter: Callable[[Any], object], text: str) -> None:
    assert getter_text(getter) == text


@pytest.mark.parametrize(
    "getter",
    [
        itemgetter(0, 1),
        itemgetter(True),
        itemgetter(1.5),
        itemgetter((0,)),
        itemgetter(slice(2)),
        itemgetter(Word.NAME),
        attrgetter("a", "b"),
        attrgetter("a.b"),
        attrgetter("class"),
        attrgetter("not a name"),
        attrgetter("\ufb01rst"),
        attrgetter(Word.NAME),
        methodcaller("keys"),
        len,
        lambda value: value[0],
    ],
)
def test_any_other_function_is_called(getter: Callable[[Any], object]) -> None:
    """A name that Python would read as another, an index whose text is not itself, several at once."""
    assert getter_text(getter) is None


@pytest.mark.parametrize(
    "getter", [itemgetter(0), itemgetter(-1), itemgetter("a"), attrgetter("a"), attrgetter("__class__")]
)
@pytest.mark.parametrize("value", [(1, 2), [], "text", {"a": 3, 0: 4}, SimpleNamespace(a=5), None, 7])
def test_what_is_written_does_what_the_getter_does(getter: Callable[[Any], object], value: object) -> None:
    """To the same errors."""

    def outcome(of: Callable[[], object]) -> object:
        try:
            return of()
        except Exception as error:  # noqa: BLE001  (any is compared)
            return type(error), str(error)

    written = f"value{getter_text(getter)}"
    assert outcome(lambda: eval(written, {"value": value})) == outcome(lambda: getter(value))
