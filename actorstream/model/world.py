"""What the runtime takes from outside: time, files, threads, randomness.

Everything above takes a `World`, so that the simulation can hand in a virtual
clock, a disk that loses power, and threads that are no threads. The real one is
in actorstream/system/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

P = ParamSpec("P")
R = TypeVar("R")


class Clock(Protocol):
    """Two readings of time; sleeping is the event loop's."""

    def now_us(self) -> int:
        """Wall clock, microseconds since 1970 UTC: data only, it may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for durations and deadlines."""
        ...


class FileLock(Protocol):
    """An exclusive lock that ends with its process."""

    def release(self) -> None:
        """Let go; a second call does nothing."""
        ...


class NewFile(Protocol):
    """A file being written for the first time."""

    def write(self, data: bytes, /) -> None:
        """Append all of `data`, or raise OSError."""
        ...

    def sync(self) -> None:
        """Return once the content is durable (its name needs `sync_dir`)."""
        ...

    def close(self) -> None:
        """Close; a second call does nothing."""
        ...


class FileSystem(Protocol):
    """Blocking file calls, each one thing that can fail or be cut by a crash. Paths are absolute.

    A name is durable after `sync_dir` of its folder, content after `sync`.
    Files are made with mode 0600, folders 0700. Errors are OSError.
    """

    def make_dirs(self, path: str, /) -> None:
        """Make a folder and its parents, durable names included; an existing one is fine."""
        ...

    def create(self, path: str, /) -> NewFile:
        """Open a new file for writing; FileExistsError if the name is taken."""
        ...

    def read(self, path: str, /) -> bytes:
        """Give a whole file."""
        ...

    def chunks(self, path: str, /) -> Iterator[bytes]:
        """Give a file in pieces of at most 1 MiB."""
        ...

    def read_at(self, path: str, offset: int, size: int, /) -> bytes:
        """Give at most `size` bytes from a place in a file on; fewer only where it ends."""
        ...

    def size(self, path: str, /) -> int:
        """Give a file's length in bytes."""
        ...

    def exists(self, path: str, /) -> bool:
        """Tell whether the name is there."""
        ...

    def free_bytes(self, path: str, /) -> int:
        """Give how many bytes this user may still write to the disk that holds an existing path: it may change."""
        ...

    def list_dir(self, path: str, /) -> list[str]:
        """Give the sorted names in a folder; empty where there is no such folder."""
        ...

    def link(self, source: str, target: str, /) -> None:
        """Give a file a second name; FileExistsError if that is taken. The put-if-absent of a folder."""
        ...

    def rename(self, source: str, target: str, /) -> None:
        """Give a file another name in its folder, in one step; one that has that name is replaced."""
        ...

    def unlink(self, path: str, /) -> None:
        """Remove a name; a missing one is fine."""
        ...

    def append(self, path: str, data: bytes, /) -> None:
        """Add to a file's end, making the file if it is missing; a crash may leave any first part of `data`."""
        ...

    def identity(self, path: str, /) -> str:
        """Give a text without line breaks that is the same only while the machine runs and the file is unchanged.

        Two equal readings mean that nobody has changed the file through the file system in between, or
        replaced it, or turned the machine off. What the disk itself does to it does not show.
        """
        ...

    def read_each(self, read: Callable[[str], R], paths: Sequence[str], /) -> list[R]:
        """Call `read` on every path, several at once where the disk gains by it; raise the first error."""
        ...

    def sync(self, path: str, /) -> None:
        """Return once an existing file's content is durable."""
        ...

    def sync_dir(self, path: str, /) -> None:
        """Return once the names in a folder are durable."""
        ...

    def synced(self, path: str, /) -> None:
        """Take note that LMDB itself has just made `path` durable. Does nothing on a real disk."""
        ...

    def temporary(self, name: str, /) -> str:
        """Give the path of a folder, not yet made, for what need not outlive the process."""
        ...

    def make_temporary(self, path: str, /) -> None:
        """Make a temporary folder and its parents; nothing of it is durable."""
        ...

    def remove_tree(self, path: str, /) -> None:
        """Remove a temporary folder with all that is in it; what cannot be removed stays."""
        ...

    def lock(self, path: str, /) -> FileLock | None:
        """Take an exclusive lock (the file is made if missing); None if another holds it."""
        ...


class Offload(Protocol):
    """Runs blocking calls away from the event loop."""

    @property
    def busy(self) -> int:
        """How many calls are at work: while above 0, saturated actors yield with a real sleep (SPEED §6)."""
        ...

    async def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `fn` in a thread. Not cut short by cancellation: the call always ends first."""
        ...


class Random(Protocol):
    """Ids and jitter."""

    def token(self) -> str:
        """Give 128 random bits as 32 hexadecimal digits."""
        ...

    def fraction(self) -> float:
        """Give a number in [0, 1)."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """The four of them.

    `processes`: children may be started, which work on the real disk whatever `files` is. `threads`: one of ours may
    look at the event loop from outside, by the real clock.
    """

    clock: Clock
    files: FileSystem
    offload: Offload
    random: Random
    processes: bool = False
    threads: bool = False
