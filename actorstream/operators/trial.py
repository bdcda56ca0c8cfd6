"""A record is either processed or failed: what its handler did lies apart until it has ended well.

    begin()
    handler       self.pages[...] = ...  ──> a dict of its own over the map's     ctx.set_timer(...) ──> noted
                  self.count += 1        ──> attributes, not stored yet           yield x            ──> taken, not sent
    ended well    keep(): all of it is done
    raised        undo(): nothing of it ever was

A value that may be changed in place is handed out as a copy (process_text.py, state/epochs.py, operator_list.py). What
an object of the user's keeps in attributes that are no state is not undone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.operators.process_binding import ProcessBinding


class OnTrial(Protocol):
    """A table, list or row of timers that can be put on trial."""

    def begin_trial(self) -> None:
        """Let what is done from here on lie apart."""
        ...

    def end_trial(self, *, keep: bool) -> None:
        """Keep what was done since then, or let it never have been."""
        ...


class Trial:
    """What the calls of one process object do, record by record.

    Attributes:
        parts: What is put on trial; none where a class has only value and list states, which are stored behind a call.
    """

    def __init__(self, binding: ProcessBinding, parts: Sequence[OnTrial]) -> None:
        """Put `parts` on trial for the calls of `binding`'s handlers."""
        self._binding = binding
        self.parts = list(parts)

    def begin(self) -> None:
        """A handler is about to be called."""
        for part in self.parts:
            part.begin_trial()

    def keep(self) -> None:
        """It ended well."""
        for part in self.parts:
            part.end_trial(keep=True)

    def undo(self) -> None:
        """It raised."""
        for part in self.parts:
            part.end_trial(keep=False)
        self._binding.deleted.clear()
        for given in self._binding.context.sides.values():
            given.clear()
