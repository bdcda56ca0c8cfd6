"""One channel item as bytes, so that a channel may cross a process boundary.

    version 2 | kind 1 | length of body 4 | xxh32 of kind, length and body 4 | body

    kind  0 Batch  [values, timestamps, keys, origin, marks, watermark]
          1 Barrier  checkpoint    2 CancelBarrier  checkpoint    3 EndOfInput  (empty)
          4 Watermark  time        5 Idle  (empty)    6 Barrier that may overtake  [checkpoint, time]

The body is self-describing: it carries whatever the records are. The checksum
makes any flipped bit an error and not another record.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from xxhash import xxh32_intdigest

from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.errors import CodecError
from actorstream.model.batch import Batch
from actorstream.model.ids import CheckpointId
from actorstream.model.signals import Barrier, CancelBarrier, EndOfInput, Idle, Watermark

if TYPE_CHECKING:
    from actorstream.model.signals import ChannelItem

_VERSION: Final = 2
_BATCH, _BARRIER, _CANCEL_BARRIER, _END_OF_INPUT, _WATERMARK, _IDLE, _OVERTAKING = range(7)
_EMPTY: Final[dict[int, ChannelItem]] = {_END_OF_INPUT: EndOfInput(), _IDLE: Idle()}
_head = Struct(">BBII")
_summed = Struct(">BI")


def encode_item(item: ChannelItem) -> bytes:  # noqa: PLR0911  (one for each kind)
    """Give the frame of a channel item.

    Raises:
        CodecError: a record in it cannot be encoded; names its place, as in `value[0][17].price`
            (0 values, 1 timestamps, 2 keys, 3 origin, 4 marks, 5 watermark).
    """
    match item:
        case Batch():
            content = [
                item.values,
                item.timestamps,
                item.keys,
                item.origin and tuple(item.origin),
                item.marks,
                item.watermark,
            ]
            return _framed(_BATCH, SELF_DESCRIBING.encode(content))
        case Barrier(checkpoint, None):
            return _framed(_BARRIER, SELF_DESCRIBING.encode(checkpoint))
        case Barrier(checkpoint, overtakes_us):
            return _framed(_OVERTAKING, SELF_DESCRIBING.encode([checkpoint, overtakes_us]))
        case CancelBarrier(checkpoint):
            return _framed(_CANCEL_BARRIER, SELF_DESCRIBING.encode(checkpoint))
        case Watermark(time_us):
            return _framed(_WATERMARK, SELF_DESCRIBING.encode(time_us))
        case Idle():
            return _framed(_IDLE, b"")
        case EndOfInput():
            return _framed(_END_OF_INPUT, b"")


def decode_item(data: bytes) -> ChannelItem:
    """Give the channel item of a whole frame.

    Raises:
        CodecError: `data` is cut short, too long, damaged, or of a newer version.
    """
    kind, body = _unframed(data)
    if kind in _EMPTY:
        if body:
            raise CodecError(f"a signal without content carries {len(body)} bytes: the frame is damaged")
        return _EMPTY[kind]
    content = SELF_DESCRIBING.decode(body)
    if kind == _BATCH:
        return _batch(content)
    if kind == _WATERMARK and type(content) is int:
        return Watermark(content)
    overtakes_us: int | None = None
    if kind == _OVERTAKING:
        match content:
            case [int(checkpoint), int(overtakes_us)]:
                content = checkpoint
            case _:
                content = None
    if type(content) is not int or content < 1:
        # Not the content itself: an int of thousands of digits cannot be written out.
        raise CodecError(f"a barrier names no checkpoint but a {type(content).__name__}: the frame is damaged")
    if kind in {_BARRIER, _OVERTAKING}:
        return Barrier(CheckpointId(content), overtakes_us)
    if kind == _CANCEL_BARRIER:
        return CancelBarrier(CheckpointId(content))
    raise CodecError(f"a frame has kind {kind}, expected 0 to 6: it is damaged")


def _framed(kind: int, body: bytes) -> bytes:
    return _head.pack(_VERSION, kind, len(body), _sum(kind, body)) + body


def _unframed(data: bytes) -> tuple[int, bytes]:
    if len(data) < _head.size:
        raise CodecError(f"a frame of {len(data)} bytes is cut short: its head takes {_head.size}")
    version, kind, length, checksum = _head.unpack_from(data)
    if version != _VERSION:
        raise CodecError(f"a frame has version {version}, expected {_VERSION}: run the same actorstream on both ends")
    body = data[_head.size :]
    if len(body) != length:
        raise CodecError(f"a frame has {len(body)} bytes after its head, expected {length}: it is cut or damaged")
    if _sum(kind, body) != checksum:
        raise CodecError(f"a frame of {len(data)} bytes does not match its checksum: it is damaged")
    return kind, body


def _sum(kind: int, body: bytes) -> int:
    return xxh32_intdigest(body, xxh32_intdigest(_summed.pack(kind, len(body))))


def _batch(content: object) -> Batch:
    match content:
        case [
            list(values),
            list() | None as timestamps,
            list() | None as keys,
            tuple() | None as origin,
            list() | None as marks,
            int() | None as watermark,
        ]:
            columns = timestamps, keys, marks
            if all(_as_long(column, values) for column in columns) and (origin is None or len(origin) == 2):
                return Batch(values, timestamps, keys, origin, marks, watermark)
        case _:
            pass
    raise CodecError("a batch is not six parts, its columns of one length: the frame is damaged")


def _as_long(column: list[object] | None, values: list[object]) -> bool:
    return column is None or len(column) == len(values)
