"""The names of parts: whose each is, and whether it may be read.

    out/part-<job>-<operator>-<subtask>-<checkpoint>-<number>.jsonl              committed: complete, never changed
    out/.part-<job>-<operator>-<subtask>-<attempt>-<checkpoint>-<number>.jsonl   pre-committed; `open` before that

A name begins with a dot until its part is committed, so that readers of the folder pass over it. A committed name has
no attempt in it: whoever commits, it becomes the same one.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote

from xxhash import xxh3_64_hexdigest

_NAME_CHARS_MAX: Final = 60
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
OPEN: Final = "open"


class PartName(NamedTuple):
    """One part's; `attempt` None: it is committed. `job` and `operator` are quoted, as `quoted` does it."""

    job: str
    operator: str
    subtask: int
    attempt: int | None
    checkpoint: int | None
    number: int
    suffix: str

    def encode(self) -> str:
        """Give the name of the file. Committed ones sort by checkpoint."""
        checkpoint = OPEN if self.checkpoint is None else f"{self.checkpoint:010d}"
        owner = f"{self.job}-{self.operator}-{self.subtask}"
        if self.attempt is None:
            return f"part-{owner}-{checkpoint}-{self.number:04d}{self.suffix}"
        return f".part-{owner}-{self.attempt}-{checkpoint}-{self.number:04d}{self.suffix}"

    def is_behind(self, checkpoint: int) -> bool:
        """Tell whether it was not pre-committed by a checkpoint: still open then, or of a later one."""
        return self.checkpoint is None or self.checkpoint > checkpoint

    def committed(self) -> PartName:
        """Give its name once it is committed."""
        return self._replace(attempt=None)


def part_of(name: str) -> PartName | None:
    """Read the name of a file; None if it is no part."""
    stem, dot, suffix = name.removeprefix(".").partition(".")
    match name.startswith("."), stem.split("-"):
        case True, ["part", job, operator, subtask, attempt, checkpoint, number]:
            pass
        case False, ["part", job, operator, subtask, checkpoint, number]:
            attempt = "0"
        case _:
            return None
    if not all(map(_NUMBER.fullmatch, (subtask, attempt, number))):
        return None
    if checkpoint != OPEN and not _NUMBER.fullmatch(checkpoint):
        return None
    return PartName(
        job,
        operator,
        int(subtask),
        int(attempt) if name.startswith(".") else None,
        None if checkpoint == OPEN else int(checkpoint),
        int(number),
        dot + suffix,
    )


def quoted(name: str) -> str:
    """Give a name as a part of a file name: no separator, no slash, not long."""
    safe = quote(name, safe="").replace("-", "%2D").replace(".", "%2E")
    if len(safe) <= _NAME_CHARS_MAX:
        return safe
    return f"{safe[:_NAME_CHARS_MAX]}~{xxh3_64_hexdigest(name.encode())}"
