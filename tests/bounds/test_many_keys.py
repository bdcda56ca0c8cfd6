"""A million keys and one hot key: memory is the budget's and a constant, and every count is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.bounds.many_keys import MIB, STATE_MEMORY
from tests.bounds.processes import FILES_MAX, printed_by

if TYPE_CHECKING:
    from pathlib import Path

OWN_MIB = 160
"""What a process takes beside its state's budget: frozen state on its way to disk, batches, maps of layers."""


def check(said: dict[str, Any], keys: int) -> None:
    assert (said["found"], said["wrong"], said["hot"]) == (keys + 1, 0, 1)
    assert said["peak"] - said["before"] < STATE_MEMORY / MIB + OWN_MIB, said
    assert said["files"] < FILES_MAX, said


@pytest.mark.slow
def test_fifty_thousand_keys_and_a_hot_one(tmp_path: Path) -> None:
    check(printed_by("tests.bounds.many_keys", tmp_path, 50_000), 50_000)


@pytest.mark.verify
@pytest.mark.timeout(900)
def test_a_million_keys_and_a_hot_one(tmp_path: Path) -> None:
    """Several times what the budget holds."""
    check(printed_by("tests.bounds.many_keys", tmp_path, 1_000_000), 1_000_000)
