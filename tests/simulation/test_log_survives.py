"""What an event log has acknowledged is there after any crash, also where the one before had died while making it."""

from __future__ import annotations

import random
from itertools import count

import pytest

from actorstream.errors import StoreError
from actorstream.testing.disk import SimulatedDisk, temporary_disk
from actorstream.testing.run import run_simulated
from tests.simulation.inputs import input_log
from tests.simulation.stages import Event, make_events

pytestmark = pytest.mark.simulation

EVENTS = make_events("a", 12, 0)


class Appender:
    """A program that appends what is not there yet, and knows what was acknowledged."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.folder = f"{disk.root}/log"
        self.acknowledged = 0

    async def append(self) -> list[Event]:
        """Append three more events; give what is in the log."""
        log = input_log(self.folder)
        there = (await log.summary()).records
        assert there >= self.acknowledged, f"{there} records are there, {self.acknowledged} were acknowledged"
        for event in EVENTS[there : there + 3]:
            await log.append(event)
            self.acknowledged = EVENTS.index(event) + 1
        return [record.value async for record in log.view(stop="now").records()]


@pytest.mark.parametrize("power", [False, True])
def test_an_acknowledged_record_survives_a_crash_before_it_and_a_power_cut_after_it(power: bool) -> None:
    """A process killed between LOG's link and the sync of its folder left a name that no later one made durable."""
    for operation in count(1):
        with temporary_disk() as disk:
            program = Appender(disk)
            first = run_simulated(program.append, disk=disk, crash_at_operation=operation)
            disk.power_cut(random.Random(operation)) if power else disk.kill()
            for session in range(3):
                run_simulated(program.append, disk=disk, seed=session).value()
                disk.power_cut(random.Random(f"{operation} {session}"))
            there = run_simulated(program.append, disk=disk, seed="last").value()
            assert sorted(there, key=lambda event: event.seq) == EVENTS
            disk.kill()
        if first.crash is None:
            return


def test_a_log_that_lost_its_document_is_not_made_anew_over_its_records() -> None:
    """LOG may be lost by other hands: the records are still there, and no opener may take their place."""
    with temporary_disk() as disk:
        program = Appender(disk)
        run_simulated(program.append, disk=disk).value()
        disk.unlink(f"{program.folder}/LOG")
        with pytest.raises(StoreError, match="LOG is missing"):
            run_simulated(program.append, disk=disk, seed="again").value()
        disk.kill()
