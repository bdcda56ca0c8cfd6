"""Records of a sink between pre-commit and commit: a file beside the log, named by a token.

    header 8 bytes | frame | frame ...        frame: partition (2), length (4), body

The file is written in pieces of about 1 MiB, synced with its name at pre-commit, and
read back once, into the transaction that adds its records to the log. Token and file
are proved against each other by size, digest and count: what was not staged exactly so
is never committed.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from xxhash import xxh3_64_hexdigest, xxh3_128

from actorstream.codec.contract import RECORD_BYTES_MAX
from actorstream.codec.documents import Int64, Number16, decode_json, encode_json
from actorstream.errors import CodecError, StoreError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.ledger import DeclaredType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actorstream.eventlog.encoding import Encoded
    from actorstream.model.world import FileSystem

_HEADER = b"ASTAGE01"
_FRAME = Struct(">HI")
_TOKEN_FORMAT = 1
_TOKEN_BYTES_MAX = 4096
_NAME_CHARS_MAX = 60
_NUMBER = re.compile(r"[0-9]{1,18}")
OPEN = "open"
_BODIES_AT_ONCE = 2000
_BODY_BYTES_MAX = RECORD_BYTES_MAX + 64
"""A record's time, and the number of its schema, stand before it."""


@dataclass(frozen=True)
class Token:
    """What a checkpoint's manifest keeps of a staged file.

    `fingerprint`, `version` and `number` are of the records' type as the log's ledger had it when they were encoded:
    the number stands before them. An empty fingerprint: not noted, as by older versions.
    """

    format: Int64
    job: str
    operator: str
    subtask: Int64
    attempt: Int64
    checkpoint: Int64
    file: str
    size: Int64
    digest: str
    count: Int64
    fingerprint: str = ""
    version: Int64 = 1
    number: Number16 = 0

    @property
    def written(self) -> DeclaredType | None:
        """Give the records' type, but for its shape; None where it was not noted."""
        return DeclaredType(self.fingerprint, None, self.version, self.number) if self.fingerprint else None


class StagedName(NamedTuple):
    """Whose file it is; `checkpoint` is `OPEN` until pre-commit."""

    job: str
    operator: str
    subtask: int
    attempt: int
    checkpoint: str

    def encode(self) -> str:
        """Give the file name: five parts joined by `-`."""
        return "-".join((_part(self.job), _part(self.operator), str(self.subtask), str(self.attempt), self.checkpoint))

    def is_behind(self, checkpoint: int) -> bool:
        """Tell whether it was not pre-committed by a checkpoint: still open then, or of a later one."""
        return self.checkpoint == OPEN or (
            _NUMBER.fullmatch(self.checkpoint) is not None and int(self.checkpoint) > checkpoint
        )


def whose(name: str) -> StagedName | None:
    """Read a file name; None if it is no staged file. Long names come back shortened, as `encode` writes them."""
    match name.split("-"):
        case [job, operator, subtask, attempt, checkpoint] if _NUMBER.fullmatch(subtask) and _NUMBER.fullmatch(attempt):
            return StagedName(job, operator, int(subtask), int(attempt), checkpoint)
        case _:
            return None


class StagedFile:
    """A staged file being written. Blocking."""

    def __init__(self, files: FileSystem, folder: str, owner: StagedName) -> None:
        """Make the file."""
        self._files = files
        self._folder = folder
        self._owner = owner
        self._path = f"{folder}/{owner.encode()}"
        self._digest = xxh3_128()
        self._size = 0
        with disk_errors(self._path):
            files.unlink(self._path)
            self._file = files.create(self._path)
        try:
            self.add(_HEADER)
        except BaseException:
            with suppress(StoreError):  # a later attempt removes what is left
                self.discard()
            raise

    def add(self, data: bytes) -> None:
        """Write the next piece."""
        with disk_errors(self._path):
            self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    def finish(self, checkpoint: int, count: int, declared: DeclaredType | None = None) -> Token:
        """Make everything durable under its final name, and name it and the type of its records."""
        final = self._owner._replace(checkpoint=str(checkpoint)).encode()
        with disk_errors(self._path):
            self._file.sync()
            self._file.close()
            self._files.link(self._path, f"{self._folder}/{final}")
            self._files.unlink(self._path)
            self._files.sync_dir(self._folder)
        job, operator, subtask, attempt, _ = self._owner
        digest = self._digest.hexdigest()
        token = Token(_TOKEN_FORMAT, job, operator, subtask, attempt, checkpoint, final, self._size, digest, count)
        if declared is None:
            return token
        return replace(token, fingerprint=declared.fingerprint, version=declared.version, number=declared.number)

    def discard(self) -> None:
        """Drop what was written."""
        self._file.close()
        with disk_errors(self._path):
            self._files.unlink(self._path)


def frames_of(encoded: Encoded) -> bytes:
    """Give the frames of encoded records."""
    pack = _FRAME.pack
    pieces: list[bytes] = []
    for partition, bodies in encoded.bodies.items():
        for body in bodies:
            pieces.append(pack(partition, len(body)))
            pieces.append(body)
    return b"".join(pieces)


def encode_token(token: Token) -> bytes:
    """Give the bytes that the manifest keeps."""
    data = encode_json(token)
    if len(data) > _TOKEN_BYTES_MAX:
        raise StoreError(
            f"the token of sink {token.operator!r} takes {len(data)} bytes, the limit is {_TOKEN_BYTES_MAX}: give the"
            " operator a shorter name"
        )
    return data


def decode_token(data: bytes) -> Token:
    """Read a token.

    Raises:
        StoreError: It is no token of an event log, or of a newer version.
    """
    try:
        token = decode_json(Token, data)
    except CodecError as error:
        raise StoreError(
            f"a sink's token in the checkpoint is none of an event log ({error}): was the sink changed? Restore with"
            " the sink that wrote it"
        ) from error
    if token.format > _TOKEN_FORMAT or whose(token.file) is None or "/" in token.file:
        raise StoreError(
            f"a sink's token in the checkpoint has format {token.format}: use the actorstream that wrote it"
        )
    return token


def read_staged(
    files: FileSystem, path: str, token: Token, partitions: int, append: Callable[[int, Sequence[bytes]], object]
) -> None:
    """Give the records of a staged file to `append`, in order, in pieces; none of a partition that is not there.

    Raises:
        StoreError: The file is missing or not what the token says, maybe found at its end only: what was
            appended must then be undone.
    """
    digest = xxh3_128()
    size = count = 0
    rest = b""
    whole = True
    with disk_errors(path), _missing(path, token):
        for chunk in files.chunks(path):
            digest.update(chunk)
            size += len(chunk)
            if not whole:
                continue  # no frame can be found behind one that is wrong: only the digest is still of interest
            data = rest + chunk if rest else chunk
            start = len(_HEADER) if size == len(chunk) else 0
            taken, end = _append_frames(data, start, partitions, append)
            count += taken
            rest = data[end:]
            if len(rest) >= _FRAME.size:
                partition, length = _FRAME.unpack_from(rest)
                whole = _can_be(partition, length, partitions)
    if (size, digest.hexdigest(), count) != (token.size, token.digest, token.count) or rest:
        raise StoreError(
            f"{path} is damaged: {size} bytes with digest {digest.hexdigest()} found, {token.size} with {token.digest}"
            f" expected; its {token.count} records of checkpoint {token.checkpoint} are not in the log: put the right"
            " file back, or restore an older checkpoint"
        )


@contextmanager
def _missing(path: str, token: Token) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StoreError(
            f"{path} is missing: it holds {token.count} records of checkpoint {token.checkpoint} that are not in the"
            " log yet; put the file back, or restore an older checkpoint"
        ) from error


def _append_frames(
    data: bytes, start: int, partitions: int, append: Callable[[int, Sequence[bytes]], object]
) -> tuple[int, int]:
    """Append the whole frames in `data`; give their number and where the last one ends.

    A frame that cannot be right ends it: the digest will say of the file what is wrong.
    """
    unpack, header = _FRAME.unpack_from, _FRAME.size
    end = len(data)
    bodies: list[bytes] = []
    current = count = 0
    while start + header <= end:
        partition, length = unpack(data, start)
        stop = start + header + length
        if stop > end or not _can_be(partition, length, partitions):
            break
        if partition != current or len(bodies) == _BODIES_AT_ONCE:
            if bodies:
                append(current, bodies)
            current, bodies = partition, []
        bodies.append(data[start + header : stop])
        count += 1
        start = stop
    if bodies:
        append(current, bodies)
    return count, start


def _can_be(partition: int, length: int, partitions: int) -> bool:
    """Tell whether a frame's head may be right: what follows a wrong one would else be held in memory, all of it."""
    return partition < partitions and length <= _BODY_BYTES_MAX


def _part(name: str) -> str:
    """Give a name as a part of a file name: no separator, no slash, not long."""
    safe = quote(name, safe="").replace("-", "%2D").replace(".", "%2E")
    if len(safe) <= _NAME_CHARS_MAX:
        return safe
    return f"{safe[:_NAME_CHARS_MAX]}~{xxh3_64_hexdigest(name.encode())}"
