"""The child process that merges: the same file as a call, and one line where it fails."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from actorstream.codec.documents import decode_json, encode_json
from actorstream.state.compaction import Merge, Merged, Piece, Source, merge
from actorstream.state.entries import Slots, head_of

if TYPE_CHECKING:
    from tests.state.rig import Shelf

HEAD = head_of(5, 1, 3)


def child(said: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-W", "error", "-m", "actorstream.state.compaction_child"]
    return subprocess.run(command, input=said, capture_output=True, check=False)


def test_child_writes_the_very_file_that_a_call_does(shelf: Shelf) -> None:
    slots = Slots()
    files = [
        shelf.write([slots.entry(HEAD, b"%d" % n, b"", b"\x00v"), slots.entry(HEAD, b"both", b"", b"\x00%d" % n)])
        for n in range(2)
    ]
    sources = [Source(shelf.path(file), file.name, file.size, file.digest, file.entries) for file in files]
    task = Merge(sources, [Piece(5, 0, 8, [0, 1], bottom=True)], f"{shelf.folder}/{shelf.name()}")
    said = child(encode_json(task))

    assert (said.returncode, said.stderr) == (0, b"")
    merged = decode_json(Merged, said.stdout)
    again = merge(shelf.files, replace(task, target=f"{shelf.folder}/{shelf.name()}"))
    assert merged == replace(again, name="1-0-3.lmdb")
    assert merged.entries == 3


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (b"{", rb"CodecError: not a Merge document: .*\n"),
        (
            encode_json(Merge([Source("/gone/1-0-1.lmdb", "1-0-1.lmdb", 1, "", 1)], [], "/gone/1-0-2.lmdb")),
            rb"StoreError: /gone/1-0-1\.lmdb: cannot be read .*\n",
        ),
    ],
    ids=["no JSON", "a missing file"],
)
def test_child_that_fails_says_why_in_one_line(said: bytes, heard: bytes) -> None:
    ended = child(said)

    assert (ended.returncode, ended.stdout) == (1, b"")
    assert re.fullmatch(heard, ended.stderr)
