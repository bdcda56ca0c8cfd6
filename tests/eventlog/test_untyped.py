from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.errors import StoreError
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.untyped import open_untyped
from tests.eventlog.setting import Click, values_of

if TYPE_CHECKING:
    from pathlib import Path


async def test_typed_records_are_shown_as_what_their_bytes_say(tmp_path: Path) -> None:
    await EventLog(Click, tmp_path / "log").append(Click("ada", 1))
    log = open_untyped(tmp_path / "log")
    assert await values_of(log) == [{"user": "ada", "page": 1}]
    with pytest.raises(StoreError, match="another type"):
        await log.append({"user": "eve", "page": 2})


async def test_a_log_for_any_value_can_be_appended_to(tmp_path: Path) -> None:
    await EventLog(object, tmp_path / "log").append({"a": [1, None]})
    log = open_untyped(tmp_path / "log")
    await log.append({"b": 2.5})
    assert await values_of(log) == [{"a": [1, None]}, {"b": 2.5}]


async def test_no_log_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no event log"):
        await open_untyped(tmp_path / "nothing").summary()
    assert not (tmp_path / "nothing").exists()
