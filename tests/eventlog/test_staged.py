from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import StoreError
from actorstream.eventlog.encoding import Encoded
from actorstream.eventlog.positions import same_partition
from actorstream.eventlog.staged import (
    StagedFile,
    StagedName,
    Token,
    decode_token,
    encode_token,
    frames_of,
    read_staged,
    whose,
)
from actorstream.system.files import RealFiles
from actorstream.testing.faults import Fault, FaultyFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OWNER = StagedName("job", "op", 0, 1, "open")


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200), st.integers(0, 5000), st.integers(1, 99))
def test_any_name_makes_a_plain_file_name_that_says_whose_it_is(
    job: str, operator: str, subtask: int, attempt: int
) -> None:
    """Operators are named by people: slashes, dots and minus signs must not lead out of the folder, or astray."""
    name = StagedName(job, operator, subtask, attempt, "17").encode()
    assert "/" not in name
    assert name not in {".", ".."}
    assert len(name.encode()) <= 255
    owner = whose(name)
    assert owner is not None
    assert owner[2:] == (subtask, attempt, "17")
    assert owner.encode().count("-") == 4


def test_two_long_names_stay_apart() -> None:
    one, two = (StagedName("x" * 100 + end, "op", 0, 1, "1").encode() for end in "ab")
    assert one != two


def test_other_files_are_nobodys() -> None:
    assert whose("README") is None
    assert whose("a-b-c-d-e") is None


def test_frames_come_back_across_pieces(tmp_path: Path) -> None:
    """A frame may begin in one read piece of 1 MiB and end in another."""
    files = RealFiles()
    staged = StagedFile(files, str(tmp_path), OWNER)
    bodies = [bytes([i % 256]) * (i * 997 % 5000) for i in range(1_500)]
    for start in range(0, 1_500, 100):
        part = bodies[start : start + 100]
        staged.add(frames_of(Encoded(same_partition(1, len(part)), {1: part}, 0)))
    token = staged.finish(4, len(bodies))
    assert decode_token(encode_token(token)) == token
    found: list[bytes] = []

    def append(partition: int, part: Sequence[bytes]) -> None:
        assert partition == 1
        found.extend(part)

    read_staged(files, str(tmp_path / token.file), token, 1_024, append)
    assert found == bodies


def test_a_file_that_could_not_be_begun_is_closed_and_gone(tmp_path: Path) -> None:
    """On a full disk a job tries again and again: each try left an open file behind."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StoreError, match="free space"):
        StagedFile(FaultyFiles(RealFiles(), Fault(1, "ENOSPC", frozenset({"write"}))), str(tmp_path), OWNER)
    assert len(os.listdir("/proc/self/fd")) == before
    assert list(tmp_path.iterdir()) == []


def test_a_token_leads_to_no_other_folder() -> None:
    token = Token(1, "j", "o", 0, 1, 1, "../a-b-0-1-1", 0, "", 0)
    with pytest.raises(StoreError):
        decode_token(encode_token(token))


def test_a_token_fits_the_manifest() -> None:
    with pytest.raises(StoreError, match="shorter name"):
        encode_token(Token(1, "j", "o" * 5000, 0, 1, 1, "f", 0, "", 0))
