"""A process is killed at each call that changes the disk, in turn: the next one goes on, and its output is exact.

for nth = 1, 2, 3, ... until nobody dies:
    copy the prepared job   restore, a pending commit, work, checkpoints, retirement, final checkpoint are all to come
    a process runs it and is killed in place of its n-th call, or in the middle of its n-th write
    another goes on: more input, to which state and positions of the first are needed
"""

from __future__ import annotations

import shutil
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.faults.warm import Warm

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.testing.faults import Effect

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(120)]
KILLED = 137


@pytest.mark.parametrize(("effect", "least"), [("kill", 60), ("kill in write", 5)])
def test_a_process_that_is_killed_at_any_call_loses_and_doubles_nothing(
    prepared: Path, effect: Effect, least: int
) -> None:
    with Warm("tests.faults.lives", prepared.parent) as warm:
        for nth in count(1):
            folder = f"{prepared}.{nth}"
            shutil.copytree(prepared, folder)
            ended = warm.run("die", folder, nth, effect)
            if ended.code == 0:
                break
            assert ended.code == KILLED, f"{nth}: {ended.last_words[-3_000:]}"
            assert warm.result("go_on", folder) is True, f"{effect} {nth}"
            shutil.rmtree(folder)
    assert nth > least, "the sweep came by what it is for"
