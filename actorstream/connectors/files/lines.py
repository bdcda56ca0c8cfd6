r"""The lines of a file, in runs: what of one piece is whole lines, so that a run is made to records in one go.

    piece   {"a":1}\n{"a":2}\n{"a"      run  [{"a":1}, {"a":2}]
    piece   :3}\n{"a":4}                run  [{"a":3}]
    end                                 run  [{"a":4}]   without an end of its own: `ended` is False

A line ends with a newline, which may have a carriage return before it. A position is a byte behind a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actorstream.codec.contract import RECORD_BYTES_MAX
from actorstream.errors import InputError, RestoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.connectors.files.file_bytes import FileBytes

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Run(NamedTuple):
    """Lines without their newlines. `ended`: the last one has a newline. No lines: there are no more for now."""

    lines: list[bytes]
    ended: bool = True


def runs_of(file: FileBytes, start: int, *, follow: bool = False) -> Iterator[Run]:
    """Read the lines that begin at `start` or behind it: blocking.

    Where the file ends as it was when reading began, the line begun there is read to its end. `follow`: go on for
    ever; a line without a newline is not read before it has one, and a run without lines says that there is no more.

    Raises:
        RestoreError: No line begins at `start`: it is another file than the one of the checkpoint.
        InputError: A line is too long, or the file was cut short.
    """
    bound = None if follow or file.compressed else file.size()
    if not file.compressed:
        _check_start(file, start)
    rest: list[bytes] = []
    offset, held = start, 0
    for piece in file.pieces(start, bound):
        offset += len(piece)
        if not piece:
            _check_grown(file, offset)
            yield Run([])
            continue
        end = piece.rfind(b"\n")
        if end < 0:
            rest.append(piece)
            held += len(piece)
            _check_length(file, offset, held)
            continue
        rest.append(piece[:end])
        yield Run(b"".join(rest).split(b"\n"))
        rest = [piece[end + 1 :]] if end + 1 < len(piece) else []
        held = len(piece) - end - 1
    if rest:
        ended = not file.compressed and _finish(file, offset, rest)
        yield Run([b"".join(rest)], ended)


def _finish(file: FileBytes, offset: int, rest: list[bytes]) -> bool:
    """Read a line that was begun to its end, if the file has grown; tell whether it has a newline."""
    held = sum(map(len, rest))
    for piece in file.pieces(offset, None):
        end = piece.find(b"\n")
        if end >= 0:
            rest.append(piece[:end])
            return True
        if not piece:
            break
        rest.append(piece)
        held += len(piece)
        offset += len(piece)
        _check_length(file, offset, held)
    return False


def line_at(file: FileBytes, position: int) -> str:
    """Say of a byte which line it is in."""
    number, left = 1, position
    for piece in file.pieces(0, None if file.compressed else file.size()):
        if left <= 0:
            break
        number += piece.count(b"\n", 0, left)
        left -= len(piece)
    return f"line {number} (byte {position})"


def _check_start(file: FileBytes, start: int) -> None:
    size = file.size()
    if start > size:
        raise file.too_short(start, size)
    if start in {0, size}:
        return
    around = file.part(start - 1, 2)
    if around[:1] != b"\n" and around[1:] not in {b"\n", b"\r"}:
        raise RestoreError(
            f"the checkpoint was taken at byte {start} of {file.name}, where no line begins now: it is not the file of "
            "that run; put that one back, or start in another store"
        )


def _check_grown(file: FileBytes, offset: int) -> None:
    size = file.size()
    if size < offset:
        raise InputError(
            f"{file.name} has {size} bytes, {offset} were read: it was cut short while it was followed; begin a new "
            "file in its place under another name"
        )


def _check_length(file: FileBytes, offset: int, held: int) -> None:
    if held > RECORD_BYTES_MAX:
        raise InputError(
            f"{file.name}: the line that begins at byte {offset - held} has over {RECORD_BYTES_MAX} bytes: is it a "
            "file of lines?"
        )
