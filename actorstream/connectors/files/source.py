"""Files as a replayable source: each is a split, read from where the checkpoint left it.

    in/a.jsonl   ─────────── position 4096 ──>      all files of a source are read at once, each a slice ahead
    in/b.jsonl   ── position 512 ──>                (FileBytes, 128 KiB) in a thread, never on the event loop

New files are found when the job starts, and when it starts again. A file is read up to its size when its reading began
or began again; a line that was begun there, to its end. What was read must not change: a checkpoint holds places in it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio

from actorstream.connectors.files.bad_records import BadRecords
from actorstream.connectors.files.file_bytes import FileBytes
from actorstream.connectors.files.paths import files_of
from actorstream.errors import PlanError, RestoreError
from actorstream.model.connect import Fetched
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from actorstream.connectors.files.bad_records import OnBadRecord
    from actorstream.connectors.files.format import FileFormat

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

POLL_SECONDS: Final = 0.1
"""How long a file that is followed is left alone at its end."""


class FileSource(Generic[T_co]):
    """A `Source` of the records in files. Positions are what the format counts: bytes, or rows.

    Attributes:
        paths: As they were given.
        format: What the files are.
        skipped: How many bad records were passed over since this was made; those that are read again count again.
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        format: FileFormat[T_co],  # noqa: A002
        *,
        on_bad_line: OnBadRecord = "fail",
    ) -> None:
        """Say what is read; nothing is looked at yet.

        Args:
            paths: A file, a folder, a pattern with `*`, `?`, `[...]` and `**`, or several of these. A name that ends
                with .gz is of a compressed file.
            format: `JsonLines`, `Csv` or `Parquet`, with the type of the records.
            on_bad_line: Whether a line, or row, that is no record fails the job, or is counted and passed over.

        Raises:
            PlanError: There is no path, or no such policy.
        """
        given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        if not given:
            raise PlanError("FileSource: there are no paths: give a file, a folder, a pattern or a list of these")
        if on_bad_line not in {"fail", "skip"}:
            raise PlanError(f"FileSource: on_bad_line is {on_bad_line!r}, expected 'fail' or 'skip'")
        if not hasattr(format, "slices"):
            raise PlanError(
                f"FileSource: format is {format!r}, expected one such as JsonLines(Click), Csv(Click), Parquet(Click)"
            )
        self.paths = [os.fspath(path) for path in given]
        self.format = format
        self.skipped = 0
        self._policy: OnBadRecord = on_bad_line

    async def splits(self) -> Sequence[str]:
        """Name the files that are there, as the paths name them.

        Raises:
            InputError: A folder is not there.
            StoreError: A folder may not be read.
        """
        world = current_world()
        return await world.offload.run(files_of, world.files, self.paths)

    async def read(self, split: str, after: int | None, /) -> AsyncIterator[Fetched[int, T_co]]:
        """Yield the records of a file that follow a position.

        Raises:
            InputError: The file has a bad record, which is not to be passed over, or was cut short.
            RestoreError: The file is not the one in which the checkpoint holds this position.
            StoreError: The file is not there, or may not be read.
        """
        world = current_world()
        file = FileBytes(world.files, split)
        bad = BadRecords(split, self._policy, self._count)
        slices = self.format.slices(file, _position(split, after), bad)
        while (taken := await world.offload.run(next, slices, None)) is not None:
            yield Fetched(taken.values, taken.position, caught_up=taken.caught_up)
            if taken.caught_up:
                await anyio.sleep(POLL_SECONDS)

    def _count(self) -> None:
        self.skipped += 1


def _position(split: str, after: object) -> int:
    if after is None:
        return 0
    if not isinstance(after, int) or not 0 <= after < 1 << 63:
        shown = "an int out of range" if isinstance(after, int) else f"{after!r:.60}"
        raise RestoreError(
            f"the checkpoint holds {shown} as a position in {split}, expected a count of bytes or rows: it is of "
            "another source; restore with the one of that run, or start in another store"
        )
    return after
