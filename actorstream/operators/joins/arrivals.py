"""The records that a join keeps of a key: which number is next, and how many there are on each side.

    row of a key = (next number, lefts kept, rights kept)

The number makes records of one instant distinct and keeps their order of arrival. When the
last record of a key has gone, its row goes too, so a key that is seen no more costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorstream.codec.values import codec_for
from actorstream.operators.columns import Column
from actorstream.state.missing import MISSING

if TYPE_CHECKING:
    from actorstream.state.memtable import RowTable

LEFT, RIGHT = 0, 1

_NOTHING: Final = (0, 0, 0)


class Arrivals:
    """Numbers and counts for each key, in the value column of an operator that has no other."""

    def __init__(self, rows: RowTable) -> None:
        """Go on with what `rows` holds."""
        self._rows = rows

    @staticmethod
    def column() -> Column:
        """Give the column to declare."""
        return Column("arrivals", "value", codec_for(tuple[int, int, int]))

    def of(self, key: object) -> tuple[int, int, int]:
        """Give the next number, and how many records there are on the left and on the right."""
        row = self._rows.live.get(key, MISSING)
        if row is MISSING:
            row = self._rows.older(key)
        return _NOTHING if row is MISSING else row  # type: ignore[return-value]  # what `add` has put

    def add(self, key: object, row: tuple[int, int, int], side: int, count: int = 1) -> None:
        """Note that a record came, and is kept `count` times; `row` is what `of` has just given."""
        number, lefts, rights = row
        row = (number + 1, lefts + count, rights) if side == LEFT else (number + 1, lefts, rights + count)
        self._rows.live[key] = row

    def drop(self, key: object, lefts: int, rights: int) -> bool:
        """Count records that have gone; tell whether the key has none left."""
        number, all_lefts, all_rights = self.of(key)
        gone = all_lefts <= lefts and all_rights <= rights
        self._rows.live[key] = MISSING if gone else (number, all_lefts - lefts, all_rights - rights)
        return gone
