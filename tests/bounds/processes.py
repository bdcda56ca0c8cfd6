"""Programs of this folder in a process of their own, so that what memory it takes is theirs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FILES_MAX = 64


def printed_by(module: str, folder: Path, count: int) -> dict[str, Any]:
    """Run `python -m module folder count`; give the line of JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, str(folder), str(count)],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr.decode()
    said: dict[str, Any] = json.loads(done.stdout)
    return said
