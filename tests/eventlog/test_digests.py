from __future__ import annotations

from typing import TYPE_CHECKING

from xxhash import xxh3_128_hexdigest

from actorstream.eventlog.digests import Digests
from actorstream.eventlog.ledger import Sealed
from actorstream.system.files import RealFiles
from tests.eventlog.setting import CountingFiles

if TYPE_CHECKING:
    from pathlib import Path

MEBIBYTE = 1 << 20


class Row:
    """Segments of five mebibytes each, sealed and not digested."""

    def __init__(self, folder: Path, count: int) -> None:
        self.paths = {number: folder / f"{number:06}.lmdb" for number in range(1, count + 1)}
        for number, path in self.paths.items():
            path.write_bytes(bytes([number]) * (5 * MEBIBYTE))
        self.files = CountingFiles(RealFiles())
        self.digests = Digests(self.files, lambda number: str(self.paths[number]))
        self.digests.want(self.entry(number) for number in self.paths)

    def entry(self, number: int) -> Sealed:
        return Sealed(number, 0, "", [0], [number], [0], 7)

    def whole(self, number: int) -> Sealed:
        data = self.paths[number].read_bytes()
        return Sealed(number, len(data), xxh3_128_hexdigest(data), [0], [number], [0], 7)


def test_a_segment_is_read_in_slices_and_its_digest_is_that_of_the_file(tmp_path: Path) -> None:
    row = Row(tmp_path, 2)
    for read in (1, 3, 5):
        row.digests.read(2 * MEBIBYTE if read > 1 else 1)
        assert row.files.read_bytes == read * MEBIBYTE
        assert row.digests.ready == {}
    row.digests.read(1)
    assert row.digests.ready == {1: row.whole(1)}
    row.digests.read(100 * MEBIBYTE)
    assert row.digests.ready == {1: row.whole(1), 2: row.whole(2)}
    row.digests.read(100 * MEBIBYTE)
    assert row.files.read_bytes == 10 * MEBIBYTE


def test_what_another_process_has_announced_is_not_read_on(tmp_path: Path) -> None:
    row = Row(tmp_path, 2)
    row.digests.read(1)
    row.digests.want([row.entry(2)])
    row.digests.read(100 * MEBIBYTE)
    assert row.digests.ready == {2: row.whole(2)}


def test_a_segment_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    """Another process has announced it, and retention removed it, before this one came to it."""
    row = Row(tmp_path, 2)
    row.paths[1].unlink()
    row.digests.read(100 * MEBIBYTE)
    assert row.digests.ready == {2: row.whole(2)}


def test_after_a_close_a_segment_is_begun_anew(tmp_path: Path) -> None:
    row = Row(tmp_path, 1)
    row.digests.read(1)
    row.digests.close()
    row.digests.read(100 * MEBIBYTE)
    assert row.digests.ready == {1: row.whole(1)}
    assert row.files.read_bytes == 6 * MEBIBYTE
