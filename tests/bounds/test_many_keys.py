"""A million keys and one hot key: memory is the budget's and a constant, and every count is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bounds.many_keys import MIB, STATE_MEMORY

OWN_MIB = 160
"""What a process takes beside its state's budget: frozen state on its way to disk, batches, maps of layers."""
FILES_MAX = 64


def counted(folder: Path, keys: int) -> dict[str, Any]:
    """Count in a process of its own, so that its memory is its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bounds.many_keys", str(folder), str(keys)],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr.decode()
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def check(said: dict[str, Any], keys: int) -> None:
    assert (said["found"], said["wrong"], said["hot"]) == (keys + 1, 0, 1)
    assert said["peak"] - said["before"] < STATE_MEMORY / MIB + OWN_MIB, said
    assert said["files"] < FILES_MAX, said


@pytest.mark.slow
def test_fifty_thousand_keys_and_a_hot_one(tmp_path: Path) -> None:
    check(counted(tmp_path, 50_000), 50_000)


@pytest.mark.verify
@pytest.mark.timeout(900)
def test_a_million_keys_and_a_hot_one(tmp_path: Path) -> None:
    """Several times what the budget holds."""
    check(counted(tmp_path, 1_000_000), 1_000_000)
