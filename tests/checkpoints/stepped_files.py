"""The real disk with a hook before each step that changes it: for faults, crashes and interleavings at every point."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from actorstream.system.files import RealFiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.model.world import FileLock, NewFile


class Crash(BaseException):
    """The process is gone: no cleaning up happens."""


class _SteppedFile:
    def __init__(self, inner: NewFile, path: str, before: Callable[[str, str], None]) -> None:
        self._inner = inner
        self._path = path
        self._before = before

    def write(self, data: bytes, /) -> None:
        self._before("write", self._path)
        self._inner.write(data)

    def sync(self) -> None:
        self._before("sync", self._path)
        self._inner.sync()

    def close(self) -> None:
        self._inner.close()


class SteppedFiles(RealFiles):
    """Calls `before(step, path)`; what that raises happens instead of the step."""

    def __init__(self, before: Callable[[str, str], None]) -> None:
        self._before = before

    def make_dirs(self, path: str, /) -> None:
        """Make a folder that is not there: a step."""
        if not os.path.isdir(path):
            self._before("make_dirs", path)
        super().make_dirs(path)

    def create(self, path: str, /) -> NewFile:
        """Make a file: a step, and so are its writes and syncs."""
        self._before("create", path)
        return _SteppedFile(super().create(path), path, self._before)

    def link(self, source: str, target: str, /) -> None:
        """Give a second name: a step."""
        self._before("link", target)
        super().link(source, target)

    def unlink(self, path: str, /) -> None:
        """Remove a name that is there: a step."""
        if os.path.lexists(path):
            self._before("unlink", path)
        super().unlink(path)

    def lock(self, path: str, /) -> FileLock | None:
        """Lock a file: a step if it makes it."""
        if not os.path.lexists(path):
            self._before("lock", path)
        return super().lock(path)

    def sync_dir(self, path: str, /) -> None:
        """Sync a folder: a step."""
        self._before("sync_dir", path)
        super().sync_dir(path)


class AtStep:
    """A hook that does `action` once, right before the n-th step (from 0), and counts the steps."""

    def __init__(self, number: int, action: Callable[[], None]) -> None:
        self.taken = 0
        self._number = number
        self._action = action

    def __call__(self, step: str, path: str) -> None:
        """Count a step."""
        self.taken += 1
        if self.taken == self._number + 1:
            self._action()

    @property
    def fired(self) -> bool:
        """Whether there were that many steps."""
        return self.taken > self._number


def fail_at(step: str, name: str, error: int, *, skip: int = 0) -> Callable[[str, str], None]:
    """Give a hook that raises OSError at the given step on paths ending in `name`, after `skip` of them."""
    left = [skip]

    def before(at: str, path: str) -> None:
        if at == step and path.endswith(name):
            if left[0] == 0:
                raise OSError(error, os.strerror(error), path)
            left[0] -= 1

    return before


def crash() -> None:
    """End the process, as far as a test can."""
    raise Crash


def nothing(step: str, path: str) -> None:
    """Let the step happen."""


class Switch:
    """A hook that can be changed while the files are in use."""

    def __init__(self) -> None:
        """Let every step happen until `then` is set."""
        self.then: Callable[[str, str], None] = nothing

    def __call__(self, step: str, path: str) -> None:
        """Do what `then` does."""
        self.then(step, path)
