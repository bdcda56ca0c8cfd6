"""What becomes of a table, change by change."""

from __future__ import annotations

from typing import Final, Generic, NamedTuple, TypeVar

K = TypeVar("K")
V = TypeVar("V")

CHANGES_OUTPUT: Final = "changes"
"""The side output of a table on which its changes leave."""
VERSIONS_OUTPUT: Final = "versions"
"""The same, and what changed nothing: a deletion where there was no value. For those who put it in another order."""


class Change(NamedTuple, Generic[K, V]):
    """One key of a table has another value.

    Attributes:
        key: The key.
        old: The value before; None: there was none.
        new: The value now; None: it was deleted.
    """

    key: K
    old: V | None
    new: V | None
