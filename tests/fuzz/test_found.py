"""What fuzzing has found, each by the smallest input that shows it."""

from __future__ import annotations

import json
import tracemalloc
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from xxhash import xxh3_128_hexdigest

from actorstream.api.settings import Settings
from actorstream.cli.key_text import key_of_text
from actorstream.codec.contract import Schema
from actorstream.codec.evolution import header_of
from actorstream.codec.frames import _framed, decode_item
from actorstream.codec.plain import plain_codec
from actorstream.codec.schema import spoken
from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.connectors.memory import SequenceSource
from actorstream.errors import CodecError, PlanError, RestoreError, StoreError
from actorstream.eventlog.folder import _read as read_log_document
from actorstream.eventlog.generations import find_generation
from actorstream.eventlog.instants import instant
from actorstream.eventlog.staged import Token, read_staged, whose
from actorstream.evolve.sorting import EntrySorter
from actorstream.state.entries import take_apart
from actorstream.state.writer_frames import frames_from
from tests.fuzz.of_logs import PROMOTION, sealed
from tests.fuzz.places import FILES, LOG, folder, put

if TYPE_CHECKING:
    from pathlib import Path


def test_a_barrier_of_a_number_too_long_to_be_written_out() -> None:
    """The message showed the number: a ValueError over 4,300 digits."""
    with pytest.raises(CodecError, match="names no checkpoint"):
        decode_item(_framed(1, SELF_DESCRIBING.encode(-(10**5_000))))


@pytest.mark.parametrize("shape", [None, {"tagged": []}, {"record": "R"}, {"again": "R"}, {"maybe": {"new": 1}}])
def test_a_stored_schema_that_is_none(shape: object) -> None:
    """KeyError, TypeError, AttributeError, as a manifest was restored; also where a newer version wrote it."""
    with pytest.raises(CodecError, match="does not know"):
        plain_codec(Schema("", shape))
    assert spoken(shape) == repr(shape)


@pytest.mark.parametrize("number", [-1, 65_536])
def test_a_schema_number_that_two_bytes_cannot_hold(number: int) -> None:
    with pytest.raises(CodecError, match="has number"):
        header_of(number)


def test_a_staged_file_whose_frame_claims_gigabytes_is_not_held_in_memory(tmp_path: Path) -> None:
    """All behind the wrong head was, and copied for each mebibyte: a flipped bit in 1 GB cost 500 GB of copying."""
    data = b"ASTAGE01\0\0\xff\xff\xff\xff" + bytes(40 << 20)
    path = put(tmp_path / "staged", data)
    token = Token(1, "j", "o", 0, 1, 3, "staged", len(data), xxh3_128_hexdigest(data), 1)
    del data
    tracemalloc.start()
    try:
        with pytest.raises(StoreError, match="is damaged"):
            read_staged(FILES, str(path), token, 2, lambda partition, bodies: None)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_the_name_of_a_staged_file_with_thousands_of_digits() -> None:
    assert whose(f"job-operator-{'9' * 5_000}-1-3") is None


@pytest.mark.parametrize("part", [{"before": "../elsewhere"}, {"before": ""}, {"differs": []}, {"generation": 7}])
def test_a_promotion_that_leads_elsewhere(part: dict[str, object]) -> None:
    """The log as it was was moved to wherever the document said; an IndexError."""
    with folder(LOG) as log:
        put(log / "LOG.2", sealed(json.dumps({**PROMOTION, **part}).encode()))
        made = read_log_document(FILES, str(log))
        assert made is not None
        with pytest.raises(StoreError, match=r"LOG\.2"):
            find_generation(FILES, str(log), made)


def test_a_record_of_the_year_300_000() -> None:
    """An OverflowError ended `log cat`, and whoever read timestamps."""
    assert instant(1 << 62).year == 9999


@pytest.mark.parametrize("data", [bytes(8), b"\0\0\0\x09half"])
def test_a_sorted_run_of_zeros_or_cut_short(tmp_path: Path, data: bytes) -> None:
    """Zeros were read for ever; what was cut off was left out of the savepoint without a word."""
    path = put(tmp_path / "s-1.run", data)
    with pytest.raises(StoreError, match="not what was written"):
        list(EntrySorter(FILES, str(tmp_path / "s"))._read(str(path)))


@pytest.mark.parametrize("value", [b"", b"\x03", b"\x40\0\0", b"\xc0\xff\xff\xff\xff"])
def test_an_entry_without_its_end(value: bytes) -> None:
    with pytest.raises(StoreError, match="cut short"):
        take_apart(value)


def test_a_frame_that_promises_more_than_there_is_memory() -> None:
    """`bytearray` of that size was made before anything was read."""
    asked: list[int] = []

    def read(size: int) -> bytes:
        asked.append(size)
        return b"\1\0\0\0\1" + b"\xff" * 8 if len(asked) == 1 else b""

    assert list(frames_from(read)) == []
    assert max(asked) <= 16 << 20


@pytest.mark.parametrize(
    "text",
    [
        "claim = []",
        "checkpoint_timeout = 1e308",
        f"burst = 1{'0' * 400}",
        f"retained = {'9' * 5_000}",
        "a=" + "[" * 3_000,
    ],
)
def test_settings_that_no_number_can_be(tmp_path: Path, text: str) -> None:
    (tmp_path / "actorstream.toml").write_text(text)
    with pytest.raises(PlanError, match=r"actorstream\.toml"):
        Settings().resolved({}, str(tmp_path))


@pytest.mark.parametrize(("text", "like"), [("1e308", timedelta(1)), ("1" + "0" * 400, 1.5), ("[" * 9_000, (1,))])
def test_keys_that_cannot_be_typed(text: str, like: object) -> None:
    with pytest.raises(PlanError, match="is no"):
        key_of_text(text, like)


@pytest.mark.parametrize("position", ["x", -7, 2**80, (1, 2)])
def test_a_position_of_another_source(position: object) -> None:
    """A TypeError; or records from the list's end, for a negative one."""
    with pytest.raises(RestoreError, match="position of this source"):
        SequenceSource([1, 2, 3]).take_in_memory("0", position, 5)  # type: ignore[arg-type]
