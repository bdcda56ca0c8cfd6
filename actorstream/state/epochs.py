"""Epochs of one table: what was written since the last freeze, what is on its way to disk, what is there.

    newest    live        this epoch's writes; the write is the dirty mark
              returned    dicts whose write failed: they go out with the next freeze
              frozen      generations that are being encoded or written, never changed
              settling    written generations, moved into `clean` a slice at a time
    oldest    clean       values that the layers hold too: any entry may be dropped at any time
              layer stack

A freeze is `frozen, live = live, {}`. The same key may be in several dicts: the
newest one counts. So `live`, `returned`, `frozen` and `settling` keep all they
have, and only `clean`, below which there are just layers, may lose entries.

A written generation is not merged by one `dict.update`, which stalls the loop
when it is large: it stays where it is, by reference, and each slice that the next
generation encodes moves as many entries over. A table thus takes in as fast as
it gives out, and at most one generation or two are settling.

A failed generation takes every newer one with it: were the newer one to reach
the stack first, its values would come to lie below older ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.state.entries import Entry, Slots

V = TypeVar("V")


class Part(Generic[V]):
    """What one table gave to one generation.

    `newest` is the frozen epoch. `returned` holds failed ones, newest first; encoding
    moves what is still valid in them into `newest`, so that failures do not pile up.
    While `encoded` is false, nothing in it may be changed in place (T135).
    """

    __slots__ = ("encoded", "newest", "returned")

    def __init__(self, newest: dict[object, V], returned: list[dict[object, V]]) -> None:
        """Take the dicts over."""
        self.newest = newest
        self.returned = returned
        self.encoded = False

    def dicts(self) -> tuple[dict[object, V], ...]:
        """Give all dicts, newest first."""
        return (self.newest, *self.returned)


class Epochs(Generic[V]):
    """The dicts of one table. `below` is everything under `live` in memory, newest first."""

    live: dict[object, V]
    clean: dict[object, V]
    below: tuple[dict[object, V], ...]

    def __init__(self) -> None:
        """Start with nothing in memory."""
        self.live = {}
        self.clean = {}
        self._returned: list[dict[object, V]] = []
        self._frozen: list[Part[V]] = []
        self._settling: list[dict[object, V]] = []
        self._stack_up()

    def freeze(self) -> Part[V] | None:
        """Begin a new epoch; give what goes out with the old one, None if there is nothing."""
        if not self.live and not self._returned:
            return None
        part = Part(self.live, self._returned)
        self.live, self._returned = {}, []
        self._frozen.insert(0, part)
        self._stack_up()
        return part

    def on_written(self, part: Part[V]) -> None:
        """The oldest frozen part is in a layer on the stack."""
        self._frozen.remove(part)
        self._settling.insert(0, part.newest)
        self._stack_up()

    def on_write_failed(self, part: Part[V]) -> None:
        """Take a part back for the next freeze. The newest part comes first, where there are several."""
        self._frozen.remove(part)
        self._returned.extend(part.dicts())
        self._stack_up()

    def encode(self, part: Part[V], slots: Slots, *, bottom: bool) -> Iterator[Entry]:
        """Give the entries of a part; with `bottom`, nothing is below it that a tombstone could hide."""
        raise NotImplementedError

    def settle(self, limit: int) -> int:
        """Move up to `limit` written entries into `clean`; give how many more could have been moved."""
        while self._settling and limit > 0:
            oldest = self._settling[-1]
            limit -= self._settle_from(oldest, limit)
            if oldest:
                break
            self._settling.pop()
            self._stack_up()
        return max(limit, 0)

    @property
    def dirty(self) -> bool:
        """Tell whether a freeze now would have something to write."""
        return bool(self.live or self._returned)

    @property
    def keys_in_memory(self) -> int:
        """Count the keys of all dicts; one that is in several counts several times."""
        return len(self.live) + sum(map(len, self.below))

    def _settle_from(self, oldest: dict[object, V], limit: int) -> int:
        """Move up to `limit` entries out of `oldest` into `clean`; give how many were moved."""
        raise NotImplementedError

    def _changeable(self, holder: dict[object, V]) -> bool:
        """Tell whether a value in `holder` may be changed in place: it is not waiting to be encoded."""
        return not any(holder is each for part in self._frozen if not part.encoded for each in part.dicts())

    def _stack_up(self) -> None:
        frozen = (each for part in self._frozen for each in part.dicts())
        self.below = (*self._returned, *frozen, *self._settling, self.clean)
