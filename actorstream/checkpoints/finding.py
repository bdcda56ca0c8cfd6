"""Finding the job that a path on the command line means."""

from __future__ import annotations

from os.path import abspath, join
from typing import TYPE_CHECKING

from actorstream.errors import StoreError

if TYPE_CHECKING:
    from actorstream.model.world import FileSystem

_JOB = "JOB"


def find_store(files: FileSystem, folder: str) -> str:
    """Give a job's folder: `folder` itself, or that of the only job in it.

    Raises:
        StoreError: There is none, or several.
    """
    root = abspath(folder)
    if not files.exists(root):
        raise StoreError(f"{root} is missing: expected a job's folder, or a store")
    if files.exists(join(root, _JOB)):
        return root
    jobs = [name for name in files.list_dir(root) if files.exists(join(root, name, _JOB))]
    if len(jobs) != 1:
        found = f"the jobs {', '.join(jobs)}: name one of these folders" if jobs else "no job"
        raise StoreError(f"{root} holds {found}; expected a job's folder, or a store that holds one job")
    return join(root, jobs[0])
