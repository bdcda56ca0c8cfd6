"""From where to where a replay goes, as words of a command line.

--from   a savepoint's folder | earliest | a time         --until   now | a time
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import date, datetime
from typing import Literal

from actorstream.errors import PlanError


def start_of(text: str) -> str | datetime | float:
    """Read `--from`.

    Raises:
        PlanError: It is no word, time or folder.
    """
    if text == "earliest":
        return text
    at = _time("--from", text)
    if at is not None:
        return at
    if os.path.isdir(text):
        return text
    raise PlanError(f"--from {text}: expected the folder of a savepoint, earliest, or a time such as {_EXAMPLE}")


def until_of(text: str) -> Literal["now"] | datetime | float:
    """Read `--until`.

    Raises:
        PlanError: It is neither the word nor a time.
    """
    if text == "now":
        return "now"
    at = _time("--until", text)
    if at is None:
        raise PlanError(f"--until {text}: expected now, or a time such as {_EXAMPLE}")
    return at


_EXAMPLE = "2026-11-23T08:00:00+00:00, or Unix seconds"


def _time(option: str, text: str) -> datetime | float | None:
    _refuse_day(option, text)
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _refuse_day(option: str, text: str) -> None:
    """Refuse a number that looks like a day: as seconds it would be one in 1970, and nobody would be told."""
    digits = text.strip().replace("_", "")
    if len(digits) == 8 and digits.isdecimal():
        with suppress(ValueError):
            day = date.fromisoformat(digits)
            raise PlanError(
                f"{option} {text}: eight digits are a day or Unix seconds; expected {day}T00:00:00+00:00 for the day, "
                f"or {digits}.0 for Unix seconds"
            )
