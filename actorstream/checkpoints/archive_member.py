"""The head of a file in an archive: 512 bytes that follow from its name and size, and from nothing else.

    name      a layer's own name, or manifest.json        prefix    "layers", or nothing
    mode      0600       owner   0, without a name        time      the first second of 1980
    type      regular file, always                        size      octal digits; from 8 GiB on 256-based, as GNU has it

So a reader need not trust a head to read it: it makes the heads that it expects and
compares whole blocks. A link, a device, a sparse file, an extended head, another name
is none of them. `refusal` looks into a block only to say what is wrong with it.

Sources: POSIX.1-2017, pax, "ustar Interchange Format"; CVE-2007-4559 (names that lead
out of the folder, for years in Python's own tarfile).
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from actorstream.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Collection

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
"""What follows the last file."""

_HEAD = struct.Struct("100s 8s 8s 8s 12s 12s 8s 1s 100s 6s 2s 32s 32s 8s 8s 155s 12x")
_NAME_BYTES_MAX = 100
_OCTAL_SIZE_MAX = 8**11 - 1
_TIME = 315_532_800  # GNU tar warns of a time as old as 0
_SIZE = slice(124, 136)
_SUM = slice(148, 156)
_OCTAL = re.compile(rb"([0-7]{11})\0")
_SUM_DIGITS = re.compile(rb" *([0-7]{1,7})[\0 ]{1,2}")
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a folder",
    b"6": "a pipe",
    b"S": "a sparse file",
    b"x": "an extended head (pax)",
    b"g": "an extended head (pax)",
    b"L": "an extended head (GNU)",
    b"K": "an extended head (GNU)",
}


def head(path: str, size: int) -> bytes:
    """Give the block in front of a file's content; `path` has at most one folder.

    Raises:
        StoreError: The name is too long for one.
    """
    prefix, _, name = path.rpartition("/")
    if len(name.encode()) > _NAME_BYTES_MAX:
        raise StoreError(f"{path!r} cannot go into an archive: a name there has {_NAME_BYTES_MAX} bytes at most")
    digits = f"{size:011o}".encode() if size <= _OCTAL_SIZE_MAX else b"\x80" + size.to_bytes(11, "big")
    number = b"0000000"
    fields = [name.encode(), b"0000600", number, number, digits, f"{_TIME:011o}".encode(), b" " * 8, b"0", b""]
    fields += [b"ustar", b"00", b"", b"", number, number, prefix.encode()]
    block = _HEAD.pack(*fields)
    return block[: _SUM.start] + f"{sum(block):06o}\0 ".encode() + block[_SUM.stop :]


def padding(size: int) -> int:
    """Give how many zero bytes follow a content of so many bytes."""
    return -size % BLOCK_BYTES


def size_in(block: bytes, path: str) -> int | None:
    """Give the size of a file under an octal size, if this is its head as `head` makes it; else None."""
    match = _OCTAL.fullmatch(block[_SIZE])
    size = int(match[1], 8) if match else 0
    return size if block == head(path, size) else None


def refusal(block: bytes, listed: Collection[str]) -> str:
    """Say why this is the head of no file that may come here: a clause.

    Args:
        block: What was read.
        listed: Every file that belongs into the archive, by its path there.
    """
    match = _SUM_DIGITS.fullmatch(block[_SUM])
    if match is None or int(match[1], 8) != sum(block[: _SUM.start]) + 8 * ord(" ") + sum(block[_SUM.stop :]):
        return "what should be the head of a file is damaged, or none"
    name, *_, kind, _, _, _, _, _, _, _, prefix = (field.rstrip(b"\0") for field in _HEAD.unpack(block))
    path = (prefix + b"/" + name if prefix else name).decode(errors="backslashreplace")
    if kind not in {b"0", b""}:
        return f"{path!r} is {_KINDS.get(kind, f'of the type {kind!r}')}: only regular files belong into it"
    if path.startswith("/") or ".." in path.split("/"):
        return f"{path!r} leads out of the folder"
    if path not in listed:
        return f"{path!r} is not among its files"
    return f"{path!r} has another size, mode, owner, time or format than expected, or is there twice"
