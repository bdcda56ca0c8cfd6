"""What a process takes of its machine, read from outside so that looking costs it nothing.

/proc/<pid>   resident memory, open files, maps, threads, children
its folder    bytes and files on the disk
its own line  tasks, layers, stalls of the loop, what was done
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.children import descendants

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Sample:
    """One moment; memory and disk in KiB."""

    second: float
    anonymous: float
    resident: float
    open_files: float
    maps: float
    threads: float
    children: float
    disk: float
    files: float
    tasks: float
    layers: float
    stall_ms: float
    awaited: float
    said: dict[str, Any]


def sample(pid: int, folder: Path, said: dict[str, Any], started: float) -> Sample:
    """Look at a process and its folder; `said` is the line that it has just printed."""
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    disk, files = _disk(folder)
    return Sample(
        second=time.monotonic() - started,
        anonymous=_number(status["RssAnon"]),
        resident=_number(status["VmRSS"]),
        open_files=len(os.listdir(process / "fd")),
        maps=(process / "maps").read_text().count("\n"),
        threads=_number(status["Threads"]),
        children=len(list(descendants(pid))),
        disk=disk,
        files=files,
        tasks=said["tasks"],
        layers=said["layers"],
        stall_ms=said["stall_ms"],
        awaited=said["awaited"],
        said=said,
    )


def table(samples: Sequence[Sample]) -> str:
    """Show samples as lines: about twenty, from first to last."""
    stride = max(1, len(samples) // 20)
    return "\n".join(json.dumps({**asdict(each), "said": None}) for each in samples[::stride])


def _number(text: str) -> int:
    return int(text.split(maxsplit=1)[0])


def _disk(folder: Path) -> tuple[int, int]:
    """Count KiB and files; what is deleted meanwhile is not there."""
    size, files = 0, 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(os.path.join(path, name)).st_blocks // 2
            except FileNotFoundError:
                continue
            files += 1
    return size, files
