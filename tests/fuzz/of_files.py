"""Files that sources read: lines, rows, compressed ones, whatever is in them."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actorstream.connectors.files import Csv, JsonLines
from actorstream.connectors.files.bad_records import BadRecords
from actorstream.connectors.files.file_bytes import FileBytes
from actorstream.errors import InputError
from tests.fuzz.decoder import ALLOWED, Decoder, each_of
from tests.fuzz.places import FILES, folder, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.connectors.files.format import FileFormat

LINES = b'{"user":"ann","page":1}\n{"user":"bob","page":2,"note":"x"}\n'
ROWS = b'user,page,note\nann,1,\nbob,2,"x\ny"\n'


@dataclass
class Click:
    user: str
    page: int
    note: str | None = None


def _reading(name: str, *formats: FileFormat[Any]) -> Callable[[bytes], object]:
    """Read to the end, once until something is bad, once past everything that is."""

    def read(data: bytes) -> None:
        with folder() as place:
            path = str(put(place / name, data))

            def slices(format_: FileFormat[Any], policy: Any) -> None:
                behind = 0
                for each in format_.slices(FileBytes(FILES, path), 0, BadRecords(name, policy, lambda: None)):
                    assert each.position >= behind
                    behind = each.position

            each_of(*(lambda f=f, p=p: slices(f, p) for f in formats for p in ("fail", "skip")))

    return read


_ERRORS = (*ALLOWED, InputError)
FILES_READ = [
    Decoder(
        "JSON lines of a file",
        _reading("a.jsonl", JsonLines(Click), JsonLines(dict)),
        [LINES, b"\xef\xbb\xbf" + LINES],
        path="a.jsonl",
        errors=_ERRORS,
    ),
    Decoder(
        "CSV",
        _reading("a.csv", Csv(Click), Csv(dict[str, str]), Csv(Click, header=False)),
        [ROWS],
        path="a.csv",
        errors=_ERRORS,
    ),
    Decoder(
        "gzip",
        _reading("a.jsonl.gz", JsonLines(Click)),
        [gzip.compress(LINES, mtime=0), gzip.compress(LINES, mtime=0) * 2],
        path="a.jsonl.gz",
        errors=_ERRORS,
    ),
]
