"""Values, keys, frames and runs of entries; and the schemas by which values are read."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from actorstream.cli.schema_text import schema_text
from actorstream.codec.documents import decode_json
from actorstream.codec.entry_runs import decode_run, encode_run
from actorstream.codec.evolution import Evolution, KnownSchema, evolve, plain_evolved, plain_reader
from actorstream.codec.frames import _framed, decode_item, encode_item
from actorstream.codec.ordered_keys import decode_key, decode_key_at, encode_key
from actorstream.codec.plain import plain_codec
from actorstream.codec.schema import schema_of, spoken
from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.codec.typed import codec_for
from actorstream.codec.unloaded import decode_unloaded
from actorstream.model.batch import Batch
from actorstream.model.ids import CheckpointId
from actorstream.model.signals import Barrier, CancelBarrier, EndOfInput, Idle, Watermark
from tests.codec.domain import Cart, Color, Level, Order, Page, Point, Profile, Reading, Refund, Right, Spot, Tree
from tests.fuzz.decoder import Decoder, each_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.codec.values import Codec
    from actorstream.model.signals import ChannelItem

AT = datetime(2026, 11, 23, tzinfo=UTC)
VALUES: list[Any] = [
    None, True, -1, 2**70, -(2**70), 1.5, "ann", b"\0\xff", AT, date(2026, 1, 2), timedelta(days=-1, microseconds=3),
    Decimal("1.50"), UUID(int=7), Color.RED, Right.READ | Right.WRITE, Order("a", 1.0), Point(1, 2), Reading("s", 2.0),
    [1, "x", None], (1, ("x",)), {1, 2}, frozenset({("a", 1)}), {"a": [1]}, {(1, 2): "x"},
    Cart([Order("a", 2.0)], {"t"}), [Refund("r", AT)],
]  # fmt: skip
KEYS: list[Any] = [
    True, 5, 2**64, -(2**70), 1.5, -0.5, "a\0b", b"\0\0", AT, date(2026, 1, 2), timedelta(days=3, seconds=4),
    UUID(int=9), Color.BLUE, ("ann", 5, None, ("x",)), (),
]  # fmt: skip
ITEMS: list[ChannelItem] = [
    Batch([1, "x"], [5, 6], ["k", 2], ("orders", 3), [1, 2], 17), Batch([], None, None, None, None, None),
    Barrier(CheckpointId(3)), CancelBarrier(CheckpointId(4)), EndOfInput(), Watermark(-5), Idle(),
]  # fmt: skip
TYPED: list[tuple[Any, list[Any]]] = [
    (int, [5, 2**80]), (float, [1.5]), (str, ["x"]), (bytes, [b"x"]), (datetime, [AT]), (date, [AT.date()]),
    (timedelta, [timedelta(3)]), (Decimal, [Decimal("1.5")]), (UUID, [UUID(int=1)]),
    (Order, [Order("a", 1.0)]), (Order | Refund, [Order("a", 1.0), Refund("b", AT)]), (Tree, [Tree(1, [Tree(2)])]),
    (Cart, [Cart([Order("a", 1.0)], {"x", "y"})]), (Point, [Point(1)]), (Spot, [Spot("x", AT)]),
    (Profile, [{"name": "x"}]),
    (Color, [Color.RED]), (Level, [Level.LOW]), (Page, [Page.HOME]), (Right, [Right.READ | Right.WRITE]),
    (dict[tuple[int, int], str], [{(1, 2): "x"}]), (dict[str, Order], [{"a": Order("b", 2.0)}]),
    (set[tuple[int, str]], [{(1, "x"), (2, "y")}]), (tuple[int, ...], [(1, 2)]),
    (tuple[int, str] | None, [(1, "x"), None]),
    (list[object], [[1, Color.RED]]), (Reading, [Reading("s")]),
]  # fmt: skip
SHAPES = [schema_of(annotation).shape for annotation, _ in TYPED]
_NEWEST = codec_for(Order)


def reading(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Read, and look at what comes out as a program would: hold it against others, show it."""

    def look(data: bytes) -> object:
        value = read(data)
        return value == value, repr(value)[:10]

    return look


def _typed(data: bytes) -> None:
    """Read bytes as the type that their first byte chooses."""
    annotation, _ = TYPED[(data[0] if data else 0) % len(TYPED)]
    codec_for(annotation).decode(data[1:])


def _plain(data: bytes) -> None:
    number = (data[0] if data else 0) % len(TYPED)
    codec = plain_codec(schema_of(TYPED[number][0]))
    codec.encode(codec.decode(data[1:]))


def _evolved(data: bytes) -> None:
    """Read what is stored with one of two known schemas, or with none that is known."""
    known = [
        KnownSchema(0, 1, "0" * 16, schema_of(Point).shape),
        KnownSchema(1, 2, schema_of(Order).fingerprint, schema_of(Order).shape),
    ]
    evolution = Evolution(version=2, migrate={1: lambda old: Order(str(old["x"]), old["y"])})
    evolve(_NEWEST, evolution, known).codec.decode(data)


def _stored_schemas(data: bytes) -> None:
    """Take schemas from a manifest, and read something by them, as a job and as somebody without its classes."""
    known = decode_json(list[KnownSchema], data)
    for each in known:
        spoken(each.shape, fields=True)
        schema_text(each.shape)
    for annotation, values in TYPED[9:12]:
        codec = codec_for(annotation)
        encoded = codec.encode(values[0])
        evolutions = Evolution(), Evolution(2), Evolution(2, {1: lambda old: old}, {"a": "id"}, each=True)
        each_of(
            *(partial(_evolved_by, codec, evolution, known, encoded) for evolution in evolutions),
            lambda encoded=encoded: plain_reader(known)(encoded),  # type: ignore[misc]
            lambda: [plain_evolved(first, known).decode(b"\xc1\x00\x01\x90") for first in known],
        )


def _evolved_by(codec: Codec[Any], evolution: Evolution, known: list[KnownSchema], data: bytes) -> None:
    evolve(codec, evolution, known).codec.decode(data)


def schemas() -> list[bytes]:
    """Give lists of schemas as they stand in manifests."""
    one = [asdict(KnownSchema(number, 1, "ab" * 8, shape)) for number, shape in enumerate(SHAPES)]
    return [json.dumps([each]).encode() for each in one] + [json.dumps(one[:3]).encode()]


VALUE_BYTES = [SELF_DESCRIBING.encode(each) for each in VALUES]
TYPED_BYTES = [
    bytes((number,)) + codec_for(each).encode(value) for number, (each, values) in enumerate(TYPED) for value in values
]

CODECS = [
    Decoder(
        "frames",
        reading(decode_item),
        [encode_item(item) for item in ITEMS],
        [encode_item(item)[1:2] + encode_item(item)[10:] for item in ITEMS],
        lambda content: _framed(content[0] if content else 0, content[1:]),
    ),
    Decoder("self-describing values", reading(SELF_DESCRIBING.decode), VALUE_BYTES),
    Decoder("values of classes that are not loaded", reading(decode_unloaded), VALUE_BYTES),
    Decoder("ordered keys", reading(decode_key), [encode_key(each) for each in KEYS]),
    Decoder("keys among other bytes", lambda data: decode_key_at(data, 2), [b"--" + encode_key(each) for each in KEYS]),
    Decoder("runs of entries", decode_run, [encode_run([]), encode_run([(b"a", b"b")] * 3)]),
    Decoder("typed values", _typed, TYPED_BYTES, examples=150),
    Decoder("plain values", _plain, TYPED_BYTES, examples=150),
    Decoder(
        "values of several schemas",
        _evolved,
        [codec_for(Point).encode(Point(1, 2)), b"\xc1\x00\x01" + _NEWEST.encode(Order("a", 1.0)), b"\xc1\x00\x05\x01"],
    ),
    Decoder("schemas", _stored_schemas, schemas(), json=True, examples=100),
]
