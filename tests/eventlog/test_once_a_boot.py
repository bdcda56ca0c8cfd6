from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from xxhash import xxh3_128_hexdigest

from actorstream.errors import DataLossError
from actorstream.eventlog.ledger import Sealed
from actorstream.eventlog.once_a_boot import SealedProofs
from actorstream.system.files import RealFiles
from tests.eventlog.setting import CountingFiles

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"a sealed segment" * 10_000


def sealed(path: Path, number: int = 1, content: bytes = CONTENT) -> Sealed:
    path.write_bytes(content)
    return Sealed(number, len(content), xxh3_128_hexdigest(content), [0], [5], [0], 0)


def proofs(path: Path, worth_bytes: int = 0) -> tuple[CountingFiles, SealedProofs]:
    files = CountingFiles(RealFiles())
    return files, SealedProofs(files, str(path.parent), worth_bytes=worth_bytes)


def test_a_segment_is_read_once_a_boot_and_not_by_every_process(tmp_path: Path) -> None:
    path = tmp_path / "000001.lmdb"
    entry = sealed(path)
    files, first = proofs(path)
    first.prove(str(path), entry)
    first.prove(str(path), entry)
    assert files.read_bytes == len(CONTENT)
    files, second = proofs(path)
    second.prove(str(path), entry)
    assert files.read_bytes == 0


def test_a_changed_segment_is_read_again_and_the_damage_seen_by_everybody(tmp_path: Path) -> None:
    path = tmp_path / "000001.lmdb"
    entry = sealed(path)
    proofs(path)[1].prove(str(path), entry)
    path.unlink()
    path.write_bytes(b"b" + CONTENT[1:])
    for _ in range(2):
        with pytest.raises(DataLossError, match=r"000001.lmdb is damaged: digest \w+ found, \w+ expected"):
            proofs(path)[1].prove(str(path), entry)


def test_another_segment_of_the_same_number_is_not_taken_for_proved(tmp_path: Path) -> None:
    """The digest that the ledger wants is a part of what is noted."""
    path = tmp_path / "000001.lmdb"
    entry = sealed(path)
    proofs(path)[1].prove(str(path), entry)
    other = Sealed(1, entry.size, "0" * 32, [0], [5], [0], 0)
    with pytest.raises(DataLossError, match="is damaged"):
        proofs(path)[1].prove(str(path), other)


def test_a_small_segment_is_read_by_each_process(tmp_path: Path) -> None:
    """Reading it costs next to nothing."""
    path = tmp_path / "000001.lmdb"
    entry = sealed(path)
    for _ in range(2):
        files, own = proofs(path, worth_bytes=len(CONTENT) + 1)
        own.prove(str(path), entry)
        assert files.read_bytes == len(CONTENT)
    assert not (tmp_path / ".proved").exists()


@pytest.mark.parametrize("cut", [0, 1, 20, 60])
def test_a_record_that_is_torn_or_altered_proves_nothing(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "000001.lmdb"
    entry = sealed(path)
    proofs(path)[1].prove(str(path), entry)
    record = tmp_path / ".proved"
    text = record.read_bytes()
    record.write_bytes(text[:cut] if cut else text.replace(b" 1 ", b" 2 ", 1).replace(b"1", b"7"))
    for expected in (len(CONTENT), 0):
        files, own = proofs(path)
        own.prove(str(path), entry)
        assert files.read_bytes == expected


def test_a_record_that_cannot_be_kept_fails_nothing(tmp_path: Path) -> None:
    path = tmp_path / "000001.lmdb"
    entry = sealed(path)
    (tmp_path / ".proved").mkdir()
    for _ in range(2):
        files, own = proofs(path)
        own.prove(str(path), entry)
        assert files.read_bytes == len(CONTENT)
