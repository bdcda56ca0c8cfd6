"""What names a savepoint to people and programs."""

from __future__ import annotations

from typing import NamedTuple


class Savepoint(NamedTuple):
    """A snapshot of a job that is yours: a folder, which may be moved, and is never deleted by a job."""

    name: str
    path: str
