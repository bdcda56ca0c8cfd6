"""What a checkpoint keeps of a subtask's parts: enough to find each by name, and to tell that they are whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from actorstream.codec.documents import Int64, decode_json, encode_json
from actorstream.connectors.files.parts import PartName, quoted
from actorstream.errors import CodecError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN_FORMAT: Final = 1
_TOKEN_BYTES_MAX: Final = 4096
_PARTS_MAX: Final = 1_000_000


@dataclass(frozen=True)
class PartToken:
    """The parts 0 to parts - 1 of one subtask and checkpoint, `size` bytes and `count` records together."""

    format: Int64
    job: str
    operator: str
    subtask: Int64
    attempt: Int64
    checkpoint: Int64
    suffix: str
    parts: Int64
    size: Int64
    count: Int64

    def names(self) -> Iterator[PartName]:
        """Give the names of the parts as they are before the commit."""
        job, operator = quoted(self.job), quoted(self.operator)
        for number in range(self.parts):
            yield PartName(job, operator, self.subtask, self.attempt, self.checkpoint, number, self.suffix)


def encode_part_token(token: PartToken) -> bytes:
    """Give the bytes that the manifest keeps.

    Raises:
        StoreError: They are too many.
    """
    data = encode_json(token)
    if len(data) > _TOKEN_BYTES_MAX:
        raise StoreError(
            f"the token of sink {token.operator[:80]!r}… takes {len(data)} bytes, the limit is {_TOKEN_BYTES_MAX}: "
            "give the operator a shorter name"
        )
    return data


def decode_part_token(data: bytes) -> PartToken:
    """Read a token.

    Raises:
        StoreError: It is no token of a file sink, or of a newer version.
    """
    try:
        token = decode_json(PartToken, data)
    except CodecError as error:
        raise StoreError(
            f"a sink's token in the checkpoint is none of a file sink ({error}): was the sink changed? Restore with "
            "the sink that wrote it"
        ) from error
    if token.format > _TOKEN_FORMAT or "/" in token.suffix or token.parts > _PARTS_MAX:
        raise StoreError(
            f"a sink's token in the checkpoint has format {token.format}: use the actorstream that wrote it"
        )
    return token
