"""A table: the state of a keyed operator under a name, which is a stream too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from actorstream.api.stream import Stream
from actorstream.operators.changes import CHANGES_OUTPUT

if TYPE_CHECKING:
    from actorstream.api.draft import Origin
    from actorstream.operators.changes import Change

K = TypeVar("K")
V = TypeVar("V")


class Table(Stream[tuple[K, V]], Generic[K, V]):
    """State with a name: the newest value by key.

    As a stream it is (key, newest value), one for each record that changed it; deletions are in `changes` only.
    While the job runs, `await job.get(table, key)` asks for one value.
    """

    __slots__ = ("versions_us",)

    def __init__(self, origin: Origin, versions_us: int = 0) -> None:
        """Stand for the state of `origin`'s operator; as-of joins may look `versions_us` back."""
        super().__init__(origin)
        self.versions_us = versions_us

    def changes(self) -> Stream[Change[K, V]]:
        """Give each change as (key, old, new), by key in order: old is None at first, new where it was deleted."""
        return Stream(self.origin.side(CHANGES_OUTPUT))
