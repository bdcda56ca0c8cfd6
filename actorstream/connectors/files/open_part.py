"""A part while it is written: in pieces of about a mebibyte, durable when it is closed."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from actorstream.codec.fields import UNWRITABLE
from actorstream.errors import CodecError, StoreError
from actorstream.eventlog.disk_errors import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.connectors.files.format import PartEncoder
    from actorstream.connectors.files.parts import PartName
    from actorstream.model.world import FileSystem

T = TypeVar("T")


class OpenPart(Generic[T]):
    """A part being written. All but `add` is blocking.

    Attributes:
        count: How many records it has.
    """

    def __init__(
        self, files: FileSystem, folder: str, name: PartName, encoder: PartEncoder[T], operator: str = ""
    ) -> None:
        """Make the file; errors name the operator."""
        self._operator = operator
        self._files = files
        self._folder = folder
        self._path = f"{folder}/{name.encode()}"
        self._encoder = encoder
        self._written = 0
        self.count = 0
        with disk_errors(self._path):
            files.unlink(self._path)
            self._file = files.create(self._path)

    @property
    def waiting_bytes(self) -> int:
        """About how many bytes are not written yet."""
        return self._encoder.size_bytes

    @property
    def size_bytes(self) -> int:
        """About how many bytes it has; exactly so when it is closed."""
        return self._written + self._encoder.size_bytes

    def add(self, values: Sequence[T]) -> None:
        """Encode records behind those that it has."""
        with self._unwritable():
            self._encoder.add(values)
        self.count += len(values)

    def flush(self) -> None:
        """Write what is encoded."""
        self._write(end=False)

    def close(self) -> None:
        """Write the rest; return once the content is durable."""
        self._write(end=True)
        with disk_errors(self._path):
            self._file.sync()
            self._file.close()

    def rename(self, name: PartName) -> None:
        """Give it another name, which is durable once the folder is synced."""
        path = f"{self._folder}/{name.encode()}"
        with disk_errors(self._path):
            self._files.rename(self._path, path)
        self._path = path

    def discard(self) -> None:
        """Remove it; what the disk refuses is left to a later attempt."""
        self._file.close()
        with suppress(StoreError), disk_errors(self._path):
            self._files.unlink(self._path)

    def _write(self, *, end: bool) -> None:
        with self._unwritable():
            data = self._encoder.take(end=end)
        with disk_errors(self._path):
            self._file.write(data)
        self._written += len(data)

    @contextmanager
    def _unwritable(self) -> Iterator[None]:
        try:
            yield
        except UNWRITABLE as error:
            raise CodecError(
                f"{self._operator}: a record cannot be written to {self._folder}: {type(error).__name__}: {error}"
            ) from error
