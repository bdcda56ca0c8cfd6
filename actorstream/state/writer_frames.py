"""What a host and its writer child say to each other, as frames in two pipes.

    kind (1)  stream (4)  length (8)  body

    BEGIN    path                 ─┐
    RUN      entries               │ host to child: many streams side by side, each
    FINISH                         │ BEGIN  RUN …  then  FINISH  KEEP   the file is in use
    KEEP                           │               or  [FINISH]  ABANDON   it goes
    ABANDON                       ─┘
    WRITTEN  `Written` as JSON    ─┐ child to host, once a stream:
    FAILED   what the disk said   ─┘ WRITTEN after FINISH, FAILED at any time

A frame is sent whole or not at all, whoever is cancelled, and carries its stream's
number: so the pipe cannot get out of step.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HEAD = Struct(">BIQ")
_PIECE_BYTES = 16 << 20


class Kind(IntEnum):
    """What a frame is about; the values stand in the pipe."""

    BEGIN = 1
    RUN = 2
    FINISH = 3
    KEEP = 4
    ABANDON = 5
    WRITTEN = 6
    FAILED = 7


class Frame(NamedTuple):
    """One frame, read."""

    kind: Kind
    stream: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """What the child says of a durable file: the `LayerFile` without its name, which the host knows."""

    size: int
    digest: str
    entries: int


def pack(kind: Kind, stream: int, body: bytes = b"") -> bytes:
    """Write a frame."""
    return _HEAD.pack(kind, stream, len(body)) + body


def frames_from(read: Callable[[int], bytes]) -> Iterator[Frame]:
    """Read frames until the input ends; a frame cut short by that is none.

    Args:
        read: Waits for so many bytes; gives fewer only at the end of the input.

    Raises:
        CodecError: That is no frame of ours.
    """
    while len(head := read(_HEAD.size)) == _HEAD.size:
        kind, stream, length = _HEAD.unpack(head)
        known = _kind(kind)
        # In pieces: a length that nobody meant must not take memory before there is anything to put there.
        pieces = [piece := read(min(length, _PIECE_BYTES))]
        left = length - len(piece)
        while left and len(piece) == _PIECE_BYTES:
            pieces.append(piece := read(min(left, _PIECE_BYTES)))
            left -= len(piece)
        if left:
            return
        yield Frame(known, stream, pieces[0] if len(pieces) == 1 else b"".join(pieces))


def _kind(number: int) -> Kind:
    try:
        return Kind(number)
    except ValueError:
        raise CodecError(f"a frame has kind {number}, expected {min(Kind):d} to {max(Kind):d}") from None


class FrameParser:
    """Reads frames from pieces of any size."""

    def __init__(self) -> None:
        """Start before the first frame."""
        self._rest = b""

    def parse(self, data: bytes) -> Iterator[Frame]:
        """Give the frames that `data` completes.

        Raises:
            CodecError: That is no frame of ours.
        """
        self._rest += data
        while len(self._rest) >= _HEAD.size:
            kind, stream, length = _HEAD.unpack_from(self._rest)
            known, end = _kind(kind), _HEAD.size + length
            if len(self._rest) < end:
                return
            body, self._rest = self._rest[_HEAD.size : end], self._rest[end:]
            yield Frame(known, stream, body)
