"""The documents of a log: small files of JSON, written once, each with a digest over the rest of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from xxhash import xxh3_128_hexdigest

from actorstream.codec.documents import decode_json, encode_json
from actorstream.errors import CodecError, StoreError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.ledger import FORMAT

if TYPE_CHECKING:
    from dataclasses import Field

    from actorstream.model.world import FileSystem


class _Document(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def format(self) -> int: ...

    @property
    def digest(self) -> str: ...


D = TypeVar("D", bound=_Document)


def sealed(document: D) -> D:
    """Give the document with its digest."""
    return replace(document, digest=xxh3_128_hexdigest(encode_json(replace(document, digest=""))))


def read_document(files: FileSystem, path: str, type_: type[D]) -> D | None:
    """Read a document; None if there is none.

    Raises:
        StoreError: It is damaged, or of a newer version.
    """
    try:
        with disk_errors(path):
            if not files.exists(path):
                return None
            document = decode_json(type_, files.read(path))
    except CodecError as error:
        raise StoreError(f"{path} is damaged ({error}): restore it from a copy of the log") from error
    if document.format > FORMAT:
        raise StoreError(
            f"{path} has format {document.format}, this version reads up to {FORMAT}: use a newer actorstream"
        )
    if document != sealed(document):
        raise StoreError(f"{path} is damaged: its digest is not that of its content: restore it from a copy of the log")
    return document


def put_document(files: FileSystem, path: str, data: bytes) -> None:
    """Give a new document its name once its content is durable."""
    draft_document(files, path, data)
    files.link(f"{path}.new", path)
    files.unlink(f"{path}.new")


def draft_document(files: FileSystem, path: str, data: bytes) -> None:
    """Write a new document beside its name, as `<path>.new`, durably."""
    files.unlink(f"{path}.new")
    file = files.create(f"{path}.new")
    try:
        file.write(data)
        file.sync()
    finally:
        file.close()
