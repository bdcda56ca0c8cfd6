"""Files that sources read: lines, rows, compressed ones, whatever is in them; and the names and tokens of parts."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from actorstream.connectors.files import Csv, JsonLines
from actorstream.connectors.files.bad_records import BadRecords
from actorstream.connectors.files.fencing import FENCES, Fences
from actorstream.connectors.files.file_bytes import FileBytes
from actorstream.connectors.files.part_tokens import PartToken, decode_part_token, encode_part_token
from actorstream.connectors.files.parts import part_of
from actorstream.connectors.sqlite import decode_token_of_rows
from actorstream.errors import InputError
from tests.connectors.files.setting import Identity
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


def _token(data: bytes) -> None:
    for part in islice(decode_part_token(data).names(), 10):
        part.encode()


def _name(data: bytes) -> None:
    part = part_of(data.decode("utf-8", "surrogateescape"))
    if part is not None:
        assert part_of(part.encode()) == part


def _fences(data: bytes) -> None:
    """What stands in the names and files of the folder inside."""
    with folder() as place:
        fences = Fences(FILES, str(place))
        fences.make()
        put(place / FENCES / "fence-job%2D1-1", data)
        name = data.decode("latin-1").replace("/", "").replace("\0", "")[:100]
        put(place / FENCES / f"committed-{name}", b"")
        put(place / FENCES / f"fence-{name}", b"")
        each_of(lambda: fences.put_up(Identity()), lambda: fences.newest_of("job-1"))


TOKEN = PartToken(1, "job-1", "out", 0, 1, 3, ".jsonl", 2, 300, 4)
_ERRORS = (*ALLOWED, InputError)
_PART = next(TOKEN.names())
FILES_AND_PARTS = [
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
    Decoder("token of rows", decode_token_of_rows, [b'["job","out",0,1,2,3]'], json=True),
    Decoder("token of parts", _token, [encode_part_token(TOKEN)], json=True),
    Decoder("name of a part", _name, [name.encode().encode() for name in (_PART, _PART.committed())]),
    Decoder("fences", _fences, [b"one", b"job%2D1-2", b"job%2D1-out-0-7"]),
]
