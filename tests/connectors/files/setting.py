"""What the tests of file connectors share: record types, reading a file to its end, a sink's identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from actorstream.connectors.files import FileSource

if TYPE_CHECKING:
    from actorstream.connectors.files.format import FileFormat

T = TypeVar("T")


@dataclass(frozen=True)
class Click:
    user: str
    page: int
    note: str | None = None


class Hit(NamedTuple):
    user: str
    page: int
    note: str | None = None


@dataclass(frozen=True)
class Identity:
    job: str = "job-1"
    operator: str = "out"
    subtask: int = 0
    attempt: int = 1
    restored: int = 0
    holder: str = "one"


async def fetched(source: FileSource[T], split: str, after: int | None = None) -> list[tuple[list[T], int]]:
    """Read a split to its end."""
    return [(list(each.values), each.position) async for each in source.read(split, after)]


async def records(path: object, format_: FileFormat[T], after: int | None = None, **options: Any) -> list[T]:
    """Read one file to its end."""
    return [
        value
        for values, _ in await fetched(FileSource(str(path), format_, **options), str(path), after)
        for value in values
    ]
