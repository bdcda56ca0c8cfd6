"""How many large values one step may encode: a step of the loop is bounded by bytes too, not only by entries.

    small small small LARGE small LARGE | LARGE small …       the step ends with the value that uses the room up
    └────────────── one step ──────────┘

250 entries of ordinary size are encoded in some 0.2 ms, 250 of 1 MB in 0.3 s, and how large a value is shows only when
it is encoded. So whoever encodes values counts bytes, ends the step with the value that exceeds `STEP_BYTES`, some half
a millisecond, and leaves the rest for the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LARGE_BYTES = 2_048
"""What is smaller need not be counted: so many as a step may have take no more room than there is."""
STEP_BYTES = 512 << 10


class Room:
    """What one step has left for values.

    Attributes:
        used_up: The step has to end.
    """

    __slots__ = ("_left", "used_up")

    def __init__(self) -> None:
        """Begin a step."""
        self.begin()

    def begin(self) -> None:
        """Begin another step."""
        self._left = STEP_BYTES
        self.used_up = False

    def take(self, encoded: bytes) -> None:
        """Count a value."""
        self._left -= len(encoded)
        self.used_up = self._left < 0

    def rest_after(self, encoded: bytes) -> Iterator[None]:
        """Count a value; where the step has to end with it, give None to who still asks, until the next one begins."""
        self.take(encoded)
        while self.used_up:
            yield None


def tag_and_encode(
    tag: bytes, encode: Callable[[Any], bytes], values: Iterable[object], room: int
) -> tuple[list[bytes], int]:
    """Encode the first of `values`, to the one that exceeds `room` bytes; give them, and their bytes."""
    size = 0
    tagged: list[bytes] = []
    add = tagged.append
    for value in values:
        each = tag + encode(value)
        add(each)
        size += len(each)
        if size > room:
            break
    return tagged, size
