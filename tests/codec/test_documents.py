"""Documents of the store: a person can read them, and nothing but the right shape is taken."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from actorstream.codec.documents import decode_json, encode_json
from actorstream.errors import CodecError


@dataclass
class Note:
    """A document."""

    name: str
    token: bytes
    shape: object = None
    tags: list[str] = field(default_factory=list)


def test_document_comes_back_and_can_be_read_by_a_person() -> None:
    """One field a line, bytes as base64, a line end at the end."""
    note = Note("a", b"\0\1", {"list": "int"}, ["x"])
    data = encode_json(note)
    assert decode_json(Note, data) == note
    assert data.startswith(b'{\n "name": "a",\n "token": "AAE=",')
    assert data.endswith(b"}\n")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"name": "a"}',
        b'{"name": 5, "token": ""}',
        b'{"name": "\xff", "token": ""}',
        b'{"name": "a", "token": "?"}',
        b'{"name": "a", "token": "", "shape": ' + b"[" * 100_000,
    ],
    ids=lambda d: d[:40].decode(errors="replace"),
)
def test_anything_else_is_refused(data: bytes) -> None:
    """A manifest cut short or edited by hand must not become another manifest."""
    with pytest.raises(CodecError, match="not a Note document"):
        decode_json(Note, data)
