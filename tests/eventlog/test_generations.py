"""Positions say of which records they speak, and are carried through promotions."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.codec.documents import encode_json
from actorstream.errors import StoreError
from actorstream.eventlog.documents import sealed
from actorstream.eventlog.folder import LogDocument
from actorstream.eventlog.generations import Generation, Promotion, find_generation
from actorstream.eventlog.log import EventLog
from actorstream.system.files import RealFiles
from actorstream.testing.disk import temporary_disk

if TYPE_CHECKING:
    from pathlib import Path

MADE = sealed(LogDocument(1, "a" * 32, 1, 1 << 20, 0))


def promotion(number: int, differs: int) -> Promotion:
    return sealed(Promotion(1, number, str(number) * 32, 1, 1 << 20, [differs], f"log.before-{number}", 0))


def generation(differs: list[int]) -> Generation:
    promotions = tuple(promotion(number, at) for number, at in enumerate(differs, 2))
    return Generation("log", len(differs) + 1, MADE, MADE, promotions)


def test_positions_of_a_log_that_was_never_promoted_are_offsets() -> None:
    """Checkpoints that are older than promotions hold these."""
    first = generation([])
    for offset in (-1, 0, 1, (1 << 48) + 3):
        assert first.position(offset) == offset
        assert first.next_offset(offset, 0) == offset + 1


@given(st.lists(st.integers(0, 50), max_size=200), st.data())
def test_a_position_of_any_generation_is_carried_through_all_that_came_after(
    differs: list[int], data: st.DataObject
) -> None:
    """Positions only grow from one generation to the next; beyond 64 bits too."""
    since = data.draw(st.integers(1, len(differs) + 1))
    offset = data.draw(st.integers(-1, 60))
    position = generation(differs[: since - 1]).position(offset)
    newest = generation(differs)
    assert newest.next_offset(position, 0) == min([offset + 1, *differs[since - 1 :]])
    assert newest.position(-1) >= position or since == newest.number
    assert newest.next_offset(newest.position(offset), 0) == offset + 1


def test_a_position_of_a_later_generation_is_refused() -> None:
    position = generation([3, 4]).position(-1)
    with pytest.raises(StoreError, match="promoted 1 times, and a position after 2 promotions"):
        generation([3]).next_offset(position, 0)


def test_whoever_sees_a_promotion_first_makes_its_name_durable() -> None:
    """Its maker may have been killed before that; a checkpoint would soon hold positions that speak of it."""
    with temporary_disk() as disk:
        disk.make_dirs(f"{disk.root}/log")
        disk.append(f"{disk.root}/log/LOG.2", encode_json(promotion(2, 5)))
        files = disk.attach(fail_at={1: errno.EIO})
        with pytest.raises(StoreError, match="disk fails"):
            find_generation(files, f"{disk.root}/log", MADE)
        found = find_generation(disk.attach(), f"{disk.root}/log", MADE)
        assert (found.number, found.document.id, found.made) == (2, "2" * 32, MADE)
        assert found.folder == f"{disk.root}/log/generation-2"


async def test_a_promoted_log_that_lost_its_document_is_not_made_anew(tmp_path: Path) -> None:
    """The folder of its first records is empty: it would pass for one that was never finished."""
    log = EventLog(int, tmp_path / "log")
    await log.append(1)
    await log.aclose()
    RealFiles().append(str(tmp_path / "log" / "LOG.2"), encode_json(promotion(2, 0)))
    (tmp_path / "log" / "LOG").unlink()
    for path in (tmp_path / "log" / "segments").iterdir():
        path.unlink()
    with pytest.raises(StoreError, match="LOG is missing"):
        await EventLog(int, tmp_path / "log").append(2)
