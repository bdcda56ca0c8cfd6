"""What a format of files has to say: how records become the bytes of a part, and a file's bytes records.

    file ──FileBytes──> format.slices ──> Slice(values, position), Slice, ...      blocking: run in a thread
    values ──add──> PartEncoder ──take──> bytes ──take(end)──> the last bytes

A position says how much of a file was read: bytes for text, rows for Parquet. What follows a position is the same
whoever reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.connectors.files.bad_records import BadRecords
    from actorstream.connectors.files.file_bytes import FileBytes

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)

SLICE_RECORDS: Final = 512
"""How many records are made at once: more costs memory and buys nothing."""


class Slice(NamedTuple, Generic[T_co]):
    """Records that follow each other, and the position behind the last; `caught_up`: there is no more for now."""

    values: Sequence[T_co]
    position: int
    caught_up: bool = False


class PartEncoder(Protocol[T_contra]):
    """Makes one part of records. It does no I/O."""

    @property
    def size_bytes(self) -> int:
        """About how many bytes were made and not taken yet."""
        ...

    def add(self, values: Sequence[T_contra], /) -> None:
        """Take records in; one of `UNWRITABLE` where one cannot be written."""
        ...

    def take(self, *, end: bool) -> bytes:
        """Give what is to be written next; at the end, all that is left."""
        ...


class FileFormat(Protocol[T]):
    """A kind of file for records of one type."""

    @property
    def suffix(self) -> str:
        """What names of files end with, its dot included."""
        ...

    @property
    def follows(self) -> bool:
        """Tell whether a file that grows can be read on."""
        ...

    def slices(self, file: FileBytes, after: int, bad: BadRecords, /) -> Iterator[Slice[T]]:
        """Read what follows a position: blocking, a slice at a time."""
        ...

    def encoder(self) -> PartEncoder[T]:
        """Begin a part."""
        ...
