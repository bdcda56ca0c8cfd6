"""A real process that promotes is killed at each call: the next one finds the old records or the new, and goes on."""

from __future__ import annotations

import asyncio
import shutil
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.evolve.promotion_lives import prepare
from tests.faults.machine import require, tracing_problem
from tests.faults.strace import Injection, injected
from tests.faults.warm import Warm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actorstream.testing.faults import Effect

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(120)]
KILLED = 137


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("promotion")
    asyncio.run(prepare(folder))
    return folder


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with Warm("tests.evolve.promotion_lives", tmp_path_factory.mktemp("warm")) as warm:
        yield warm


@pytest.mark.parametrize(("effect", "least"), [("kill", 25), ("kill in write", 1)])
def test_a_process_killed_at_any_call_leaves_the_old_log_or_the_new(
    template: Path, lives: Warm, tmp_path: Path, effect: Effect, least: int
) -> None:
    found: list[str] = []
    for nth in count(1):
        folder = shutil.copytree(template, tmp_path / "copy", ignore=shutil.ignore_patterns("*-lock"))
        ended = lives.run("die", str(folder), nth, effect)
        if ended.code == 0:
            break
        assert ended.code == KILLED, ended.last_words[-3_000:]
        found.append(str(lives.result("go_on", str(folder))))
        shutil.rmtree(folder)
    assert len(found) > least
    assert set(found) <= {"old", "new"}
    assert found == sorted(found, reverse=True), "one call decides"
    assert found[0] == "old"


@pytest.mark.parametrize(
    ("call", "least"), [("pwrite64", 2), ("fdatasync,fsync", 6), ("linkat,link", 3), ("unlink", 3)]
)
def test_a_process_killed_at_any_system_call_leaves_the_old_log_or_the_new(
    template: Path, lives: Warm, tmp_path: Path, call: str, least: int
) -> None:
    """LMDB writes and syncs by itself. Calls are counted for each thread."""
    require(tracing_problem())
    found = []
    for nth in count(1):
        folder = shutil.copytree(template, tmp_path / "copy", ignore=shutil.ignore_patterns("*-lock"))
        with injected(
            lives.begin("promote_here", str(folder)), Injection(call, "signal=SIGKILL", nth), tmp_path / "log"
        ):
            ended = lives.go()
        if ended.code == 0:
            assert ended.result == ""
            break
        found.append(str(lives.result("go_on", str(folder))))
        shutil.rmtree(folder)
    assert len(found) >= least
    assert set(found) <= {"old", "new"}
