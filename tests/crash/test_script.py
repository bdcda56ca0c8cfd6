"""A script with `actorstream.run(pipeline)`: Ctrl-C and SIGTERM stop it with a final checkpoint and status 0."""

from __future__ import annotations

import signal
from itertools import accumulate
from typing import TYPE_CHECKING

import pytest

from actorstream import EventLog
from actorstream.checkpoints.view import StoreView
from actorstream.system.files import RealFiles
from tests.crash.process import started

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import sys
import actorstream
from actorstream import EventLog, Pipeline

folder = sys.argv[1]
numbers, sums = EventLog(int, folder + "/numbers"), EventLog(int, folder + "/sums")

def add(total: int, number: int) -> int:
    print("adds", number, flush=True)
    return total + number

pipeline = Pipeline("script")
table = pipeline.source(numbers).key_by(lambda _: "all").fold(0, add, name="sum")
table.map(lambda item: item[1]).sink(sums, name="sums")
summary = actorstream.run(pipeline, store=folder + "/store", checkpoint_interval=None)
print("ended", summary.restarts, flush=True)
"""


@pytest.mark.crash
@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_a_script_with_a_final_checkpoint_and_status_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    """No checkpoint but the final one is ever taken here: what was committed was committed by the stop."""
    numbers, added = EventLog(int, tmp_path / "numbers"), [*range(1, 101), 1_000]
    await numbers.extend(added[:-1])
    for last in added[-2:]:
        async with started("-c", SCRIPT, str(tmp_path), folder=tmp_path) as child:
            await child.until(f"adds {last}")
            child.signal(number)
            await child.until("ended 0")
            assert await child.wait() == 0, child.last_words()
        await numbers.append(added[-1])
    sums = [record.value async for record in EventLog(int, tmp_path / "sums").records(stop="now")]
    assert sums == list(accumulate(added))
    view = StoreView(RealFiles(), str(tmp_path / "store" / "script"))
    assert [(m.attempt, m.final) for m in map(view.read, view.checkpoint_ids())] == [(1, True), (2, True)]
