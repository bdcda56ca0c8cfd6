"""A system call of LMDB fails, each in turn, or the process is killed at it: exact output, or an error of ours, and on.

LMDB writes, syncs, opens and maps by itself, past our FileSystem. So strace makes the calls of a real process fail:

for nth = 1, 2, 3, ... until no fault fires:
    copy the prepared job, run it in a process whose n-th pwrite (fdatasync, mmap, open) fails, or kills it
    another process goes on: more input, to which state and positions of the first are needed
"""

from __future__ import annotations

import shutil
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.faults.machine import require, tracing_problem
from tests.faults.strace import Injection, hit, injected
from tests.faults.warm import Warm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(120)]

LMDB_FILES = (
    *(f"{log}/segments/000001.lmdb{end}" for log in ("numbers", "sums") for end in ("", "-lock")),
    *(f"store/sums/layers/{attempt}-0-{number}.lmdb" for attempt in (1, 2, 3) for number in (1, 2)),
)
OURS = {"StoreError", "DataLossError", "RestoreError"}


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    require(tracing_problem())
    with Warm("tests.faults.lives", tmp_path_factory.mktemp("warm")) as warm:
        yield warm


class Met(NamedTuple):
    """What was hit, how the process ended, its error and what that says; the latter empty if there was none."""

    call: str
    code: int
    kind: str
    said: str


def sweep(lives: Warm, prepared: Path, call: str, effect: str, nths: Iterator[int], restarts: int = 0) -> list[Met]:
    """Let the n-th call of its kind fail, for n in turn, until there is none; each time another process must go on.

    Of calls that others make too, only those on LMDB's files are meant.
    """
    met: list[Met] = []
    for nth in nths:
        folder, log = f"{prepared}.{nth}", prepared.parent / "strace.txt"
        shutil.copytree(prepared, folder)
        paths: Sequence[str] = [f"{folder}/{file}" for file in LMDB_FILES] if call in {"mmap", "openat"} else ()
        with injected(lives.begin("run_in_one_thread", folder, restarts), Injection(call, effect, nth, paths), log):
            ended = lives.go()
        about = f"{call} {effect} {nth}: {hit(log)}"
        if ended.code == 0 and not hit(log):
            return met
        kind, said = ended.result if isinstance(ended.result, list) else ("", "")
        met.append(Met(hit(log), ended.code, kind, said))
        assert lives.result("go_on", folder) is True, about
        shutil.rmtree(folder)
    raise AssertionError


@pytest.mark.parametrize(
    ("call", "effect", "step", "least"),
    [
        pytest.param("pwrite64", "error=EIO", 2, 8, id="write EIO"),
        pytest.param("pwrite64", "error=EIO", 1, 15, id="every write EIO", marks=pytest.mark.verify),
        pytest.param("pwrite64", "error=ENOSPC", 3, 5, id="write ENOSPC"),
        pytest.param("pwrite64", "error=ENOSPC", 1, 15, id="every write ENOSPC", marks=pytest.mark.verify),
        pytest.param("fdatasync", "error=EIO", 1, 5, id="sync EIO"),
        pytest.param("mmap", "error=ENOMEM", 2, 4, id="map ENOMEM"),
        pytest.param("mmap", "error=ENOMEM", 1, 8, id="every map ENOMEM", marks=pytest.mark.verify),
        pytest.param("openat", "error=EMFILE", 2, 10, id="open EMFILE"),
        pytest.param("openat", "error=EMFILE", 1, 20, id="every open EMFILE", marks=pytest.mark.verify),
    ],
)
def test_each_call_of_lmdb_that_fails_gives_the_exact_output_or_our_error(
    lives: Warm, prepared: Path, call: str, effect: str, step: int, least: int
) -> None:
    met = sweep(lives, prepared, call, effect, count(1, step))
    assert len(met) >= least
    for one in met:
        assert one.code == 0, one
        assert not one.kind or (one.kind in OURS and any(file in one.said for file in LMDB_FILES)), one
    assert any(not one.kind for one in met), "none of them failed a checkpoint only"


@pytest.mark.parametrize(
    ("call", "step", "least"),
    [
        pytest.param("pwrite64", 1, 15, id="write"),
        pytest.param("fdatasync", 2, 3, id="sync"),
        pytest.param("fdatasync", 1, 5, id="every sync", marks=pytest.mark.verify),
    ],
)
def test_a_process_that_is_killed_at_any_call_of_lmdb_loses_and_doubles_nothing(
    lives: Warm, prepared: Path, call: str, step: int, least: int
) -> None:
    met = sweep(lives, prepared, call, "signal=SIGKILL", count(1, step))
    assert len(met) >= least
    assert all(one.code == -9 for one in met), met


@pytest.mark.parametrize(
    ("call", "first", "step"),
    [
        pytest.param("pwrite64", 2, 2, id="write"),
        pytest.param("pwrite64", 1, 1, id="every write", marks=pytest.mark.verify),
        pytest.param("fdatasync", 4, 1, id="sync"),
    ],
)
def test_a_restart_gets_over_any_single_call_that_fails_once_the_job_is_up(
    lives: Warm, prepared: Path, call: str, first: int, step: int
) -> None:
    """Also over a meta page that was not written: after that LMDB refuses its environment until it is opened anew."""
    for one in sweep(lives, prepared, call, "error=EIO", count(first, step), restarts=3):
        assert "restarts are used up" not in one.said, one
        assert "MDB_PANIC" not in one.said, one
