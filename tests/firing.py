"""How much of what is due comes at once, where a test wants it few at a time."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

from actorstream.runtime import piece_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def fired_at_once(count: int) -> Iterator[None]:
    """Let no more than `count` results or timers come in one round, whatever they cost."""
    with ExitStack() as stack:
        for name in ("FIRED_FIRST", "FIRED_MAX", "FIRED_STREAMED"):
            stack.enter_context(patch.object(piece_sizes, name, count))
        yield
