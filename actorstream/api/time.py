"""What is said of event time when a pipeline is written."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from actorstream.api.settings import duration_us
from actorstream.errors import PlanError

if TYPE_CHECKING:
    from actorstream.api.options import Duration

Time: TypeAlias = datetime | float
"""An aware datetime, or Unix seconds."""


class WatermarkAlignment:
    """Sources of one group wait for each other: none is read further than `max_drift` ahead of the one behind all.

    Without it, joining a stream that is read fast with one that is read slowly keeps in state what the first is ahead.
    """

    __slots__ = ("group", "max_drift_us")

    def __init__(self, group: str, *, max_drift: Duration) -> None:
        """Belong to `group`.

        Raises:
            PlanError: The group has no name, or the drift is no duration above 0.
        """
        if not group:
            raise PlanError("WatermarkAlignment: the group needs a name")
        self.group = group
        self.max_drift_us = duration_us(max_drift, "WatermarkAlignment: max_drift", least_us=1)
