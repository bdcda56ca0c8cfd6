"""Who may write parts into a folder, and what of theirs is committed: names in a folder inside it.

    out/.actorstream/fence-<job>-<attempt>                         the highest attempt that has opened a writer
    out/.actorstream/committed-<job>-<operator>-<subtask>-<checkpoint>    up to where a subtask's parts were committed

There are no transactions in a folder, so the order of steps does it:

    newer   make the fence ── list the parts ── remove those of older attempts that may not be committed any more
    older   name a part as pre-committed ── look at the fence

Either the older one sees the fence, or the newer one its part: then its commit finds no part to rename. The mark of
what is committed lets readers take parts away: a commit that comes again must not miss them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from actorstream.connectors.files.parts import quoted
from actorstream.errors import FencedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.model.connect import SinkContext
    from actorstream.model.world import FileSystem

FENCES = ".actorstream"


class Owner(NamedTuple):
    """Whose parts, in names: job and operator are quoted."""

    job: str
    operator: str
    subtask: int


class Fences:
    """The fences and marks of one folder. All calls are blocking."""

    def __init__(self, files: FileSystem, folder: str) -> None:
        """Take the place; `make` makes it."""
        self._files = files
        self.folder = f"{folder}/{FENCES}"

    def make(self) -> None:
        """Make the folders, names durable."""
        self._files.make_dirs(self.folder)

    def put_up(self, ctx: SinkContext) -> None:
        """From now on nobody with a lower attempt of the job pre-commits or commits here.

        Raises:
            FencedError: A higher attempt has done so, or somebody else with the same number.
        """
        self.refuse_older(ctx.job, ctx.attempt)
        name = f"fence-{quoted(ctx.job)}-{ctx.attempt}"
        path = f"{self.folder}/{name}"
        if not self._files.exists(path):
            self._put(path, ctx)
        holder = self._files.read(path).decode("utf-8", "replace")
        if holder not in {"", ctx.holder}:
            raise FencedError(
                f"{self.folder}: another instance of job {ctx.job}, with attempt {ctx.attempt} too, writes here: both "
                "go on from one savepoint or a copy of one store; stop one, or run one of them as a fork"
            )
        self.refuse_older(ctx.job, ctx.attempt)
        for attempt in self._attempts(ctx.job):
            if attempt < ctx.attempt:
                self._files.unlink(f"{self.folder}/fence-{quoted(ctx.job)}-{attempt}")

    def _put(self, path: str, ctx: SinkContext) -> None:
        new = f"{self.folder}/new-{quoted(ctx.job)}-{quoted(ctx.operator)}-{ctx.subtask}-{ctx.attempt}-{ctx.holder}"
        self._files.unlink(new)
        file = self._files.create(new)
        try:
            file.write(ctx.holder.encode())
            file.sync()
        finally:
            file.close()
        with suppress(FileExistsError):  # another subtask was first
            self._files.link(new, path)
        self._files.unlink(new)
        self._files.sync_dir(self.folder)

    def refuse_older(self, job: str, attempt: int) -> None:
        """Refuse an attempt below the highest of the job that has opened a writer.

        Raises:
            FencedError: A newer attempt has taken over.
        """
        highest = max(self._attempts(job), default=attempt)
        if highest > attempt:
            raise FencedError(
                f"{self.folder}: attempt {highest} of job {job} writes here, this is attempt {attempt}: a newer "
                "deployment has taken over, so this one must stop"
            )

    def _attempts(self, job: str) -> Iterator[int]:
        for parts in self._named("fence", 3):
            if parts[1] == quoted(job):
                yield int(parts[2])

    def mark(self, owner: Owner, checkpoint: int) -> None:
        """Note, durably, that a subtask's parts are committed up to a checkpoint."""
        path = f"{self.folder}/committed-{owner.job}-{owner.operator}-{owner.subtask}-"
        with suppress(FileExistsError):  # the last commit of it may have come so far
            self._files.create(f"{path}{checkpoint}").close()
        for name, at in list(self._marks()):
            if name == owner and at < checkpoint:
                self._files.unlink(f"{path}{at}")
        self._files.sync_dir(self.folder)

    def committed_through(self, owner: Owner) -> int:
        """Give the last checkpoint up to which a subtask's parts are known to be committed; 0: none."""
        return max((at for name, at in self._marks() if name == owner), default=0)

    def newest_of(self, job: str) -> int:
        """Give the last checkpoint of which parts of a job are known to be committed; 0: none."""
        return max((at for name, at in self._marks() if name.job == quoted(job)), default=0)

    def _marks(self) -> Iterator[tuple[Owner, int]]:
        for _, job, operator, subtask, checkpoint in self._named("committed", 5):
            yield Owner(job, operator, int(subtask)), int(checkpoint)

    def _named(self, kind: str, length: int) -> Iterator[list[str]]:
        """Give the parts of the names of a kind, the last of which is a number."""
        for name in self._files.list_dir(self.folder):
            parts = name.split("-")
            if parts[0] == kind and len(parts) == length and all(map(str.isdecimal, parts[3:] or parts[2:])):
                yield parts
