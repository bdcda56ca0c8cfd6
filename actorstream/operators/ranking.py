"""A ranking: the records with the greatest scores, the greatest first.

7 5 5 2   enter 5        7 5 5 5      behind its equals; 2 has left
7 5 5 5   enter 5        the same object: nothing has changed
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorstream.state.missing import private_copy

if TYPE_CHECKING:
    from collections.abc import Callable


class Ranking:
    """What it takes to enter: a score, and how many there may be."""

    def __init__(self, n: int, by: Callable[[Any], Any]) -> None:
        """Keep `n` records by their scores."""
        self._n = n
        self._by = by

    def enter(self, ranking: tuple[object, ...], record: object) -> tuple[object, ...]:
        """Give the ranking with a record in it, or the same object where it is not among the first."""
        by, place = self._by, len(ranking)
        score = by(record)
        while place and score > by(ranking[place - 1]):
            place -= 1
        if place == self._n:
            return ranking
        return (*ranking[:place], private_copy(record), *ranking[place : self._n - 1])
