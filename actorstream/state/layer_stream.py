"""Streams: one freeze on its way into a file of its own, a run at a time.

    send send send ──> ThreadStream   10,000 entries a call of the world's offload
                   └─> ChildStream    frames to the writer child, never waiting for a thread
                           └ child lost: what it was sent goes through a ThreadStream, under another name

    async with writer.stream(owner) as stream:
        await stream.send(run)
        layer = await stream.finish()

Until `finish` has returned the file is the stream's, and goes with it. So a freeze
is in a layer as a whole or not at all, whoever is cancelled.

What was sent to a child is kept, encoded, until the file is durable, as long as all
streams of a host together keep no more than `KEPT_BYTES`. A freeze beyond that
fails with its child, as with a full disk: it goes out again with the next one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from anyio import CancelScope

from actorstream.codec.entry_runs import decode_run, encode_run
from actorstream.errors import StoreError
from actorstream.state.layer import open_written
from actorstream.state.layer_builder import SORT_ENTRIES_MAX, LayerBuilder
from actorstream.system.child import ChildLostError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from actorstream.model.world import World
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer
    from actorstream.state.writer_process import WriterProcess

KEPT_BYTES = 32 << 20


class LayerStream(ABC):
    """One layer being written, for one caller. A context manager that abandons what was not finished."""

    async def __aenter__(self) -> Self:
        """Go on."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Abandon the layer if it is not finished."""
        await self.abandon()

    @abstractmethod
    async def send(self, run: list[Entry]) -> None:
        """Add entries, at most 10,000, in any order, each key once; waits while the writer is behind.

        The list is the stream's from now on.

        Raises:
            StoreError: The disk is full or fails.
        """

    @abstractmethod
    async def finish(self) -> Layer:
        """Wait until the layer is durable, and open it; the count is the caller's.

        Raises:
            StoreError: It could not be written.
        """

    @abstractmethod
    async def abandon(self) -> None:
        """Remove the file; does nothing after `finish` has returned. Not cut short by cancellation."""


class ThreadStream(LayerStream):
    """Written by the world's offload."""

    def __init__(self, world: World, path: str) -> None:
        """Write the file `path`, once there is something to write."""
        self._world = world
        self._path = path
        self._waiting: list[list[Entry]] = []
        self._waiting_entries = 0
        self._builder: LayerBuilder | None = None
        self._finished = False
        self._opened: list[Layer] = []

    async def send(self, run: list[Entry]) -> None:
        """Add entries."""
        self._waiting.append(run)
        self._waiting_entries += len(run)
        if self._waiting_entries > SORT_ENTRIES_MAX:
            await self._world.offload.run(self._add)

    async def finish(self) -> Layer:
        """Wait until the layer is durable, and open it."""
        await self._world.offload.run(self._finish)
        self._builder = None
        return self._opened.pop()

    async def abandon(self) -> None:
        """Remove the file."""
        while self._opened:
            self._opened.pop().release()
        builder, self._builder = self._builder, None
        if builder is not None:
            with CancelScope(shield=True):
                await self._world.offload.run(self._remove, builder)

    def _add(self) -> LayerBuilder:
        if self._builder is None:
            self._builder = LayerBuilder(self._world.files, self._path)
        runs, self._waiting, self._waiting_entries = self._waiting, [], 0
        for run in runs:
            self._builder.add(run)
        return self._builder

    def _finish(self) -> None:
        # A caller that is cancelled meanwhile gets nothing back: what there is stands here, for `abandon`.
        file = self._add().finish()
        self._finished = True
        self._opened.append(open_written(self._path, file))

    def _remove(self, builder: LayerBuilder) -> None:
        builder.abandon()
        if self._finished:
            remove(self._world, self._path)


class Allowance:
    """How many bytes all streams of a host may keep for the case that their child is lost."""

    def __init__(self, size_bytes: int = KEPT_BYTES) -> None:
        """Allow so many."""
        self._left = size_bytes

    def take(self, size_bytes: int) -> bool:
        """Take some, if there is as much."""
        taken = size_bytes <= self._left
        if taken:
            self._left -= size_bytes
        return taken

    def give_back(self, size_bytes: int) -> None:
        """Need them no more."""
        self._left += size_bytes


class ChildStream(LayerStream):
    """Written by the writer child; if that is lost, by a thread."""

    def __init__(
        self,
        world: World,
        process: WriterProcess,
        path: str,
        allowance: Allowance,
        in_thread: Callable[[ChildLostError], ThreadStream],
    ) -> None:
        """Write the file `path` by `process`; after its loss go on with what `in_thread` gives."""
        self._world = world
        self._process = process
        self._path = path
        self._allowance = allowance
        self._in_thread = in_thread
        self._number: int | None = None
        self._sent = 0
        self._kept: deque[bytes] | None = deque()
        self._instead: ThreadStream | None = None

    async def send(self, run: list[Entry]) -> None:
        """Add entries."""
        if self._instead is not None:
            await self._instead.send(run)
            return
        body = encode_run(run)
        self._sent += len(body)
        self._keep(body)
        try:
            await self._process.send(self._begun(), body)
        except ChildLostError as loss:
            await self._go_on_in_thread(loss)

    async def finish(self) -> Layer:
        """Wait until the layer is durable, and open it."""
        if self._instead is not None:
            return await self._instead.finish()
        try:
            number = self._begun()
            file = await self._process.finish(number)
        except ChildLostError as loss:
            return await (await self._go_on_in_thread(loss)).finish()
        # Here, not in a thread: it takes 0.1 ms, and a thread starves beside a busy loop.
        layer = open_written(self._path, file)
        self._process.keep(number)
        self._number = None
        self._forget()
        return layer

    async def abandon(self) -> None:
        """Remove the file."""
        self._forget()
        if self._instead is not None:
            await self._instead.abandon()
        await self._remove()

    def _begun(self) -> int:
        if self._number is None:
            self._number = self._process.begin(self._path)
        return self._number

    def _keep(self, body: bytes) -> None:
        if self._kept is not None:
            if self._allowance.take(len(body)):
                self._kept.append(body)
            else:
                self._forget()

    def _forget(self) -> None:
        if self._kept is not None:
            self._allowance.give_back(sum(map(len, self._kept)))
            self._kept = None

    async def _go_on_in_thread(self, loss: ChildLostError) -> ThreadStream:
        """Send what the child was sent again, to another file."""
        instead = self._in_thread(loss)
        await self._remove()
        if self._kept is None:
            raise StoreError(
                f"{self._path}: the child that wrote it was lost, and the {self._sent} bytes sent to it are not kept, "
                f"being too many; they go out again with the next snapshot ({loss})"
            ) from loss
        self._instead = instead
        while self._kept:
            body = self._kept.popleft()
            self._allowance.give_back(len(body))
            await instead.send(decode_run(body))
        return instead

    async def _remove(self) -> None:
        """Have the file of the child removed, by whoever is there to do it."""
        number, self._number = self._number, None
        if number is not None and not self._process.abandon(number):
            with CancelScope(shield=True):
                await self._world.offload.run(remove, self._world, self._path)


def remove(world: World, path: str) -> None:
    """Remove a file that nobody refers to; what cannot be removed is left to the next attempt's retention."""
    with suppress(OSError):
        world.files.unlink(path)
