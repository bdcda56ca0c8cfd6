"""One prepared job for all tests of a worker: it takes a second, and a copy of it some milliseconds."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.faults.sums import prepare

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared job of sums.py: to be copied, never run."""
    folder = tmp_path_factory.mktemp("sums") / "prepared"
    folder.mkdir()
    asyncio.run(prepare(str(folder)))
    return folder


@pytest.fixture
def prepared(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the prepared job."""
    return shutil.copytree(pristine, tmp_path / "prepared")
