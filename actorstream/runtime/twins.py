"""Which of the equal records in flight a record is, and the key by which a service knows its call again.

    in flight   a   b   a          the second a is number 1; when the first is emitted, the next a is number 0 again

The number is asked for with the key only, and goes into checkpoints with the record: so a key is the same for every
attempt and after every recovery, also where records come in another order then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xxhash import xxh3_128_hexdigest

from actorstream.codec.values import SELF_DESCRIBING

if TYPE_CHECKING:
    from actorstream.runtime.call_items import CallItem, Kept


class Twins:
    """The equal records in flight of one operator in one subtask."""

    def __init__(self, job: str, operator: str) -> None:
        """Begin with none."""
        self._place = f"{job}/{operator}"
        self._taken: dict[str, set[int]] = {}

    def key_of(self, item: CallItem, place: int) -> str:
        """Give the key of a record's call: that of the record, and which of the equal ones in flight it is.

        Raises:
            CodecError: It has no encoding.
        """
        if place not in item.twins:
            digest = digest_of(item.values[place])
            taken = self._taken.setdefault(digest, set())
            twin = next(number for number in range(len(taken) + 1) if number not in taken)
            taken.add(twin)
            item.twins[place] = digest, twin
        digest, twin = item.twins[place]
        return xxh3_128_hexdigest(f"{self._place}/{twin}/{digest}".encode())

    def key_of_other(self, value: object) -> str:
        """Give the key of what there is only one of."""
        return xxh3_128_hexdigest(f"{self._place}/{digest_of(value)}".encode())

    def take_over(self, item: CallItem, place: int, kept: Kept) -> None:
        """Go on with the number that a checkpoint holds."""
        if kept.twin >= 0:
            digest = digest_of(kept.value)
            item.twins[place] = digest, kept.twin
            self._taken.setdefault(digest, set()).add(kept.twin)

    def let_go(self, digest: str, twin: int) -> None:
        """A record is in flight no more."""
        taken = self._taken[digest]
        taken.discard(twin)
        if not taken:
            del self._taken[digest]


def digest_of(value: object) -> str:
    """Give what stands for a value."""
    return xxh3_128_hexdigest(SELF_DESCRIBING.encode(value))
