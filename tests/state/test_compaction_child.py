"""The child process that merges: the same file as a call, one line where it fails, and no life of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actorstream.codec.documents import decode_json, encode_json
from actorstream.state.compaction import Merge, Merged, Piece, Source, merge
from actorstream.state.compaction_child import ORPHANED
from actorstream.state.entries import Slots, expiring, head_of

if TYPE_CHECKING:
    from tests.state.rig import Shelf

HEAD = head_of(5, 1, 3)


COMMAND = [sys.executable, "-W", "error", "-m", "actorstream.state.compaction_child"]


def line(task: Merge) -> bytes:
    return encode_json(task).replace(b"\n", b"") + b"\n"


def child(said: bytes) -> tuple[int, bytes, bytes]:
    """Say something, hear what it answers, and only then close its input."""
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdin.write(said)
        return running.wait(), running.stdout.read(), running.stderr.read()


def test_child_writes_the_very_file_that_a_call_does(shelf: Shelf) -> None:
    slots = Slots()
    files = [
        shelf.write(
            [
                slots.entry(HEAD, b"%d" % n, b"", b"\x00v"),
                slots.entry(HEAD, b"both", b"", b"\x00%d" % n),
                slots.entry(HEAD, b"until %d" % n, b"", expiring(b"\x00v", n)),
            ]
        )
        for n in range(2)
    ]
    sources = [Source(shelf.path(file), file.name, file.size, file.digest, file.entries) for file in files]
    piece = Piece(5, 0, 8, [0, 1], bottom=True, clocks={3: 0})
    task = Merge(sources, [piece], f"{shelf.folder}/{shelf.name()}")
    code, said, complained = child(line(task))

    assert (code, complained) == (0, b"")
    merged = decode_json(Merged, said)
    again = merge(shelf.files, replace(task, target=f"{shelf.folder}/{shelf.name()}"))
    assert merged == replace(again, name="1-0-3.lmdb")
    assert merged.entries == 4, "one of those that expire has done so"


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (b"{\n", rb"CodecError: not a Merge document: .*\n"),
        (
            line(Merge([Source("/gone/1-0-1.lmdb", "1-0-1.lmdb", 1, "", 1)], [], "/gone/1-0-2.lmdb")),
            rb"StoreError: /gone/1-0-1\.lmdb: cannot be read .*\n",
        ),
    ],
    ids=["no JSON", "a missing file"],
)
def test_child_that_fails_says_why_in_one_line(said: bytes, heard: bytes) -> None:
    code, answer, complained = child(said)

    assert (code, answer) == (1, b"")
    assert re.fullmatch(heard, complained)


@pytest.fixture
def endless(shelf: Shelf) -> Merge:
    """Give a task whose source is a pipe that nobody writes into: the merge does not come to an end."""
    pipe = shelf.folder / "1-0-1.lmdb"
    os.mkfifo(pipe)
    return Merge([Source(str(pipe), pipe.name, 0, "", 0)], [], f"{shelf.folder}/half.lmdb")


def test_ctrl_c_is_for_the_parent(endless: Merge) -> None:
    """The terminal sends it to the whole group; the parent ends the child, when it wants to."""
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as running:
        assert running.stdin is not None
        assert running.stderr is not None
        running.stdin.write(line(endless))
        # Whoever opens the pipe for writing waits until the child reads: now it is at work.
        with Path(endless.sources[0].path).open("wb"):
            running.send_signal(signal.SIGINT)
        assert running.wait(10) == 1
        assert b"StoreError" in running.stderr.read(), "it read on to the end of the pipe"


def test_end_of_the_parent_is_its_end_and_its_file_goes(endless: Merge) -> None:
    """Also inside a call that takes long: a service that is killed must not leave its disk busy."""
    half = Path(endless.target)
    half.write_bytes(b"half")
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, bufsize=0) as running:
        assert running.stdin is not None
        running.stdin.write(line(endless))
        with Path(endless.sources[0].path).open("wb"):
            assert running.poll() is None
            running.stdin.close()
            assert running.wait(10) == ORPHANED
    assert not half.exists()


def test_parent_that_is_gone_is_noticed_where_another_process_holds_the_pipe(endless: Merge) -> None:
    """A host that forks, as multiprocessing does, hands the writing end on: there is no end of input then."""
    orders, ours = os.pipe()
    answers, theirs = os.pipe()
    host = "import subprocess, sys; subprocess.Popen(sys.argv[2:], stdin=int(sys.argv[1])); sys.stdin.read()"
    command = [sys.executable, "-W", "ignore", "-c", host, str(orders), *COMMAND]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=theirs, pass_fds=[orders]) as running:
        os.close(orders)
        os.close(theirs)
        os.write(ours, line(endless))
        with Path(endless.sources[0].path).open("wb"):
            running.kill()
            running.wait()
            assert os.read(answers, 1) == b"", "it closes its output by ending"
    os.close(ours)
    os.close(answers)
