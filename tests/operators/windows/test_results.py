"""What a window gives."""

from __future__ import annotations

from actorstream.operators.user_time import datetime_of
from actorstream.operators.windows.assigners import FOREVER, Window
from actorstream.operators.windows.results import ShownWindows, WindowResult


def test_a_result_is_a_plain_tuple() -> None:
    """It unpacks, compares and is stored as one."""
    found = WindowResult("a", datetime_of(0), datetime_of(10), 5)
    key, start, end, value = found
    assert (key, start, end, value) == found == ("a", datetime_of(0), datetime_of(10), 5)


def test_windows_are_shown_as_they_are() -> None:
    """Also the one after the one that is remembered; where datetimes end, a window does."""
    windows = ShownWindows()
    for start in (0, 0, 10, 0):
        assert windows.of((start, start + 10)) == Window(datetime_of(start), datetime_of(start + 10))
    assert [each.year for each in windows.of(FOREVER)] == [1, 9999]
