"""Files of a job without a store: documents in memory, layers in a temporary folder, and nothing is synced.

Such a job's checkpoints serve recovery within the process, so nothing here has to
outlive it: the dozen fsyncs and small files of a start and an end, 8 ms together,
fall away. Layers stay real files, since LMDB reads and writes them.
"""

from __future__ import annotations

from os.path import dirname
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorstream.model.world import FileLock, FileSystem, NewFile

P = ParamSpec("P")
R = TypeVar("R")


class _Document:
    def __init__(self, documents: dict[str, bytes], path: str) -> None:
        self._documents = documents
        self._path = path

    def write(self, data: bytes, /) -> None:
        self._documents[self._path] += data

    def sync(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _Held:
    def release(self) -> None:
        """Do nothing: nobody else can ask for it."""


class InlineOffload:
    """`Offload` for calls that never block, such as those on documents in memory: a thread would cost 0.2 ms each."""

    busy = 0

    async def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `fn`."""
        return fn(*args, **kwargs)


class ScratchFiles:
    """`FileSystem` of one storeless job."""

    def __init__(self, inner: FileSystem, temporary: str, layers: str) -> None:
        """Start with no document; `layers`, a folder of `inner` below `temporary`, holds layers and nothing else."""
        inner.make_temporary(layers)
        self._inner = inner
        self._temporary = temporary
        self._layers = layers
        self._documents: dict[str, bytes] = {}

    def remove_unused(self) -> bool:
        """Remove the temporary folder if no layer is in it: 0.1 ms, so no thread is needed. Tell whether it is gone."""
        path = self._layers
        if self._inner.list_dir(path):
            return False
        while path.startswith(self._temporary):
            self._inner.unlink(path)
            path = dirname(path)
        return True

    def make_dirs(self, path: str, /) -> None:
        """Do nothing: a document needs no folder."""

    def create(self, path: str, /) -> NewFile:
        """Start a new file."""
        if self._is_layer(path):
            return self._inner.create(path)
        if path in self._documents:
            raise FileExistsError(17, "the name is taken", path)
        self._documents[path] = b""
        return _Document(self._documents, path)

    def read(self, path: str, /) -> bytes:
        """Give a whole file."""
        return self._inner.read(path) if self._is_layer(path) else self._document(path)

    def chunks(self, path: str, /) -> Iterator[bytes]:
        """Give a file in pieces."""
        return self._inner.chunks(path) if self._is_layer(path) else iter([self._document(path)])

    def read_at(self, path: str, offset: int, size: int, /) -> bytes:
        """Give a part of a file."""
        if self._is_layer(path):
            return self._inner.read_at(path, offset, size)
        return self._document(path)[offset : offset + size]

    def size(self, path: str, /) -> int:
        """Give a file's length in bytes."""
        return self._inner.size(path) if self._is_layer(path) else len(self._document(path))

    def exists(self, path: str, /) -> bool:
        """Tell whether there is a file, or something below a folder."""
        if self._is_layer(path):
            return self._inner.exists(path)
        return path in self._documents or bool(self.list_dir(path))

    def free_bytes(self, path: str, /) -> int:
        """Give the free space of the disk with the layers."""
        return self._inner.free_bytes(self._layers)

    def list_dir(self, path: str, /) -> list[str]:
        """Give the sorted names in a folder."""
        if path == self._layers:
            return self._inner.list_dir(path)
        below = f"{path}/"
        return sorted({name[len(below) :].partition("/")[0] for name in self._documents if name.startswith(below)})

    def link(self, source: str, target: str, /) -> None:
        """Give a file a second name."""
        if self._is_layer(source):
            self._inner.link(source, target)
            return
        if target in self._documents:
            raise FileExistsError(17, "the name is taken", target)
        self._documents[target] = self._document(source)

    def rename(self, source: str, target: str, /) -> None:
        """Give a file another name in its folder."""
        if self._is_layer(source):
            self._inner.rename(source, target)
            return
        self._documents[target] = self._document(source)
        del self._documents[source]

    def unlink(self, path: str, /) -> None:
        """Remove a name; a missing one is fine."""
        if self._is_layer(path):
            self._inner.unlink(path)
        self._documents.pop(path, None)

    def append(self, path: str, data: bytes, /) -> None:
        """Add to a document's end."""
        self._documents[path] = self._documents.get(path, b"") + data

    def identity(self, path: str, /) -> str:
        """Give a layer's identity."""
        return self._inner.identity(path)

    def read_each(self, read: Callable[[str], R], paths: Sequence[str], /) -> list[R]:
        """Call `read` on every path."""
        return self._inner.read_each(read, paths)

    def sync(self, path: str, /) -> None:
        """Do nothing."""

    def sync_dir(self, path: str, /) -> None:
        """Do nothing."""

    def synced(self, path: str, /) -> None:
        """Do nothing."""

    def temporary(self, name: str, /) -> str:
        """Give the path of a temporary folder."""
        return self._inner.temporary(name)

    def make_temporary(self, path: str, /) -> None:
        """Make a temporary folder."""
        self._inner.make_temporary(path)

    def remove_tree(self, path: str, /) -> None:
        """Remove a temporary folder."""
        self._inner.remove_tree(path)

    def lock(self, path: str, /) -> FileLock | None:
        """Take the lock: there is nobody else."""
        return _Held()

    def _is_layer(self, path: str) -> bool:
        """Tell whether a path is a real file's: a layer here, or one of a savepoint somewhere else."""
        return path != self._layers and (path.startswith(self._layers) or not path.startswith(self._temporary))

    def _document(self, path: str) -> bytes:
        try:
            return self._documents[path]
        except KeyError:
            raise FileNotFoundError(2, "there is no such file", path) from None
