"""Folders in memory, filled with what a fuzzer made; and the golden store, savepoint and logs, which it begins from."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.state.rig import QuickFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN: Final = Path(__file__).parent.parent / "golden"
STORE: Final = GOLDEN / "two-schemas" / "store" / "golden"
SAVEPOINT: Final = GOLDEN / "savepoint"
LOG: Final = GOLDEN / "two-schemas" / "log"
FILES: Final = QuickFiles()
_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None


@contextmanager
def folder(copy_of: Path | None = None) -> Iterator[Path]:
    """Give a folder that goes at the end; a copy of another one, or empty."""
    with tempfile.TemporaryDirectory(prefix="fuzz", dir=_MEMORY) as made:
        if copy_of is not None:
            shutil.copytree(copy_of, made, dirs_exist_ok=True)
        yield Path(made)


def put(path: Path, data: bytes) -> Path:
    """Write a file, whatever was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return path


def golden(*paths: str) -> list[bytes]:
    """Read files of the golden folders."""
    return [(GOLDEN / path).read_bytes() for path in paths]
