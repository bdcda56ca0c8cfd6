"""A table: the state of a keyed operator under a name, which is a stream too."""

from __future__ import annotations

from typing import Generic, TypeVar

from actorstream.api.stream import Stream

K = TypeVar("K")
V = TypeVar("V")


class Table(Stream[tuple[K, V]], Generic[K, V]):
    """State with a name: the newest value by key.

    As a stream it is (key, newest value), one for each record that changed it.
    While the job runs, `await job.get(table, key)` asks for one value.
    """

    __slots__ = ()
