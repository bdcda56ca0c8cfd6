"""A disk that is full under a running job: what could be written stays good, and with room again all of it is exact.

for room = 0, 1, 2, ... until all can be written:
    a small tmpfs under the store, the input or the output; all of it taken but for `room` pages, or new names
    the job runs into ENOSPC: in layers, documents, staged output, commits, new segments
    the newest checkpoint is read to its last byte; room is made; the job goes on by itself, or the append is made again
"""

from __future__ import annotations

import shutil
from itertools import chain, count
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.faults.machine import mounting_problem, namespace, require
from tests.faults.scarce import Report
from tests.faults.warm import Warm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.faults.scarce import Scarce

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(120)]

PAGE = 4096
ALWAYS: Mapping[Scarce, int] = {"bytes": 6 * PAGE, "names": 3}
"""Below that it is a matter of luck whether all can be written: what the job deletes makes room too."""
MANY = 7_000
"""With so many records at once a new segment is begun."""


@pytest.fixture(autouse=True)
def _mounts() -> None:
    require(mounting_problem())


def rooms(scarce: Scarce) -> Iterator[int]:
    """Every page first, where a segment or layer begins, then larger steps."""
    return count() if scarce == "names" else chain(range(0, 7 * PAGE, PAGE), count(16 * PAGE, 32 * PAGE))


def reports(prepared: Path, place: str, scarce: Scarce, more: int) -> list[Report]:
    """Run until everything can surely be written; give what came of each run in which it could not."""
    found: list[Report] = []
    with Warm("tests.faults.scarce", prepared.parent, within=namespace()) as warm:
        for room in rooms(scarce):
            folder = f"{prepared}.{room}"
            shutil.copytree(prepared, folder)
            report = Report(**cast("dict[str, Any]", warm.result("fill_up", folder, place, scarce, room, more)))
            about = f"{scarce} {room}: {report}"
            assert report.problems == [], about
            assert report.exact, about
            if report.refused or report.restarts or report.failed_checkpoints:
                found.append(report)
            elif room >= ALWAYS[scarce]:
                break
    return found


@pytest.mark.parametrize(("scarce", "least"), [("bytes", 2), ("names", 2)])
def test_checkpoints_fail_while_the_store_is_full_and_the_job_goes_on(
    prepared: Path, scarce: Scarce, least: int
) -> None:
    """The old checkpoints stay good, no attempt ends, and the output comes once there is room."""
    found = reports(prepared, "store", scarce, 30)
    assert len(found) >= least
    assert all(report.failed_checkpoints and not report.restarts for report in found), found


@pytest.mark.parametrize(("scarce", "least"), [("bytes", 6), ("names", 1)])
def test_a_job_whose_output_finds_no_room_tries_again_until_there_is_some(
    prepared: Path, scarce: Scarce, least: int
) -> None:
    """In staged files, in commits, in a new segment: nothing is lost, nothing comes twice."""
    found = reports(prepared, "sums", scarce, MANY)
    assert len(found) >= least
    assert all(report.restarts for report in found), found


@pytest.mark.parametrize(("scarce", "least"), [("bytes", 6), ("names", 1)])
def test_an_append_to_a_full_log_is_refused_and_leaves_nothing(prepared: Path, scarce: Scarce, least: int) -> None:
    """The job reads on, and the same append succeeds once there is room."""
    found = reports(prepared, "numbers", scarce, MANY)
    assert len(found) >= least
    for report in found:
        assert "numbers/segments/" in report.refused
        assert "No space left" in report.refused or "Input/output error" in report.refused
