"""The library's events: structlog, into the standard logger "actorstream", silent unless the host wants them.

A library does not decide where a host's log goes. `logging.basicConfig()` shows
warnings; `logging.getLogger("actorstream").setLevel("DEBUG")` shows every
checkpoint. Values of records are never logged: they may be secret.
"""

from __future__ import annotations

import logging

import structlog

log: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    logging.getLogger("actorstream"),
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.LogfmtRenderer(key_order=["event"]),
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=False,
)
