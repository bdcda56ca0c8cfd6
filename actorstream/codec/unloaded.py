"""Self-describing values read and written with none of their classes loaded.

    bytes of Order("a", 1.0)  ──>  PlainRecord {"id": "a", "amount": 1.0}, of "shop:Order"   ──>  the same bytes
    bytes of Color.RED        ──>  PlainMember("shop:Color", "RED")                          ──>  the same bytes

Everything else comes back as it was: a tuple as a tuple, an instant as a datetime.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.msgpack import Ext

from actorstream.codec.self_describing import DECODING_ERRORS, ENUM, RECORD, SCALARS, Lowering, Reading
from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Mapping

_pack = msgspec.msgpack.Encoder().encode


class PlainRecord(dict[str, Any]):
    """A record as a dict by field name; hashable, so that it may be in a set or the key of a dict as it was.

    Attributes:
        cls: "module:qualname" of its class where the bytes say it, as those of a state without a type do; else "".
    """

    __slots__ = ("cls",)

    def __init__(self, fields: Mapping[str, Any], cls: str = "") -> None:
        """Take the fields, and the class if it is known."""
        super().__init__(fields)
        self.cls = cls

    def __hash__(self) -> int:  # type: ignore[override]
        """Hash the fields; TypeError if one cannot be. Do not change a record that is in a set."""
        return hash(frozenset(self.items()))


@dataclass(frozen=True, slots=True)
class PlainMember:
    """A member of an Enum that is not loaded, or a combination of flags by its value."""

    cls: str
    member: str | int


class _UnloadedLowering(Lowering):
    def __init__(self, plain: frozenset[type]) -> None:
        super().__init__(plain)
        self.leaves[PlainMember] = lambda value: Ext(ENUM, _pack((value.cls, value.member)))
        self.branches[PlainRecord] = self._record

    def _record(self, value: PlainRecord, depth: int) -> object:
        fields = {name: self.lower(part, depth) for name, part in value.items()}
        return Ext(RECORD, _pack((value.cls, fields))) if value.cls else fields


_fast = _UnloadedLowering(SCALARS)
_careful = _UnloadedLowering(SCALARS - {int})
_read = Reading(PlainMember, lambda name, fields: PlainRecord(fields, name)).decode


def encode_unloaded(value: object) -> bytes:
    """Give the bytes that SELF_DESCRIBING gives for what `value` stands for.

    Raises:
        CodecError: It holds what cannot be kept.
    """
    try:
        try:
            return _pack(_fast.lower(value, 0))
        except OverflowError:
            return _pack(_careful.lower(value, 0))
    except (UnicodeEncodeError, AttributeError, RuntimeError) as error:
        raise CodecError(f"{value!r:.60} cannot be kept: {error}") from error


def decode_unloaded(data: bytes) -> object:
    """Give the plain value of what SELF_DESCRIBING wrote.

    Raises:
        CodecError: The bytes are damaged.
    """
    try:
        return _read(data)
    except RecursionError:
        raise CodecError("the bytes of a value are nested too deeply: they are damaged") from None
    except DECODING_ERRORS as error:
        raise CodecError(f"{len(data)} bytes are no value: they are damaged ({error})") from error
