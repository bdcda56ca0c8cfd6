"""What a function that gives any number of results may give: a list, a generator, None, but no text.

A text is a sequence of its characters, so `flat_map(str.strip)` would take every word apart, in silence.
"""

from __future__ import annotations

from types import GeneratorType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

MANY = frozenset([list, tuple, GeneratorType, type(None)])
"""What is known at a glance to be many results, or none: all else is shown to `refuse_text`."""


def refuse_text(results: object) -> None:
    """Refuse what would be taken apart.

    Raises:
        TypeError: It is a str, bytes or bytearray.
    """
    if isinstance(results, str | bytes | bytearray):
        raise TypeError(
            f"gave a {type(results).__name__}, expected a list of results, or None: it would be taken apart into its "
            "characters (if it is one result, give it in a list)"
        )


def any_number(results: object) -> list[object]:
    """Give the results of a function that gives any number of them.

    Raises:
        TypeError: It gave no list, nor anything else to iterate over, or a text.
    """
    refuse_text(results)
    return [] if results is None else list(cast("Iterable[object]", results))
