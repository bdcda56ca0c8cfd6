"""A run's options: a misspelt or mistyped one is told before anything starts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actorstream.api.options import RunOptions, check_run_options
from actorstream.api.settings import Settings
from actorstream.errors import PlanError
from actorstream.protocol.restart import Restart


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"store": None, "checkpoint_interval": None},
        {"store": "state", "checkpoint_interval": 0.5},
        {"store": Path("state"), "checkpoint_interval": timedelta(seconds=10)},
        {"restart": Restart.never(), "parallelism": 4, "on_failure": print, "settings": Settings(retained=2)},
    ],
)
def test_what_a_run_takes(options: RunOptions) -> None:
    check_run_options(options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"stor": "x"},
            "no option 'stor': it knows accept_duplicates, checkpoint_interval, .*, settings, state_memory, store",
        ),
        ({"store": 3}, "store is 3, expected a folder's path, or None"),
        ({"checkpoint_interval": 0}, "checkpoint_interval is 0"),
        ({"checkpoint_interval": -1.0}, "checkpoint_interval is -1.0"),
        ({"checkpoint_interval": float("nan")}, "checkpoint_interval is nan, expected a timedelta or seconds"),
        ({"checkpoint_interval": "1s"}, "checkpoint_interval is '1s'"),
        ({"restart": "never"}, r"restart is 'never', expected a Restart, for example Restart.never\(\)"),
        ({"parallelism": 0}, "parallelism is 0, expected an int of at least 1"),
        ({"parallelism": 1.5}, "parallelism is 1.5"),
        ({"on_failure": 1}, "on_failure is 1, expected a function"),
        ({"settings": {}}, "settings is {}, expected a Settings"),
    ],
)
def test_what_a_run_refuses(options: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        check_run_options(options)
