r"""Which files a path means: itself, those of a folder, or those that fit a pattern.

    in/2026.jsonl      that file
    in                 every file in the folder, none of those below it
    in/*/*.jsonl       a pattern: * ? [ab] within a name, ** for any number of folders

Names that begin with `.` or `_` are passed over in folders and patterns that do not say so: what is being written has
such names, here as elsewhere.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from actorstream.errors import InputError
from actorstream.eventlog.disk_errors import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.model.world import FileSystem

_WILD: Final = re.compile(r"[*?\[]")
_HIDDEN: Final = (".", "_")


def files_of(files: FileSystem, paths: Sequence[str]) -> list[str]:
    """List the files: sorted, each once, named as the paths are. Blocking.

    A path that is a file need not be there: it may have been read to its end and removed.

    Raises:
        InputError: A folder, or the folder in which a pattern begins, is not there.
        StoreError: A folder may not be read.
    """
    found: set[str] = set()
    for path in paths:
        if _WILD.search(path):
            found.update(_fitting(files, path))
        else:
            inside = _names_in(files, path) if files.exists(os.path.abspath(path)) else None
            if inside is None:
                found.add(path)
            else:
                below = (os.path.join(path, name) for name in inside if not name.startswith(_HIDDEN))
                found.update(each for each in below if _names_in(files, each) is None)
    return sorted(found)


def _fitting(files: FileSystem, pattern: str) -> Iterator[str]:
    parts = os.path.normpath(pattern).split("/")
    first = next(index for index, part in enumerate(parts) if _WILD.search(part))
    base = "/".join(parts[:first]) or ("/" if pattern.startswith("/") else ".")
    if not files.exists(os.path.abspath(base)):
        raise InputError(f"there is no folder {base} for the files {pattern}: make it, or mend the path")
    yield from _below(files, "" if base == "." else base, parts[first:])


def _below(files: FileSystem, folder: str, parts: Sequence[str]) -> Iterator[str]:
    names = _names_in(files, folder or ".")
    if names is None:
        return
    part, rest = parts[0], parts[1:]
    if part == "**" and rest:
        yield from _below(files, folder, rest)
    for name in names:
        path = os.path.join(folder, name)
        if part == "**" and not name.startswith(_HIDDEN):
            yield from _below(files, path, parts)
        if not _fits(name, part):
            continue
        if rest and part != "**":
            yield from _below(files, path, rest)
        elif not rest and _names_in(files, path) is None:
            yield path


def _fits(name: str, part: str) -> bool:
    hidden = name.startswith(_HIDDEN) and not part.startswith(_HIDDEN)
    return not hidden and fnmatchcase(name, part)


def _names_in(files: FileSystem, path: str) -> list[str] | None:
    """List a folder; None where it is a file."""
    with disk_errors(path):
        try:
            return files.list_dir(os.path.abspath(path))
        except NotADirectoryError:
            return None
