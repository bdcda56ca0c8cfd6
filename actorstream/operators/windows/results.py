"""What a window gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from actorstream.operators.user_time import datetime_of
from actorstream.operators.windows.assigners import Window

if TYPE_CHECKING:
    from datetime import datetime

    from actorstream.operators.windows.assigners import Span

K_co = TypeVar("K_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)


class WindowResult(NamedTuple, Generic[K_co, V_co]):
    """A value of the records of one key in [start, end). Its own event time is the window's last microsecond."""

    key: K_co
    start: datetime
    end: datetime
    value: V_co


class ShownWindows:
    """Windows as users see them. The last one is remembered: results come window by window."""

    __slots__ = ("_span", "_window")

    def __init__(self) -> None:
        """Remember none."""
        self._span: Span | None = None
        self._window: Window

    def of(self, span: Span) -> Window:
        """Give the window; where datetimes end, it ends."""
        if span != self._span:
            self._window = Window(datetime_of(span[0]), datetime_of(span[1]))
            self._span = span
        return self._window
