"""Sorting with files: in order whatever there is, in bounded memory, and nothing left behind."""

from __future__ import annotations

import tracemalloc
from random import Random
from typing import TYPE_CHECKING

import pytest

from actorstream import StoreError
from actorstream.evolve.sorting import EntrySorter
from actorstream.system.files import RealFiles
from actorstream.testing.faults import Fault, FaultyFiles

if TYPE_CHECKING:
    from pathlib import Path


def entries(random: Random, number: int) -> list[tuple[bytes, bytes]]:
    return [
        (random.randbytes(random.choice([1, 8, 300])), random.randbytes(random.choice([0, 5, 2_000])))
        for _ in range(number)
    ]


@pytest.mark.parametrize(("number", "limit"), [(0, 1_000), (1, 1_000), (500, 1 << 30), (500, 50_000), (3_000, 1_500)])
def test_entries_come_back_in_order_and_files_go(number: int, limit: int, tmp_path: Path) -> None:
    """The last case makes over a thousand runs, and so runs of runs, and of these one more."""
    given = entries(Random(number), number)
    sorter = EntrySorter(RealFiles(), f"{tmp_path}/s", limit)
    for entry in given:
        sorter.add(entry)
    assert (len(list(tmp_path.iterdir())) > 0) == (limit < number * 1_000)
    assert len(list(tmp_path.iterdir())) < 3 * 16 + 1
    assert list(sorter.entries()) == sorted(given)
    sorter.close()
    sorter.close()
    assert list(tmp_path.iterdir()) == []


def test_memory_holds_no_more_than_the_limit_and_a_piece_of_each_run(tmp_path: Path) -> None:
    sorter = EntrySorter(RealFiles(), f"{tmp_path}/s", 4 << 20)
    tracemalloc.start()
    for at in range(200_000):
        sorter.add(((at * 7919 % 200_000).to_bytes(8), bytes(100)))
    count = sum(1 for _ in sorter.entries())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    sorter.close()
    assert count == 200_000
    assert peak < 28 << 20, "all of it takes 48 MiB"


@pytest.mark.parametrize("effect", ["ENOSPC", "short write"])
def test_a_full_disk_is_an_error_that_names_the_file(effect: str, tmp_path: Path) -> None:
    failed = named = 0
    for nth in range(1, 1_000):
        files = FaultyFiles(RealFiles(), Fault(nth, effect))  # type: ignore[arg-type]
        sorter = EntrySorter(files, f"{tmp_path}/s", 20_000)
        try:
            for entry in entries(Random(1), 500):
                sorter.add(entry)
            assert len(list(sorter.entries())) == 500
        except StoreError as error:
            failed += 1
            named += f"{tmp_path}/s-" in str(error)
        sorter.close()
        assert not list(tmp_path.iterdir()) or files.fired is not None
        for left in tmp_path.iterdir():
            left.unlink()
        if files.fired is None:
            break
    assert named == failed > 10
