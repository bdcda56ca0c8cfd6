"""Names what figures belong to."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """Name library, interpreter, system and processor."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"actorstream {version('actorstream')}, {python}, {platform.system()}, {os.cpu_count()} cores, {_processor()}"
    )


def _processor() -> str:
    """Name the processor's model, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
