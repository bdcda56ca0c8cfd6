"""An error in one line, for a person at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actorstream.errors import ActorstreamError


def explain(error: ActorstreamError) -> str:
    """Give the text for a person: what kind of error, what it says, and the notes on it."""
    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
    return f"actorstream: {type(error).__name__}: {' '.join(str(error).splitlines())}{notes}"
