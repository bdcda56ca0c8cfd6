"""The state of one window of one key, and the table that holds the windows of all keys.

    state.maps["windows"]    key -> {(start, end): (held,)                     as long as nobody remembers more
                                                   (trigger, timers, own, held)   }

A window that was purged stays: what it holds is MISSING, and its entry a tuple without `held`.

Of every window there is one entry, under its own name: a session that has become part of another one has
none (T52).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from actorstream.state.missing import MISSING

if TYPE_CHECKING:
    from actorstream.operators.process_timers import Domain
    from actorstream.operators.windows.assigners import Span
    from actorstream.state.map_table import MapTable

_LONG: Final = 3

TimerName: TypeAlias = "tuple[Domain, str]"


class Pane:
    """What is remembered of one window of one key.

    Attributes:
        key: The key.
        span: The window.
        held: What its `Contents` put there; MISSING: nothing.
        trigger: What its trigger remembers.
        timers: Which timers its trigger has set: the place in time that is part of their name, and when they fire.
        own: What a `WindowProcess` remembers of it.
    """

    __slots__ = ("held", "key", "own", "span", "timers", "trigger")

    def __init__(self, key: object, span: Span, held: object = MISSING) -> None:
        """Begin with nothing but perhaps what it holds."""
        self.key = key
        self.span = span
        self.held = held
        self.trigger: dict[str, Any] = {}
        self.timers: dict[TimerName, tuple[int, int]] = {}
        self.own: dict[str, Any] = {}


class PaneTable:
    """The windows of all keys."""

    __slots__ = ("_delete", "_get", "_set")

    def __init__(self, table: MapTable) -> None:
        """Keep them in `table`."""
        self._get = table.get
        self._set = table.set
        self._delete = table.delete

    def load(self, key: object, span: Span) -> Pane | None:
        """Give what is remembered of a window; None if there is no such window."""
        stored = self._get(key, self._map_key(span))
        return None if stored is MISSING else _read(key, span, stored)

    def save(self, pane: Pane) -> None:
        """Remember it."""
        held = () if pane.held is MISSING else (pane.held,)
        if pane.trigger or pane.timers or pane.own:
            held = (pane.trigger, pane.timers, pane.own, *held)
        self._set(pane.key, self._map_key(pane.span), held)

    def drop(self, pane: Pane) -> None:
        """Forget a window."""
        self._delete(pane.key, self._map_key(pane.span))

    def _map_key(self, span: Span) -> object:
        return span


def _read(key: object, span: Span, stored: object) -> Pane:
    entry = cast("tuple[Any, ...]", stored)
    if len(entry) < _LONG:
        return Pane(key, span, *entry)
    pane = Pane(key, span, *entry[_LONG:])
    pane.trigger, pane.timers, pane.own = entry[:_LONG]
    return pane
