"""A replay gives the same bytes whoever of the ready tasks runs next, and however long calls in threads take."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actorstream.testing.disk import temporary_disk
from actorstream.testing.run import run_simulated
from tests.evolve.replays import Manner, digests_in, record, replay_in

if TYPE_CHECKING:
    from actorstream.testing.disk import SimulatedDisk
    from actorstream.testing.run import Outcome

CASES = ["timers of two inputs", "table as it is", "union with itself", "by the clock", "windows behind windows"]


@pytest.mark.simulation
@pytest.mark.parametrize("case", CASES)
def test_no_result_depends_on_the_scheduler(case: str) -> None:
    """With many checkpoints, so that barriers come at other turns each time."""

    def digests(seed: int) -> dict[str, str]:
        with temporary_disk() as disk:
            root = Path(disk.root)

            async def main() -> dict[str, str]:
                await record(root, seed=4, count=60)
                return await replay_in(Manner(checkpoint=0.02), root, case, root / "into")

            return run_simulated(main, seed=seed, disk=disk, step_cost=0.0001).value()

    first = digests(0)
    assert [seed for seed in range(1, 6) if digests(seed) != first] == []


@pytest.mark.simulation
@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
def test_a_replay_that_dies_anywhere_is_never_taken_for_a_finished_one_and_can_be_run_again(*, power: bool) -> None:
    """What says that it is finished has all its records; the same call on what is not gives these very bytes."""
    case, counted = "timers of two inputs", 24

    def run(disk: SimulatedDisk, crash_at: int | None = None) -> Outcome[dict[str, str]]:
        root = Path(disk.root)

        async def main() -> dict[str, str]:
            return await replay_in(Manner(checkpoint=0.02), root, case, root / "into")

        return run_simulated(main, seed=crash_at or 0, disk=disk, crash_at_operation=crash_at)

    def recorded(disk: SimulatedDisk) -> None:
        run_simulated(lambda: record(Path(disk.root), seed=4, count=30), seed="record", disk=disk).value()

    with temporary_disk() as disk:
        recorded(disk)
        whole = run(disk)
    died = 0
    for number in range(1, whole.disk_operations, max(1, whole.disk_operations // counted)):
        with temporary_disk() as disk:
            recorded(disk)
            died += run(disk, number).crash is not None
            if power:
                disk.power_cut(random.Random(number))
            else:
                disk.kill()
            into = Path(disk.root) / "into"
            if (into / "REPLAY").exists() and not (into / "UNFINISHED").exists():
                assert run_simulated(lambda: digests_in(into, ["results"]), disk=disk).value() == whole.value()  # noqa: B023
            else:
                assert run(disk).value() == whole.value()
    assert died > 20
