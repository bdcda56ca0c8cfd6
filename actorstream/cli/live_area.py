"""A place on a terminal that is drawn anew again and again; on anything else there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.live import Live

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console, RenderableType


class LiveArea:
    """Stands below what `console` has printed, and is cleared at the end. Use it in `with`."""

    def __init__(self, console: Console) -> None:
        """Show nothing yet."""
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        """Begin."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Clear it."""
        if self._live is not None:
            self._live.stop()

    @property
    def is_there(self) -> bool:
        """Whether anybody can see it."""
        return self._live is not None

    def renew(self, content: RenderableType) -> None:
        """Draw this in the place of what is there."""
        if self._live is not None:
            self._live.update(content, refresh=True)
