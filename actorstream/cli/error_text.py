"""An error in one line, for a person at a terminal."""

from __future__ import annotations

import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from actorstream.errors import ActorstreamError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import typer

DIFFERENT: Final = 1
_ERROR: Final = 2


def explain(error: ActorstreamError) -> str:
    """Give the text for a person: what kind of error, what it says, and the notes on it."""
    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
    return f"actorstream: {type(error).__name__}: {' '.join(str(error).splitlines())}{notes}"


@contextmanager
def errors_leave_with_2(ctx: typer.Context) -> Iterator[None]:
    """Run the block of a command that leaves with 1 where two things differ, as cmp(1) and diff(1) do.

    Its errors must not go by way of `main`, which leaves with 1 for them.
    """
    try:
        yield
    except ActorstreamError as error:
        sys.stderr.write(traceback.format_exc() if ctx.find_root().params.get("debug") else f"{explain(error)}\n")
        raise SystemExit(_ERROR) from None
