"""Finding the job that a path means: its own folder, or a store that holds no other."""

from __future__ import annotations

from os.path import abspath, join
from typing import TYPE_CHECKING

from actorstream.checkpoints.put import disk_errors
from actorstream.errors import StoreError

if TYPE_CHECKING:
    from actorstream.model.world import FileSystem

JOB = "JOB"
_EXPECTED = "a job's folder, or a store that holds one job"


def find_store(files: FileSystem, folder: str, *, expected: str = _EXPECTED) -> str:
    """Give a job's folder: `folder` itself, or that of the only job in it; `expected` is for messages.

    Raises:
        StoreError: There is none, or several; or the disk refuses.
    """
    root = abspath(folder)
    with disk_errors(root, "looking"):
        if not files.exists(root):
            raise StoreError(f"{root} is missing: expected {expected}")
        if files.exists(join(root, JOB)):
            return root
        jobs = [name for name in files.list_dir(root) if files.exists(join(root, name, JOB))]
    if len(jobs) != 1:
        found = f"the jobs {', '.join(jobs)}: name one of these folders" if jobs else "no job"
        raise StoreError(f"{root} holds {found}; expected {expected}")
    return join(root, jobs[0])
