"""Where a demo keeps its logs and store, and what becomes of them."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from os.path import abspath
from typing import TYPE_CHECKING

from actorstream.errors import ActorstreamError, PlanError
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


@contextmanager
def demo_folder(keep: str | None) -> Iterator[str]:
    """Give the folder asked for, which must be new or empty, or a temporary one that goes when all was well."""
    if keep is not None:
        folder, files = abspath(keep), current_world().files
        if files.list_dir(folder):
            raise PlanError(f"--keep {keep}: the folder is not empty; name a new one")
        files.make_dirs(folder)
        yield folder
        return
    folder = tempfile.mkdtemp(prefix="actorstream-demo-")
    try:
        yield folder
    except ActorstreamError as error:
        error.add_note(f"logs and store were kept in {folder}")
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def leave(console: Console, folder: str, *, kept: bool, right: bool, again: str = "") -> None:
    """Remove the folder where all was well and nobody asked for it; else say where it is, and what to do `again`."""
    if not right:
        console.print(f"logs and store are kept in {folder}{again}", markup=False, highlight=False)
    elif not kept:
        shutil.rmtree(folder, ignore_errors=True)
