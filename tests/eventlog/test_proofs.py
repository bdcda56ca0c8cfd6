"""What was proved before spares work, and never hides damage."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import DataLossError, StoreError
from actorstream.eventlog.folder import LogSettings
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.meta_pages import check_whole
from actorstream.eventlog.page_tree import prove_trees
from actorstream.eventlog.pages import EXTENT_BYTES, STRANGE
from actorstream.eventlog.proofs import (
    LAG_BYTES,
    Extent,
    GrowingProof,
    add_to_proof,
    extent_digest,
    load_proof,
    proof_path,
)
from actorstream.state.lmdb_env import create_building, open_segment
from actorstream.system.files import RealFiles
from tests.eventlog.setting import values_of

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.eventlog.proofs import Proof

FILES = RealFiles()


def fill(path: Path, seed: int, transactions: int = 8) -> None:
    """Add to a file: rows that stay and rows that change, some of them larger than a page."""
    rng = random.Random(seed)
    env = open_segment(str(path), map_size=1 << 26) if path.exists() else create_building(str(path), 1 << 26)
    for number in range(transactions):
        with env.transaction(write=True) as txn:
            for row in range(2_000):
                size = rng.choice([10, 60, 60, 60, 300]) if row % 100 else 6_000
                txn.put(b"%02d %03d %05d" % (seed, number, row), rng.randbytes(size))
            for _ in range(3):
                txn.put(b"9 changing %03d" % rng.randrange(100), rng.randbytes(50))
    env.close()


def proved(path: Path, known: Proof | None = None) -> Proof:
    env = open_segment(str(path), map_size=check_whole(FILES, str(path)).map_size)
    try:
        return prove_trees(FILES, str(path), env, known)
    finally:
        env.close()


def verdict(path: Path, known: Proof | None) -> str | None:
    try:
        proved(path, known)
    except StoreError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Proof, Proof]:
    """The bytes of a file, what was proved when it was half as long, and what when it was whole."""
    path = tmp_path_factory.mktemp("grown") / "f"
    fill(path, 1)
    half = proved(path)
    fill(path, 2)
    return path.read_bytes(), half, proved(path)


def test_what_was_proved_once_is_found_again_where_nothing_was_written(grown: tuple[bytes, Proof, Proof]) -> None:
    """Else it would spare nothing: LMDB writes to few of the pages that lie some way behind the end."""
    data, half, whole = grown
    assert len(half) > 4
    assert len(whole) == len(data) // EXTENT_BYTES
    assert sum(half[number] == whole[number] for number in half) > len(half) // 2


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_flipped_bit_is_hidden_by_a_proof(
    tmp_path_factory: pytest.TempPathFactory, grown: tuple[bytes, Proof, Proof], data: st.DataObject
) -> None:
    """Whatever was proved, and when: what is said of the file is what is said by looking at every page."""
    content, half, whole = grown
    page = data.draw(st.integers(2, len(content) // 4096 - 1))
    at = page * 4096 + data.draw(st.integers(0, 15) | st.integers(0, 200) | st.integers(0, 4095))
    damaged = bytearray(content)
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("flipped") / "f"
    path.write_bytes(damaged)
    assert verdict(path, half) == verdict(path, whole) == verdict(path, None)
    path.unlink()


def test_an_extent_with_the_same_bytes_is_not_looked_at_again(
    tmp_path: Path, grown: tuple[bytes, Proof, Proof]
) -> None:
    """Seen by a lie: a proof that calls good pages strange is believed, and one of other bytes is not."""
    content, _, whole = grown
    path = tmp_path / "f"
    path.write_bytes(content)
    lies = {number: Extent(digest, bytes([STRANGE]) * len(kinds)) for number, (digest, kinds) in whole.items()}
    with pytest.raises(DataLossError, match="is damaged"):
        proved(path, lies)
    others = {number: Extent(extent_digest(kinds), kinds) for number, (_, kinds) in lies.items()}
    assert proved(path, others) == whole


def test_a_growing_file_is_proved_behind_its_end_in_pieces(tmp_path: Path) -> None:
    """What lies at the end will be written to again; what lies behind is looked at once."""
    path = tmp_path / "000001.lmdb"
    fill(path, 1)
    growing = GrowingProof(FILES, str(path))
    growing.follow(1, EXTENT_BYTES)
    first = load_proof(FILES, str(path))
    assert sorted(first) == [1, 2, 3]
    fill(path, 2)
    growing.follow(1 << 30, EXTENT_BYTES)
    found = load_proof(FILES, str(path))
    pieces = (path.stat().st_size - EXTENT_BYTES) // (4 * EXTENT_BYTES)
    assert sorted(found) == list(range(1, 4 * pieces))
    assert {number: found[number] for number in first} == first
    now = proved(path)
    assert all(found[number] == now[number] for number in found if number not in first)


def test_another_writer_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    path = tmp_path / "000001.lmdb"
    fill(path, 1)
    fill(path, 2)
    GrowingProof(FILES, str(path)).follow(1, 0)
    before = load_proof(FILES, str(path))
    size = len((tmp_path / "000001.proof").read_bytes())
    GrowingProof(FILES, str(path)).follow(1, 0)
    assert len((tmp_path / "000001.proof").read_bytes()) == size
    GrowingProof(FILES, str(path)).follow(1 << 30, 0)
    after = load_proof(FILES, str(path))
    assert {number: after[number] for number in before} == before
    assert len(after) > len(before)


def kept(path: Path) -> Proof:
    """Write a proof of three blocks beside `path`."""
    path.write_bytes(bytes(LAG_BYTES + 100 * EXTENT_BYTES))
    proof = {number: Extent(extent_digest(b"%d" % number), bytes([2] * 64)) for number in (1, 2, 3, 7, 8, 20)}
    add_to_proof(FILES, str(path), proof, {})
    return proof


def test_a_proof_that_was_cut_short_counts_as_far_as_it_goes_and_is_continued(tmp_path: Path) -> None:
    """Appends are not synced: a crash may leave any part of one."""
    path = tmp_path / "000001.lmdb"
    proof = kept(path)
    data = (tmp_path / "000001.proof").read_bytes()
    for length in range(0, len(data), 7):
        (tmp_path / "000001.proof").write_bytes(data[:length])
        found = load_proof(FILES, str(path))
        assert found.items() <= proof.items()
        add_to_proof(FILES, str(path), proof, found)
        assert load_proof(FILES, str(path)) == proof


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_proof_never_says_what_was_not_proved(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("proof") / "000001.lmdb"
    proof = kept(path)
    place = path.with_suffix(".proof")
    content = bytearray(place.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    place.write_bytes(content)
    assert load_proof(FILES, str(path)).items() <= proof.items()
    path.unlink()


def test_a_proof_that_cannot_be_kept_or_read_fails_nothing(tmp_path: Path) -> None:
    """It is a help, no more."""
    path = tmp_path / "000001.lmdb"
    path.write_bytes(bytes(LAG_BYTES + 100 * EXTENT_BYTES))
    (tmp_path / "000001.proof").mkdir()
    add_to_proof(FILES, str(path), {5: Extent(bytes(16), bytes(64))}, {})
    assert load_proof(FILES, str(path)) == {}


async def test_a_log_keeps_a_proof_of_what_it_writes_until_the_digest_takes_its_place(tmp_path: Path) -> None:
    """Whoever opens it after a crash reads it through, and looks at what is new."""
    limits = LogSettings(segment_bytes=32 << 20)
    log = EventLog(bytes, tmp_path / "log", partitions=4, key=lambda value: value[:4], settings=limits)
    values = [b"%08d" % (i * i) + b"x" * 150 for i in range(50_000)]
    for start in range(0, len(values), 2_000):
        await log.extend(values[start : start + 2_000])
    first = str(tmp_path / "log" / "segments" / "000001.lmdb")
    known = load_proof(FILES, first)
    assert len(known) >= 8
    env = (await log._opened()).row.newest().env
    now = prove_trees(FILES, first, env)
    assert sum(known[number] == now[number] for number in known) >= len(known) // 2

    again = EventLog(bytes, tmp_path / "log")
    assert sorted(await values_of(again)) == sorted(values)
    while (await log.summary()).segments < 2:
        await log.extend(values[:5_000])
    for _ in range(40):
        await log.append(b"a commit, and a part of the digest")
    assert not FILES.exists(proof_path(first))
    await log.aclose()
    await again.aclose()
