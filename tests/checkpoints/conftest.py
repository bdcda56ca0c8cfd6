from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.checkpoints.savepoints import make_savepoint, pack

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def savepoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real savepoint, for reading: copy it to change it."""
    return make_savepoint(tmp_path_factory.mktemp("savepoint"))


@pytest.fixture(scope="session")
def archive(savepoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real archive of it, for reading."""
    target = tmp_path_factory.mktemp("archive") / "a.tar.zst"
    pack(savepoint, target)
    return target
