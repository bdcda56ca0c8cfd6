"""The writer child: many streams in one pipe, and nothing left of what was not finished."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.codec.documents import decode_json
from actorstream.codec.entry_runs import encode_run
from actorstream.errors import CodecError
from actorstream.model.ids import LayerName
from actorstream.state.layer import LayerFile, open_checked
from actorstream.state.writer_child import carry_out
from actorstream.state.writer_frames import Frame, FrameParser, Kind, Written, pack
from actorstream.testing.faults import Fault, FaultyFiles
from tests.state.rig import QuickFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actorstream.model.world import FileSystem

RUN = encode_run([(b"entry-b", b"2"), (b"entry-a", b"1")])
MORE = encode_run([(b"entry-c", b"3")])


class Desk:
    """A child without its process."""

    def __init__(self, folder: Path, files: FileSystem | None = None) -> None:
        self.files = files or QuickFiles()
        self.folder = folder
        self.answers: list[Frame] = []
        self._parser = FrameParser()

    def obey(self, *orders: Frame) -> None:
        carry_out(self.files, orders, lambda data: self.answers.extend(self._parser.parse(data)))

    def begin(self, stream: int) -> Frame:
        return Frame(Kind.BEGIN, stream, os.fsencode(self.path(stream)))

    def path(self, stream: int) -> str:
        return f"{self.folder}/1-0-{stream}.lmdb"

    def names(self) -> list[str]:
        return sorted(name for name in os.listdir(self.folder) if name.endswith(".lmdb"))


def run(stream: int, body: bytes = RUN) -> Frame:
    return Frame(Kind.RUN, stream, body)


def finish(stream: int) -> Frame:
    return Frame(Kind.FINISH, stream, b"")


def abandon(stream: int) -> Frame:
    return Frame(Kind.ABANDON, stream, b"")


def test_streams_side_by_side_become_a_file_each(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.obey(desk.begin(1), desk.begin(2), run(1), run(2, MORE), run(1, MORE), finish(2), finish(1))

    assert [(answer.kind, answer.stream) for answer in desk.answers] == [(Kind.WRITTEN, 2), (Kind.WRITTEN, 1)]
    for answer, entries in zip(desk.answers, (1, 3), strict=True):
        written = decode_json(Written, answer.body)
        path = desk.path(answer.stream)
        file = LayerFile(LayerName(os.path.basename(path)), written.size, written.digest, written.entries)
        with open_checked(desk.files, path, file) as layer:
            assert written.entries == entries
            assert layer.get(b"entry-c") == b"3"
            assert layer.get(b"entry-a") == (b"1" if entries == 3 else None)


def test_end_of_input_removes_what_was_not_finished(tmp_path: Path) -> None:
    """The host is gone: what it has not been told of is in no manifest, and what it has may be."""
    desk = Desk(tmp_path)
    desk.obey(desk.begin(1), run(1), desk.begin(2), run(2), finish(2))

    assert desk.names() == ["1-0-2.lmdb"]


def test_abandoned_file_goes_also_when_it_is_finished(tmp_path: Path) -> None:
    """The host's caller was cancelled while it waited for the answer."""
    desk = Desk(tmp_path)
    desk.obey(
        *(desk.begin(1), run(1), abandon(1)),
        *(desk.begin(2), run(2), finish(2), abandon(2)),
        *(desk.begin(3), run(3), finish(3), Frame(Kind.KEEP, 3, b""), abandon(3)),
    )

    assert desk.names() == ["1-0-3.lmdb"]


def test_full_disk_fails_its_stream_and_no_other(tmp_path: Path) -> None:
    """Orders that were on their way meanwhile go nowhere."""
    desk = Desk(tmp_path, FaultyFiles(QuickFiles(), Fault(1, "ENOSPC", frozenset(["sync"]))))
    desk.obey(desk.begin(1), desk.begin(2), run(1), run(2), finish(1), run(1), finish(1), abandon(1), finish(2))

    failed, written = desk.answers
    assert (failed.kind, failed.stream, written.kind, written.stream) == (Kind.FAILED, 1, Kind.WRITTEN, 2)
    assert b"No space left" in failed.body
    assert desk.names() == ["1-0-2.lmdb"]


def test_taken_name_is_an_error_and_the_file_of_another_stays(tmp_path: Path) -> None:
    """Giving up a stream that could not begin must not remove what was there before."""
    desk = Desk(tmp_path)
    (tmp_path / "1-0-1.lmdb").write_bytes(b"somebody's")
    desk.obey(desk.begin(1), run(1), finish(1), abandon(1))

    assert [answer.kind for answer in desk.answers] == [Kind.FAILED]
    assert (tmp_path / "1-0-1.lmdb").read_bytes() == b"somebody's"


def test_error_of_ours_ends_it_and_leaves_no_half_file(tmp_path: Path) -> None:
    """It goes to standard error with its traceback, and the host has a thread do the work."""
    desk = Desk(tmp_path)
    with pytest.raises(CodecError):
        desk.obey(desk.begin(1), desk.begin(2), run(1), run(2, b"nonsense"))

    assert desk.names() == []


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "actorstream.state.writer_child"]
    with subprocess.Popen(
        command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        yield process
        process.kill()


def tell(child: subprocess.Popen[bytes], *orders: Frame) -> None:
    assert child.stdin is not None
    for order in orders:
        child.stdin.write(pack(*order))


def answer_of(child: subprocess.Popen[bytes]) -> Frame:
    assert child.stdout is not None
    parser = FrameParser()
    while True:
        data = child.stdout.read(1 << 16)
        assert data, "the child ended"
        for answer in parser.parse(data):
            return answer


@pytest.mark.crash
def test_process_ignores_what_is_meant_for_its_host_and_ends_with_its_input(
    tmp_path: Path, child: subprocess.Popen[bytes]
) -> None:
    """Ctrl-C goes to a whole process group, a service manager's SIGTERM to all of a service.

    The host then takes its last checkpoint, and needs the writer for it.
    """
    desk = Desk(tmp_path)
    tell(child, desk.begin(1), run(1), finish(1))
    assert answer_of(child).kind is Kind.WRITTEN
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        child.send_signal(number)
    tell(child, desk.begin(2), run(2), desk.begin(3), run(3), finish(3))
    assert answer_of(child).stream == 3
    assert child.stdin is not None
    child.stdin.close()

    assert child.wait(10) == 0
    assert desk.names() == ["1-0-1.lmdb", "1-0-3.lmdb"]


_HOST = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "actorstream.state.writer_child"],
                         bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
sys.stdin.buffer.readline()
child.stdin.write(sys.stdin.buffer.read())
child.stdout.read(1)  # it is at work
bystander = os.fork()
if bystander == 0:
    os.closerange(0, 3)
    signal.pause()  # holds every pipe of the dead host open, as a worker of a process pool does
sys.stdout.write(f"{child.pid} {bystander}\\n")
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.crash
def test_process_ends_with_its_host_also_while_a_fork_of_the_host_holds_the_pipe(tmp_path: Path) -> None:
    """End of input is not enough: forked workers inherit the pipe, and may outlive the host."""
    desk = Desk(tmp_path)
    orders: tuple[Any, ...] = (desk.begin(1), run(1), finish(1), desk.begin(2), run(2))
    data = b"\n" + b"".join(pack(*order) for order in orders)
    host = subprocess.run([sys.executable, "-c", _HOST], input=data, stdout=subprocess.PIPE, check=False)
    child, bystander = map(int, host.stdout.split())
    try:
        assert host.returncode == -signal.SIGKILL
        gone = os.pidfd_open(child)
        assert select.select([gone], [], [], 10)[0], "the writer child outlives its host"
        os.close(gone)
    except ProcessLookupError:
        pass  # faster than we looked
    finally:
        os.kill(bystander, signal.SIGKILL)
    assert desk.names() == ["1-0-1.lmdb"]
