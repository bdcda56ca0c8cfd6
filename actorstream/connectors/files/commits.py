"""Which parts are let be seen, and which are removed: what an attempt finds, and what it may do with it.

    opened        the fence is up; parts of lower attempts that no restored checkpoint names are removed
    commit        .part-… ──rename──> part-…, each; the folder synced; the mark made: in this order
    commit again  the mark is there: nothing to do      a part has its last name already: it is not asked for again

Invariants:
    - A part that is seen is whole, and its checkpoint complete.
    - Once an attempt has removed a part of an older one, that one cannot commit it any more: nothing is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.connectors.files.fencing import Fences, Owner
from actorstream.connectors.files.parts import PartName, part_of, quoted
from actorstream.errors import RestoreError, StoreError
from actorstream.eventlog.disk_errors import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.connectors.files.part_tokens import PartToken
    from actorstream.model.connect import SinkContext
    from actorstream.model.world import FileSystem


class PartCommits:
    """The commits of one writer. All calls are blocking."""

    def __init__(self, files: FileSystem, folder: str, ctx: SinkContext) -> None:
        """Take the place and who writes; nothing is made yet."""
        self._files = files
        self._folder = folder
        self._ctx = ctx
        self._fences = Fences(files, folder)

    def open(self) -> None:
        """Put up the fence, and remove what may never be committed.

        Raises:
            FencedError: A newer attempt has taken over.
            RestoreError: The job goes on from an older checkpoint than the one it has committed here.
            StoreError: The disk refuses.
        """
        ctx = self._ctx
        with disk_errors(self._folder):
            self._fences.make()
            self._fences.put_up(ctx)
            parts = self._remove(lambda part: self._is_of_older(part) and part.is_behind(ctx.restored))
            seen = [part.checkpoint or 0 for part in parts if part.attempt is None and part.job == quoted(ctx.job)]
            last = max(seen, default=0)
            last = max(last, self._fences.newest_of(ctx.job))
        if last > ctx.restored:
            found = f"checkpoint {ctx.restored}" if ctx.restored else "no checkpoint"
            raise RestoreError(
                f"{self._folder} holds the output of checkpoint {last} of job {ctx.job}, but the job goes on from "
                f"{found}: what lies between would be written twice; put the newest folder of checkpoints/ back from a "
                "copy, or write to another folder"
            )

    def refuse_older(self) -> None:
        """Make sure that no newer attempt has taken over.

        Raises:
            FencedError: One has.
        """
        with disk_errors(self._folder):
            self._fences.refuse_older(self._ctx.job, self._ctx.attempt)

    def commit(self, token: PartToken) -> None:
        """Let a token's parts be seen, unless they are already.

        Raises:
            FencedError: A newer attempt has taken over.
            StoreError: A part is missing or not whole; none is renamed then.
        """
        if token.job == self._ctx.job:  # attempts of two jobs, the one begun from a savepoint, do not compare
            self.refuse_older()
        owner = Owner(quoted(token.job), quoted(token.operator), token.subtask)
        with disk_errors(self._folder):
            if self._fences.committed_through(owner) >= token.checkpoint:
                return
            waiting = self._whole(token)
            for part in waiting:
                try:
                    self._files.rename(self._path(part), self._path(part.committed()))
                except FileNotFoundError:
                    raise self._missing(token, part) from None
            self._files.sync_dir(self._folder)
            self._fences.mark(owner, token.checkpoint)

    def _whole(self, token: PartToken) -> Sequence[PartName]:
        """Give the parts that have still to be renamed, all of them being there."""
        waiting, size = [], 0
        for part in token.names():
            path = self._path(part.committed())
            if not self._files.exists(path):
                waiting.append(part)
                path = self._path(part)
            try:
                size += self._files.size(path)
            except FileNotFoundError:
                raise self._missing(token, part) from None
        if size != token.size:
            raise StoreError(
                f"{self._folder}: the {token.parts} parts of checkpoint {token.checkpoint} have {size} bytes, "
                f"expected {token.size}: put the right files back, or restore an older checkpoint"
            )
        return waiting

    def _missing(self, token: PartToken, part: PartName) -> StoreError:
        if token.job == self._ctx.job:
            self.refuse_older()
        return StoreError(
            f"{self._path(part)} is missing: it is one of {token.parts} with the {token.count} records of checkpoint "
            f"{token.checkpoint}, and was not committed; put it back, or restore an older checkpoint (if a reader has "
            f"taken it away since, put a copy back as {part.committed().encode()})"
        )

    def remove_left_behind(self) -> None:
        """Remove what lower attempts left: of this subtask all, of others what no restored checkpoint names."""
        ctx = self._ctx
        with disk_errors(self._folder):
            self._remove(
                lambda part: self._is_of_older(part) and (part.subtask == ctx.subtask or part.is_behind(ctx.restored))
            )

    def remove(self, token: PartToken) -> None:
        """Remove the parts that a token names."""
        for part in token.names():
            with disk_errors(self._path(part)):
                self._files.unlink(self._path(part))

    def _remove(self, unwanted: Callable[[PartName], bool]) -> Sequence[PartName]:
        """Remove parts; give the others."""
        kept = []
        for part in filter(None, map(part_of, self._files.list_dir(self._folder))):
            if unwanted(part):
                self._files.unlink(self._path(part))
            else:
                kept.append(part)
        return kept

    def _is_of_older(self, part: PartName) -> bool:
        ctx = self._ctx
        mine = (quoted(ctx.job), quoted(ctx.operator))
        return (part.job, part.operator) == mine and part.attempt is not None and part.attempt < ctx.attempt

    def _path(self, part: PartName) -> str:
        return f"{self._folder}/{part.encode()}"
