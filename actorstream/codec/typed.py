"""Codecs chosen by an annotation: compact bytes, read back typed by msgspec in C.

shape          codec
int            native; above 64 bits the self-describing form
all native     check the value, then msgspec packs it as it is
Tagged         [tag, value], the value by its own typed reader
any other      check, lower, pack; unpack, lift
Opaque         the self-describing codec itself
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from actorstream.codec.annotations import shape_of
from actorstream.codec.composite_shapes import Tagged
from actorstream.codec.schema import schema_of_shape
from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.codec.shapes import Opaque, Shape
from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.codec.contract import Codec, Schema

_pack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
_unpack: Callable[[bytes], object] = msgspec.msgpack.Decoder().decode
_unpack_tagged: Callable[[bytes], tuple[str, msgspec.Raw]] = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw]).decode
_ENCODING_ERRORS: Final = (OverflowError, UnicodeEncodeError, RecursionError, CodecError)
_READING_ERRORS: Final = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError, CodecError,
)  # fmt: skip


def codec_for(annotation: object) -> Codec[Any]:
    """Give the codec for values of `annotation`; a tuple of classes stands for their union.

    Raises:
        CodecError: the annotation cannot be typed; names the place and the remedy.
    """
    shape = shape_of(annotation)
    if isinstance(shape, Opaque):
        return SELF_DESCRIBING
    if isinstance(shape, Tagged):
        return _TaggedCodec(shape)
    if not shape.native:
        return _LoweringCodec(shape)
    if shape.annotation is int:
        return _IntCodec(shape)
    return _NativeCodec(shape)


class _TypedCodec:
    """What the four have in common: the schema, and saying what was wrong."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._fits = shape.fits
        self.schema: Schema = schema_of_shape(shape)

    def _refusal(self, value: object) -> CodecError:
        try:
            return CodecError(self._shape.misfit(value, "value"))
        except RecursionError:
            return CodecError(f"a {self._shape.name} is nested too deeply to be encoded, or holds itself")

    def _damaged(self, data: bytes, error: Exception) -> CodecError:
        if isinstance(error, CodecError):
            return error
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        return CodecError(f"{len(data)} bytes are no {self._shape.name}: {reason}")


class _NativeCodec(_TypedCodec):
    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        try:
            self._read: Callable[[bytes], object] = msgspec.msgpack.Decoder(shape.annotation).decode
        except (TypeError, NameError) as error:
            raise CodecError(f"values annotated {shape.name} cannot be kept: {error}") from error

    def encode(self, value: object, /) -> bytes:
        try:
            if self._fits(value):
                return _pack(value)
        except _ENCODING_ERRORS as error:
            raise self._refusal(value) from error
        raise self._refusal(value)

    def decode(self, data: bytes, /) -> object:
        try:
            return self._read(data)
        except _READING_ERRORS as error:
            raise self._damaged(data, error) from error


class _IntCodec(_TypedCodec):
    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self._read: Callable[[bytes], int] = msgspec.msgpack.Decoder(int).decode

    def encode(self, value: int, /) -> bytes:
        if value.__class__ is not int:
            raise self._refusal(value)
        try:
            return _pack(value)
        except OverflowError:
            return SELF_DESCRIBING.encode(value)

    def decode(self, data: bytes, /) -> int:
        try:
            return self._read(data)
        except msgspec.DecodeError as error:
            value = SELF_DESCRIBING.decode(data)
            if not isinstance(value, int) or isinstance(value, bool):
                raise self._damaged(data, error) from error
            return value


class _LoweringCodec(_TypedCodec):
    def encode(self, value: object, /) -> bytes:
        try:
            if self._fits(value):
                return _pack(self._shape.lower(value))
        except _ENCODING_ERRORS as error:
            raise self._refusal(value) from error
        raise self._refusal(value)

    def decode(self, data: bytes, /) -> object:
        try:
            return self._shape.lift(_unpack(data))
        except _READING_ERRORS as error:
            raise self._damaged(data, error) from error


class _TaggedCodec(_TypedCodec):
    def __init__(self, shape: Tagged) -> None:
        super().__init__(shape)
        self._union = shape
        self._readers = {tag: _reader(member) for tag, member in shape.members.values()}

    def encode(self, value: object, /) -> bytes:
        try:
            if self._fits(value):
                return _pack(self._union.lower(value))
        except _ENCODING_ERRORS as error:
            raise self._refusal(value) from error
        raise self._refusal(value)

    def decode(self, data: bytes, /) -> object:
        try:
            tag, body = _unpack_tagged(data)
            read = self._readers.get(tag)
            if read is None:
                read = _reader(self._union.shape_of_tag(tag))
            return read(body)
        except _READING_ERRORS as error:
            raise self._damaged(data, error) from error


def _reader(shape: Shape) -> Callable[[Any], object]:
    if shape.native:
        return msgspec.msgpack.Decoder(shape.annotation).decode
    return lambda data: shape.lift(_unpack(data))
