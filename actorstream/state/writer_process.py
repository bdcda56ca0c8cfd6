"""The host's end of the writer child: streams by number, and what became of each.

    stream 1 ── BEGIN RUN ────── RUN FINISH ─┐             ┌─> WRITTEN: the file of stream 1
    stream 2 ────────── BEGIN RUN ───────────┴─> child ────┴─> FAILED: StoreError for stream 2

When the child is lost, every stream gets a `ChildLostError`, now or at its next call.
A child that takes nothing and says nothing for a minute counts as lost, and is killed.
"""

from __future__ import annotations

import asyncio
import os
from itertools import count

from anyio import move_on_after

from actorstream.codec.documents import decode_json
from actorstream.errors import ActorstreamError, CodecError, StoreError
from actorstream.model.ids import LayerName
from actorstream.state.layer import LayerFile
from actorstream.state.writer_frames import FrameParser, Kind, Written, pack
from actorstream.system.child import Child, ChildLostError

MODULE = "actorstream.state.writer_child"
SILENCE_SECONDS = 60.0
_BYTES_A_SECOND = 5_000_000  # what a slow disk takes: a large layer is given longer to sync


class _Outcome:
    """What becomes of one stream."""

    __slots__ = ("arrived", "name", "result", "sent")

    def __init__(self, name: LayerName) -> None:
        self.name = name
        self.sent = 0
        self.result: LayerFile | ActorstreamError | None = None
        self.arrived = asyncio.Event()

    def settle(self, result: LayerFile | ActorstreamError) -> None:
        if self.result is None:
            self.result = result
            self.arrived.set()


class WriterProcess:
    """One writer child. All calls belong to the event loop on which it was made.

    Attributes:
        written: How many layers it has made.
    """

    def __init__(self) -> None:
        """Start it.

        Raises:
            ChildLostError: No child can be started here.
        """
        self.written = 0
        self._outcomes: dict[int, _Outcome] = {}
        self._numbers = count(1)
        self._parser = FrameParser()
        self._child = Child(MODULE, self._on_data, self._on_lost)

    @property
    def loss(self) -> str | None:
        """What became of the child; None while it lives."""
        return self._child.loss

    @property
    def pid(self) -> int:
        """Give its process id."""
        return self._child.pid

    def begin(self, path: str) -> int:
        """Begin the file `path`; give the number of its stream, which ends with `keep` or `abandon`.

        Raises:
            ChildLostError: The child is gone.
        """
        stream = next(self._numbers)
        self._child.feed(pack(Kind.BEGIN, stream, os.fsencode(path)))
        self._outcomes[stream] = _Outcome(LayerName(os.path.basename(path)))
        return stream

    async def send(self, stream: int, run: bytes) -> None:
        """Send entries, then wait until the child has taken most of what it was sent.

        If this is cancelled, the entries are sent all the same.

        Raises:
            StoreError: The stream has failed: the disk is full, or fails.
            ChildLostError: The child is gone.
        """
        outcome = self._outcomes[stream]
        if isinstance(outcome.result, ActorstreamError):
            raise outcome.result
        self._child.feed(pack(Kind.RUN, stream, run))
        outcome.sent += len(run)
        with move_on_after(SILENCE_SECONDS) as silence:
            await self._child.wait_room()
        if silence.cancelled_caught:
            raise self._killed(f"it took nothing for {SILENCE_SECONDS:g} s")

    async def finish(self, stream: int) -> LayerFile:
        """Wait until the file is durable.

        Raises:
            StoreError: It could not be written, and is not there.
            ChildLostError: The child is gone.
        """
        self._child.feed(pack(Kind.FINISH, stream))
        outcome = self._outcomes[stream]
        patience = SILENCE_SECONDS + outcome.sent / _BYTES_A_SECOND
        with move_on_after(patience):
            await outcome.arrived.wait()
        match outcome.result:
            case LayerFile():
                self.written += 1
                return outcome.result
            case ActorstreamError():
                raise outcome.result
            case None:
                raise self._killed(f"it did not finish {outcome.sent} bytes within {patience:.0f} s")

    def keep(self, stream: int) -> None:
        """Take over the file that `finish` gave; also from a child that is gone by now."""
        self._close(Kind.KEEP, stream)

    def abandon(self, stream: int) -> bool:
        """Have the file removed, finished or not; False if the child is gone, and the file may be there."""
        return self._close(Kind.ABANDON, stream)

    async def close(self, seconds: float) -> None:
        """End the child, which removes what was not finished; kill it after `seconds`."""
        await self._child.close(seconds)

    def _close(self, kind: Kind, stream: int) -> bool:
        del self._outcomes[stream]
        try:
            self._child.feed(pack(kind, stream))
        except ChildLostError:
            return False
        return True

    def _killed(self, reason: str) -> ChildLostError:
        self._child.kill(reason)
        return ChildLostError(self._child.loss)

    def _on_data(self, data: bytes) -> None:
        try:
            for kind, stream, body in self._parser.parse(data):
                outcome = self._outcomes.get(stream)
                if outcome is None:
                    continue  # abandoned meanwhile, which the child will find out
                if kind is Kind.WRITTEN:
                    written = decode_json(Written, body)
                    outcome.settle(LayerFile(outcome.name, written.size, written.digest, written.entries))
                else:
                    outcome.settle(StoreError(body.decode()))
        except (ValueError, CodecError) as error:
            self._child.kill(f"it said what no writer says ({error})")

    def _on_lost(self) -> None:
        for outcome in self._outcomes.values():
            outcome.settle(ChildLostError(self._child.loss))
