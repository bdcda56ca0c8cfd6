from __future__ import annotations

from dataclasses import dataclass

import pytest

from actorstream.checkpoints.sealed import seal, unseal
from actorstream.errors import InvariantError, StoreError

REMEDY = "call somebody"


@dataclass(frozen=True)
class Note:
    """Any document."""

    format: int
    text: str
    deep: dict[str, list[list[list[int]]]]
    digest: str = ""


@dataclass(frozen=True)
class Unordered:
    """The digest is not last."""

    format: int
    digest: str = ""
    text: str = "last"


@dataclass(frozen=True)
class OtherNote:
    """`text` has another type."""

    format: int
    text: int
    digest: str = ""


NOTE = Note(1, 'line\n    "digest": ""\n}\n', {"a": [[[1, 2], []]]})
DATA = seal(NOTE)


def read(data: bytes) -> Note:
    return unseal(Note, "/store/NOTE", data, newest=1, remedy=REMEDY)


def test_what_was_sealed_is_read_back() -> None:
    again = read(DATA)
    assert (again.text, again.deep) == (NOTE.text, NOTE.deep)
    assert len(again.digest) == 32


def test_sealing_what_was_read_gives_the_same_bytes() -> None:
    """A document may be copied into another store: its old digest is no part of the new one."""
    assert seal(read(DATA)) == DATA


@pytest.mark.parametrize("place", range(len(DATA)))
def test_every_flipped_byte_is_seen(place: int) -> None:
    """White space, names, digits, the seal itself: the digest covers every byte."""
    for bit in (0x01, 0x20, 0x80):
        damaged = DATA[:place] + bytes([DATA[place] ^ bit]) + DATA[place + 1 :]
        with pytest.raises(StoreError, match=r"^/store/NOTE .*call somebody"):
            read(damaged)


def test_every_truncation_and_addition_is_seen() -> None:
    for length in range(len(DATA)):
        with pytest.raises(StoreError, match="/store/NOTE is damaged"):
            read(DATA[:length])
    for damaged in (DATA + b"\n", b" " + DATA, DATA + DATA, b"", b"\0" * len(DATA)):
        with pytest.raises(StoreError, match="damaged"):
            read(damaged)


def test_an_unsealed_document_is_refused() -> None:
    """The text that the digest is taken of has no digest itself: it must not pass."""
    with pytest.raises(StoreError, match="do not end in a digest"):
        read(DATA.replace(read(DATA).digest.encode(), b""))


def test_a_newer_format_says_so_and_not_damaged() -> None:
    """An old program over a new store: the remedy is another one than for damage."""
    with pytest.raises(StoreError, match="has format 2, written by a newer actorstream; this one reads up to 1"):
        read(seal(Note(2, "", {})))


def test_a_right_digest_over_a_wrong_shape_is_an_error() -> None:
    with pytest.raises(StoreError, match="right digest but a wrong shape"):
        read(seal(OtherNote(1, 5)))


def test_a_document_must_end_in_its_digest() -> None:
    with pytest.raises(InvariantError, match="make it the last field"):
        seal(Unordered(1))
