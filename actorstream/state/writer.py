"""The layer writer: small freezes that are ready together go into one file, a large one streams into its own.

    subtask a ── write ──┐
    subtask b ── write ──┼─ one file, one fsync ─> the same Layer to a, b and c
    subtask c ── write ──┘
    subtask d ── stream ─── run run run ─────────> a Layer of its own

Group commit: the first caller leads: it takes everything that waits, has it written,
and hands the layer round; callers that come meanwhile wait for the next file. There
is no task of the writer's own.

Who does the writing: a thread, or one child process (state/writer_child.py), which is
started for the first stream and kept. Once it runs, groups go through it too, and it
is started for them when a thread was starved (by somebody's loop over `sleep(0)`: a
10 ms job took 2.5 s). A child that is lost costs no layer: the thread writes it
instead. After three losses without a layer in between there is no other child.

Invariants:
- A file holds at most one freeze of an owner: with two in it, a restore of the
  first would see the second (T134).
- A caller that is cancelled hurts no other: if it waited, its entries are
  withdrawn; if it led, the others' entries wait again and one of them leads.
- A name is used once, whether or not its file came about. A file that nobody took
  is removed; one that a crash leaves behind carries its attempt's number, and the
  next attempt's retention removes it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from anyio import Event, Semaphore
from anyio.lowlevel import checkpoint

from actorstream.errors import StoreError
from actorstream.state.encoding_share import EncodingShare
from actorstream.state.layer_stream import Allowance, ChildStream, LayerStream, ThreadStream
from actorstream.state.writer_process import WriterProcess
from actorstream.system.child import ChildLostError
from actorstream.system.log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Iterator

    from actorstream.model.ids import LayerName
    from actorstream.model.world import World
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer

SMALL_ENTRIES = 4_000
SMALL_BYTES = 1 << 20
"""A freeze above one of these is streamed."""
STREAMS_MAX = 2
"""So many streams at a time take turns: one is encoded while the other is synced, and memory holds no more."""
CLOSE_SECONDS = 5.0

_RUN_ENTRIES = 2_000
_STARVED_SECONDS = 0.25
_WOKEN_A_TURN = 50
_LOSSES_MAX = 3


class _Submission:
    """What one caller waits for: its outcome, or to lead."""

    __slots__ = ("entries", "gone", "leads", "outcome", "owner", "woken")

    def __init__(self, owner: Hashable, entries: list[list[Entry]]) -> None:
        self.owner = owner
        self.entries = entries
        self.outcome: Layer | StoreError | None = None
        self.woken = Event()
        self.leads = False
        self.gone = False


class LayerWriter:
    """One for each host: all its subtasks write through it.

    Attributes:
        encoding: What its callers share while they encode.
        streaming: Enter it before `stream`, and keep it until the layer is there.
    """

    def __init__(self, world: World, folder: str, names: Callable[[], LayerName], *, child: bool = False) -> None:
        """Write into `folder`, which exists, files called what `names` gives.

        Args:
            world: Time, disk and threads.
            folder: An absolute path.
            names: Gives each name once.
            child: A child process may be started. It writes to the real disk, whatever `world` says.
        """
        self.encoding = EncodingShare(world.clock, world.offload)
        self.streaming = Semaphore(STREAMS_MAX)
        self._world = world
        self._folder = folder
        self._names = names
        self._waiting: list[_Submission] = []
        self._led = False
        self._child_allowed = child
        self._starved = False
        self._process: WriterProcess | None = None
        self._losses = 0
        self._allowance = Allowance()

    @property
    def folder(self) -> str:
        """Where the layers are."""
        return self._folder

    async def write(self, owner: Hashable, parts: list[list[Entry]]) -> Layer:
        """Make `parts` durable, in any order of entries; several callers may get the same layer.

        Each caller gets a count of the layer of its own, to release or hand on.

        Raises:
            StoreError: The file could not be written. Everyone whose entries were in it gets this.
        """
        submission = _Submission(owner, parts)
        self._waiting.append(submission)
        if not self._led:
            self._led = submission.leads = True
        try:
            while submission.outcome is None:
                if submission.leads:
                    await self._write_waiting()
                else:
                    await submission.woken.wait()
        except BaseException:
            self._withdraw(submission)
            raise
        finally:
            if submission.leads:
                self._hand_over()
        if isinstance(submission.outcome, StoreError):
            raise type(submission.outcome)(str(submission.outcome)) from submission.outcome
        return submission.outcome

    def stream(self, owner: Hashable, *, calm: bool = False) -> LayerStream:
        """Begin a layer of one owner's, given run by run; the writer holds little of it at a time.

        Args:
            owner: Whose it is, for the log.
            calm: The owner computes no more, so a thread would not starve beside it, and starting a child, which
                takes 0.1 to 0.2 s, is not worth it. One that runs already is used all the same.
        """
        log.debug("layer streamed", owner=str(owner))
        return self._stream(through_child=not calm or self._process is not None)

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """End the child, if there is one: kill it after `seconds`. Call it when nobody writes any more."""
        process, self._process, self._child_allowed = self._process, None, False
        if process is not None:
            await process.close(seconds)

    async def _write_waiting(self) -> None:
        await self.encoding.wait_gathered()  # subtasks that froze at the same moment share the file
        stream = self._stream(through_child=self._starved or self._process is not None)
        taken: dict[Hashable, _Submission] = {}
        for submission in self._waiting:
            taken.setdefault(submission.owner, submission)
        group = set(taken.values())
        self._waiting = [submission for submission in self._waiting if submission not in group]
        begun = self._world.clock.monotonic()
        try:
            async with stream:
                for run in _runs_of(part for submission in taken.values() for part in submission.entries):
                    await stream.send(run)
                layer = await stream.finish()
        except StoreError as error:
            for submission in group:
                submission.outcome = error
        else:
            self._starved = self._world.clock.monotonic() - begun > _STARVED_SECONDS
            for submission in group:
                if not submission.gone:
                    layer.retain()
                    submission.outcome = layer
            layer.release()
        finally:
            # Cancelled, or an error that is not the disk's: the others' entries go into another file.
            again = (submission for submission in taken.values() if submission.outcome is None)
            self._waiting[:0] = [submission for submission in again if not submission.gone]
        await _wake(taken.values())

    def _hand_over(self) -> None:
        """Let the first that waits lead, if there is one."""
        self._led = bool(self._waiting)
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].woken.set()

    def _withdraw(self, submission: _Submission) -> None:
        """Forget a caller that will not take its layer; its entries may be in a file all the same."""
        submission.gone = True
        if submission in self._waiting:
            self._waiting.remove(submission)
        elif submission.outcome is not None and not isinstance(submission.outcome, StoreError):
            submission.outcome.release()

    def _stream(self, *, through_child: bool) -> LayerStream:
        path = f"{self._folder}/{self._names()}"
        process = self._child() if through_child else None
        if process is None:
            return ThreadStream(self._world, path)
        return ChildStream(self._world, process, path, self._allowance, partial(self._instead_of, process))

    def _child(self) -> WriterProcess | None:
        """Give the running child, a new one if need be; None where none is to be had."""
        if self._process is None and self._child_allowed:
            try:
                self._process = WriterProcess()
            except ChildLostError as loss:
                self._on_loss(loss)
        return self._process

    def _instead_of(self, process: WriterProcess, loss: ChildLostError) -> ThreadStream:
        if self._process is process:
            self._process = None
            self._losses = 0 if process.written else self._losses
            self._on_loss(loss)
        return ThreadStream(self._world, f"{self._folder}/{self._names()}")

    def _on_loss(self, loss: ChildLostError) -> None:
        self._losses += 1
        self._child_allowed = self._losses < _LOSSES_MAX
        log.warning("layers are written by a thread, not by a child", reason=str(loss))


async def _wake(done: Collection[_Submission]) -> None:
    """Tell callers that they have their outcome, but not 2,000 in one turn of the loop: each has work to do then."""
    try:
        for number, submission in enumerate(done, 1):
            submission.woken.set()
            if number % _WOKEN_A_TURN == 0:
                await checkpoint()
    finally:
        for submission in done:
            submission.woken.set()


def _runs_of(parts: Iterable[list[Entry]]) -> Iterator[list[Entry]]:
    """Give all entries in runs that are worth a call: one for each of 2,000 parts would hold the loop for 40 ms."""
    run: list[Entry] = []
    for part in parts:
        for at in range(0, len(part), _RUN_ENTRIES):
            run += part[at : at + _RUN_ENTRIES]
            if len(run) >= _RUN_ENTRIES:
                yield run
                run = []
    yield run
