"""A store or log that is removed, or read-only, at the start or under a running job: a clear error, nothing lost.

Put back, it is as good as before: the job goes on by itself if it may, else the next process does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import pytest

from tests.faults.machine import mounting_problem, namespace, require
from tests.faults.warm import Warm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.taken_away import Manner

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.fixture
def folder(prepared: Path) -> str:
    return str(prepared)


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    require(mounting_problem())
    with Warm("tests.faults.taken_away", tmp_path_factory.mktemp("warm"), within=namespace()) as warm:
        yield warm


@pytest.mark.parametrize(
    ("place", "manner", "says"),
    [
        ("store", "read-only", "mount the disk"),
        ("store/sums/layers", "read-only", "mount the disk"),
        ("store/sums/layers", "removed", "back from a copy"),
        ("store/sums/checkpoints", "read-only", "mount the disk"),
        ("store/sums/checkpoints", "removed", "back from a copy"),
        ("store/sums/attempts", "read-only", "mount the disk"),
        ("store/sums/attempts", "removed", "back from a copy"),
        ("sums", "read-only", "mount the disk"),
        ("sums/segments", "removed", "from a copy"),
        ("sums/staged", "read-only", "mount the disk"),
        ("sums/staged", "removed", "put the file back"),
        ("numbers", "read-only", "mount the disk"),
        ("numbers/segments", "removed", "from a copy"),
    ],
)
def test_a_start_without_a_folder_is_refused_with_its_name_and_the_remedy(
    lives: Warm, folder: str, place: str, manner: Manner, says: str
) -> None:
    """What is there stays as it is: with the folder back, the job goes on exactly."""
    kind, said = cast("list[str]", lives.result("start_without", folder, place, manner))
    assert kind in {"StoreError", "RestoreError", "DataLossError", "CheckpointsFailedError"}, said
    assert says in said, said
    # What is missed may be said of what needs it: a commit needs its checkpoint.
    assert f"{folder}/{place.partition('/')[0]}" in said or "checkpoints/ back" in said, said
    assert lives.result("go_on", folder) is True


@pytest.mark.parametrize("tolerated", [0, 2])
@pytest.mark.parametrize(
    ("place", "manner", "says"),
    [
        ("store", "removed", "back from a copy"),
        ("store", "read-only", "mount the disk"),
        ("store/sums/layers", "removed", "back from a copy"),
        ("sums", "removed", "back from a copy"),
        ("sums", "read-only", "mount the disk"),
    ],
)
def test_a_folder_that_goes_under_a_running_job_is_named_in_its_last_words(
    lives: Warm, folder: str, place: str, manner: Manner, says: str, tolerated: int
) -> None:
    """The checkpoints there were stay untouched: the next process goes on from them, exactly."""
    kind, said, came = cast("tuple[str, str, int]", lives.result("lose_for_good", folder, place, manner, tolerated))
    assert kind in {"StoreError", "CheckpointsFailedError", "PublishUnknownError"}, said
    assert f"{folder}/{place}" in said, said
    if kind == "PublishUnknownError":
        # Between a link and the sync of its name nobody can say what became of it.
        assert (place, manner) == ("store", "removed")
    else:
        assert says in said, said
    if kind == "CheckpointsFailedError":
        failed = re.search(r"(\d+) checkpoints in a row failed", said)
        assert failed is not None
        assert int(failed[1]) == tolerated + 1
    assert lives.result("go_on", folder, came) is True


@pytest.mark.parametrize(
    ("place", "manner"),
    [
        ("store", "removed"),
        ("store", "read-only"),
        ("store/sums/layers", "removed"),
        ("store/sums/attempts", "removed"),
        ("sums", "removed"),
        ("sums", "read-only"),
        ("sums/segments", "removed"),
    ],
)
def test_a_job_that_may_try_again_goes_on_when_the_folder_is_back(
    lives: Warm, folder: str, place: str, manner: Manner
) -> None:
    """An unmounted disk, for a while: a store's absence fails checkpoints only, an output's ends attempts.

    So does a store's that comes between the link of a manifest and its sync: then only a recovery can tell.
    """
    failed, why, exact = cast("tuple[int, list[str], bool]", lives.result("lose_for_a_while", folder, place, manner))
    if why and (place, manner) == ("store", "removed"):
        assert why[0] == "PublishUnknownError"
    elif place.startswith("store"):
        assert failed >= 2
        assert not why
    else:
        assert len(why) >= 2
    assert exact


def test_a_job_goes_on_when_its_store_went_between_the_link_of_a_manifest_and_its_sync(
    lives: Warm, folder: str
) -> None:
    """Nobody can say what became of that checkpoint: no further one is taken before a recovery has looked."""
    failed, why, exact = cast("tuple[int, list[str], bool]", lives.result("lose_after_link", folder))
    assert failed == 0
    assert why[0] == "PublishUnknownError"
    assert len(why) >= 2
    assert exact


@pytest.mark.parametrize("place", ["store", "sums"])
def test_a_copy_in_the_place_of_a_folder_in_use_loses_nothing_silently(lives: Warm, folder: str, place: str) -> None:
    """LMDB goes on writing into files that have no name any more, and says nothing."""
    kind, said, exact = cast("tuple[str, str, bool]", lives.result("replace_by_copy", folder, place))
    assert exact or (kind == "StoreError" and f"{folder}/{place}" in said), f"{kind} {said}"
