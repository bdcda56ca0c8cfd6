"""Many power cuts of simulated disks, and what is found after them."""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from actorstream.testing.disk import SimulatedDisk, temporary_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorstream.model.world import FileSystem

CUTS = 60


def write(files: FileSystem, path: str, data: bytes, *, sync: bool = True) -> None:
    file = files.create(path)
    file.write(data)
    if sync:
        file.sync()
    file.close()


def found_after_cuts(tmp_path: Path, before: Callable[[SimulatedDisk], None]) -> set[tuple[tuple[str, bytes], ...]]:
    """Run `before` on a new disk, cut the power, list what is there; for many draws."""
    found = set()
    for seed in range(CUTS):
        disk = SimulatedDisk(tmp_path / str(seed))
        before(disk)
        disk.power_cut(random.Random(seed))
        found.add(tuple((name, disk.read(f"{disk.root}/{name}")) for name in disk.list_dir(disk.root)))
    return found


@contextmanager
def folders_for_cuts() -> Iterator[Path]:
    """Give a folder with one for each cut, in memory if possible: LMDB syncs for real."""
    with temporary_disk() as disk:
        for seed in range(CUTS):
            os.mkdir(f"{disk.root}/{seed}")
        yield Path(disk.root)
