"""Writes layers in a process of its own: `python -m actorstream.state.writer_child`, started by its host.

    standard input ── BEGIN RUN RUN … FINISH ──> LayerBuilder ──> file ── WRITTEN ──> standard output

A thread would starve beside a busy loop, and sorting would stall it; here nothing
does either. Streams are written side by side, each into its own file.

- It ends when its input ends, or its parent is gone; what was not finished is
  removed then. Ctrl-C, and a polite end of the whole service, concern the parent,
  which may still need it for the last checkpoint: those signals are ignored.
- What the disk refuses is told to the host, and the other streams go on. Any other
  error ends it with a traceback on standard error, which the host reports.
- What it leaves behind when it is killed is a file that nobody lists: it carries its
  attempt's number, and the next attempt's retention removes it.

It runs no user code, and imports nothing but this library.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from actorstream.codec.documents import encode_json
from actorstream.codec.entry_runs import decode_run
from actorstream.errors import StoreError
from actorstream.state.layer_builder import LayerBuilder
from actorstream.state.writer_frames import Kind, Written, frames_from, pack
from actorstream.system.files import RealFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorstream.model.world import FileSystem
    from actorstream.state.writer_frames import Frame

LOOK_AROUND_SECONDS = 1.0
_READ_BYTES = 1 << 20


def main() -> int:
    """Serve the host at the other end of the standard pipes until it is gone; give the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.disable()  # entries make no cycles, and walking 100,000 of them again and again takes longer than sorting them
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints is for people
    orders = frames_from(partial(_read_exactly, 0, os.getppid()))
    with suppress(BrokenPipeError):
        carry_out(RealFiles(), orders, partial(_write_all, answers))
    return 0


def carry_out(files: FileSystem, orders: Iterable[Frame], answer: Callable[[bytes], None]) -> None:
    """Write the layers that `orders` tell of; at their end remove what was not finished."""
    desk = _Desk(files, answer)
    try:
        for order in orders:
            try:
                desk.obey(order)
            except StoreError as error:
                desk.building.pop(order.stream, None)
                answer(pack(Kind.FAILED, order.stream, str(error).encode(errors="replace")))
    finally:
        for _, builder in desk.building.values():
            builder.abandon()


class _Desk:
    """The streams at work. `finished` are files that the host has not yet taken or given up."""

    def __init__(self, files: FileSystem, answer: Callable[[bytes], None]) -> None:
        self.building: dict[int, tuple[str, LayerBuilder]] = {}
        self._finished: dict[int, str] = {}
        self._files = files
        self._answer = answer

    def obey(self, order: Frame) -> None:
        kind, stream, body = order
        match kind:
            case Kind.BEGIN:
                path = os.fsdecode(body)
                self.building[stream] = path, LayerBuilder(self._files, path, alone=True)
            case Kind.KEEP:
                self._finished.pop(stream, None)
            case Kind.ABANDON if stream in self._finished:
                with suppress(OSError):
                    self._files.unlink(self._finished.pop(stream))
            case _ if stream in self.building:
                self._go_on(kind, stream, body)
            case _:
                pass  # it has failed, and the host did not know yet

    def _go_on(self, kind: Kind, stream: int, body: bytes) -> None:
        path, builder = self.building[stream]
        if kind is Kind.RUN:
            builder.add(decode_run(body))
            return
        if kind is Kind.FINISH:
            file = builder.finish()
            self._finished[stream] = path
            self._answer(pack(Kind.WRITTEN, stream, encode_json(Written(file.size, file.digest, file.entries))))
        else:
            builder.abandon()
        del self.building[stream]


def _read_exactly(fd: int, parent: int, size: int) -> bytes:
    """Wait for `size` bytes; fewer are the end: the input has ended, or the parent has.

    A process that the parent forked may hold the pipe open when the parent is long dead.
    """
    data = bytearray(size)
    at = 0
    with memoryview(data) as view:
        while at < size:
            if select.select([fd], [], [], LOOK_AROUND_SECONDS)[0]:
                got = os.readv(fd, [view[at : at + _READ_BYTES]])
                if not got:
                    break
                at += got
            elif os.getppid() != parent:
                break
    return bytes(data[:at])


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


if __name__ == "__main__":
    sys.exit(main())
