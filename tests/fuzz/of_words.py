"""What people write: settings in a file and in the environment, keys and times on a command line, lines of JSON."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from actorstream.api.settings import Settings
from actorstream.cli.demo.verdict import read_note
from actorstream.cli.json_lines import LineReader
from actorstream.cli.key_text import key_of_text
from actorstream.cli.run import restore_of
from actorstream.cli.span import start_of, until_of
from actorstream.codec.ordered_keys import encode_key
from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.connectors.iterables import IterableSource
from actorstream.connectors.memory import SequenceSource
from actorstream.eventlog.instants import instant_us
from actorstream.operators.generators import BoundedOutOfOrderness, Custom
from tests.codec.domain import Color, Order
from tests.fuzz.decoder import ALLOWED, Decoder, each_of
from tests.fuzz.places import folder, put

if TYPE_CHECKING:
    from collections.abc import Callable

TOML = [
    b'retained = 5\nretain = "on_failure"\ncheckpoint_timeout = 2.5\nclaim = true\nallow_dropped = ["a", "b.c"]\n',
    b'timers_at_end = "wait"\nburst = 0.001\ntolerated_failures = -1\n[restore_as]\nold = "new"\n',
    b"claim = []\nretained = 1" + b"0" * 30 + b"\n",
    b"checkpoint_timeout = 1" + b"0" * 400 + b"\n",
    b"checkpoint_timeout = 1e308\nretained = 2024-01-01\n",
    b"retained = " + b"9" * 5_000 + b"\n",
    b"retained = " + b"[" * 3_000,
]
ENVIRONMENT = [
    b"retained\x005", b"checkpoint_timeout\x001e308", b"burst\x00" + b"9" * 400, b"claim\x00true",
    b"restore_as\x00a=b,c=d", b"retain\x00never", b"tolerated_failures\x00" + b"9" * 5_000,
]  # fmt: skip
STORED: list[Any] = [
    "ann", 5, 1.5, True, ("a", 5), datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1), timedelta(3), UUID(int=1), b"x",
    Color.RED,
]  # fmt: skip
TYPED = [
    "ann",
    "5",
    "1e308",
    "1" + "0" * 400,
    "true",
    '["ann", 5]',
    '"2026-11-23T09:00:00+00:00"',
    '"AA=="',
    "9" * 5_000,
    "[" * 5_000,
    '"\\ud800"',
]


def text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _settings_file(data: bytes) -> None:
    with folder() as place:
        put(place / "actorstream.toml", data)
        Settings().resolved({}, str(place))


def _environment(data: bytes) -> None:
    name, _, value = text(data).partition("\0")
    Settings().resolved({f"ACTORSTREAM_{name}": value}, "/nowhere")


def _key(data: bytes) -> None:
    """A key as it is typed, where a key of one of these types is stored."""
    typed = text(data)
    each_of(*(lambda like=like: encode_key(key_of_text(typed, like)) for like in STORED))


def _span(data: bytes) -> None:
    def moment(read: Callable[[str], object]) -> None:
        found = read(text(data).replace("\0", ""))
        if not isinstance(found, str):
            instant_us(found)

    each_of(lambda: moment(start_of), lambda: moment(until_of), lambda: restore_of(text(data)))


def _lines(data: bytes) -> None:
    async def read() -> None:
        inner, outer = os.pipe()
        try:
            os.write(outer, data[:60_000])
            os.close(outer)
            async for _ in LineReader(inner, Order).batches():
                pass
        finally:
            os.close(inner)

    asyncio.run(read())


def _note(data: bytes) -> None:
    with folder() as place:
        put(place / "demo.json", data)
        read_note(str(place))


def _position(data: bytes) -> None:
    """A position out of a checkpoint, whatever it is, given to sources of ours."""

    async def go_on(position: Any) -> None:
        for source in (SequenceSource([1, 2, 3]), IterableSource([1, 2, 3])):
            try:
                async for fetched in source.read("0", position):
                    assert fetched.position is not None
            except ALLOWED:
                continue

    asyncio.run(go_on(SELF_DESCRIBING.decode(data)))


class Generator:
    """A user's, which believes what it is given."""

    def on_element(self, value: object, timestamp: datetime, /) -> None:
        del value, timestamp

    def on_period(self) -> None:
        return None

    def snapshot(self) -> object:
        return None

    def restore(self, state: Any, /) -> None:
        del state


def _generator(data: bytes) -> None:
    """A watermark generator's place out of a checkpoint."""
    state = SELF_DESCRIBING.decode(data)
    for generator in (BoundedOutOfOrderness(5), Custom(Generator(), "times")):
        try:
            generator.restore(state)
            generator.watermark()
        except ALLOWED:
            continue


POSITIONS = [SELF_DESCRIBING.encode(each) for each in (None, -1, 5, -7, 2**70, "x", (1, 2), 1.5, b"x", True)]
PLACES = [
    SELF_DESCRIBING.encode(each) for each in (5, (5, SELF_DESCRIBING.encode([1])), (5, b"\xc1"), None, (2**80, b""))
]

WORDS = [
    Decoder("actorstream.toml", _settings_file, TOML, path="actorstream.toml"),
    Decoder("environment", _environment, ENVIRONMENT, path="ACTORSTREAM_"),
    Decoder("keys as typed", _key, [each.encode() for each in TYPED]),
    Decoder("times as typed", _span, [b"earliest", b"now", b"2026-11-23T08:00:00+00:00", b"1e400", b"5", b"9" * 5_000]),
    Decoder("JSON lines", _lines, [b'{"id": "a", "amount": 1.5}\n\n{"id": "b", "amount": 2}', b"[" * 5_000]),
    Decoder("note of the demo", _note, [b'{"seed": 1, "payments": 5}'], json=True, path="demo.json"),
    Decoder("positions", _position, POSITIONS),
    Decoder("places of generators", _generator, PLACES),
]
