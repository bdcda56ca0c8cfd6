"""Group commit of layers: what is ready at the same moment goes into one file with one sync.

    subtask a ── entries ─┐
    subtask b ── entries ─┼─ one file, one fsync ─> the same Layer to a, b and c
    subtask c ── entries ─┘

The first caller leads: it takes everything that waits, has it written in a
thread, and hands the layer round; callers that come meanwhile wait for the next
file. There is no task of the writer's own.

Invariants:
- A file holds at most one freeze of an owner: with two in it, a restore of the
  first would see the second (T134).
- A caller that is cancelled hurts no other: if it waited, its entries are
  withdrawn; if it led, the others' entries wait again and one of them leads.
- A name is used once, whether or not its file came about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import Lock
from anyio.lowlevel import checkpoint

from actorstream.errors import StoreError
from actorstream.state.layer import open_written, write_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from actorstream.model.ids import LayerName
    from actorstream.model.world import FileSystem, World
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer


class _Submission:
    __slots__ = ("entries", "gone", "outcome", "owner")

    def __init__(self, owner: Hashable, entries: list[list[Entry]]) -> None:
        self.owner = owner
        self.entries = entries
        self.outcome: Layer | StoreError | None = None
        self.gone = False


class LayerWriter:
    """One for each host: all its subtasks write through it."""

    def __init__(self, world: World, folder: str, names: Callable[[], LayerName]) -> None:
        """Write into `folder`, which exists, files called what `names` gives."""
        self._world = world
        self._folder = folder
        self._names = names
        self._waiting: list[_Submission] = []
        self._leading = Lock()

    async def write(self, owner: Hashable, parts: list[list[Entry]]) -> Layer:
        """Make `parts` durable, in any order of entries; several callers may get the same layer.

        Each caller gets a count of the layer of its own, to release or hand on.

        Raises:
            StoreError: The file could not be written. Everyone whose entries were in it gets this.
        """
        submission = _Submission(owner, parts)
        self._waiting.append(submission)
        try:
            async with self._leading:
                # One turn of the loop, so that subtasks that froze at the same moment share the file.
                await checkpoint()
                while submission.outcome is None:
                    await self._write_waiting()
        except BaseException:
            self._withdraw(submission)
            raise
        if isinstance(submission.outcome, StoreError):
            raise type(submission.outcome)(str(submission.outcome)) from submission.outcome
        return submission.outcome

    async def _write_waiting(self) -> None:
        path = f"{self._folder}/{self._names()}"
        taken: dict[Hashable, _Submission] = {}
        for submission in self._waiting:
            taken.setdefault(submission.owner, submission)
        group = set(taken.values())
        self._waiting = [submission for submission in self._waiting if submission not in group]
        parts = [part for submission in taken.values() for part in submission.entries]
        try:
            layer = await self._world.offload.run(_write, self._world.files, path, parts)
        except StoreError as error:
            for submission in group:
                submission.outcome = error
        else:
            for submission in group:
                if not submission.gone:
                    layer.retain()
                    submission.outcome = layer
            layer.release()
        finally:
            # Cancelled, or an error that is not the disk's: the others' entries go into another file.
            again = (submission for submission in taken.values() if submission.outcome is None)
            self._waiting[:0] = [submission for submission in again if not submission.gone]

    def _withdraw(self, submission: _Submission) -> None:
        """Forget a caller that will not take its layer; its entries may be in a file all the same."""
        submission.gone = True
        if submission in self._waiting:
            self._waiting.remove(submission)
        elif submission.outcome is not None and not isinstance(submission.outcome, StoreError):
            submission.outcome.release()


def _write(files: FileSystem, path: str, parts: list[list[Entry]]) -> Layer:
    return open_written(path, write_layer(files, path, parts))
