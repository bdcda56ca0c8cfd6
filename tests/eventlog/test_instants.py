from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from actorstream.errors import PlanError
from actorstream.eventlog.instants import duration_us, instant, instant_us


def test_datetimes_and_seconds_mean_the_same_instant() -> None:
    moment = datetime(2024, 2, 29, 12, 0, 0, 250_000, tzinfo=UTC)
    assert instant_us(moment) == instant_us(moment.timestamp())
    assert instant(instant_us(moment)) == moment


@pytest.mark.parametrize(
    "wrong",
    [datetime(2024, 1, 1), float("nan"), float("inf"), True, "now", 1_700_000_000_000.0],  # noqa: DTZ001
)
def test_what_is_no_time_is_refused(wrong: object) -> None:
    """Milliseconds for seconds is the usual mistake: it lands far off and is named."""
    with pytest.raises(PlanError):
        instant_us(wrong)


def test_durations_are_timedeltas_or_seconds() -> None:
    assert duration_us(timedelta(minutes=1), "retention") == duration_us(60, "retention") == 60_000_000
    with pytest.raises(PlanError, match="retention=-1"):
        duration_us(-1, "retention")
