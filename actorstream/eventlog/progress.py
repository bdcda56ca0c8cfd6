"""How far a long reading has come: a line in the log every quarter of a gibibyte, none for less."""

from __future__ import annotations

from actorstream.system.log import log

_TELL_BYTES = 256 * 1024 * 1024


class Progress:
    """Adds up what was read of one file."""

    def __init__(self, what: str, path: str, size: int) -> None:
        """Begin with nothing read of `size` bytes; `what` says why it is read."""
        self._what = what
        self._path = path
        self._size = size
        self._done = self._told = 0

    def on_read(self, size: int) -> None:
        """Take note of `size` more bytes."""
        self._done += size
        if self._done - self._told >= _TELL_BYTES:
            self._told = self._done
            log.info(self._what, path=self._path, bytes_read=self._done, bytes=self._size)
