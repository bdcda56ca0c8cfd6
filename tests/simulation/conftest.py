"""The library's log says for each of thousands of simulated failures what everybody knows here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="package")
def quiet() -> Iterator[None]:
    logger = logging.getLogger("actorstream")
    logger.disabled = True
    yield
    logger.disabled = False
