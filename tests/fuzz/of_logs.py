"""Event logs: their documents, the rows of a segment's ledger, records, staged files and tokens, proofs.

LMDB files themselves are opened only after their digests were proved, or every page of them was looked at: what
damage to them does is in tests/faults. Here they are well formed, and hold rows that no log has written.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_digest, xxh3_64_hexdigest, xxh3_128_hexdigest

from actorstream.codec.documents import decode_json, encode_json
from actorstream.errors import CodecError
from actorstream.eventlog import ledger
from actorstream.eventlog.folder import _read as read_log_document
from actorstream.eventlog.generations import find_generation
from actorstream.eventlog.instants import instant
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.meta_pages import newest_meta
from actorstream.eventlog.once_a_boot import SealedProofs
from actorstream.eventlog.pages import Pages
from actorstream.eventlog.proofs import Extent, _block, load_proof
from actorstream.eventlog.records import read_rows, rows_of
from actorstream.eventlog.staged import Token, decode_token, encode_token, read_staged, whose
from actorstream.eventlog.untyped import open_untyped
from actorstream.state.lmdb_env import open_segment
from tests.eventlog.setting import SMALL, Identity
from tests.fuzz.decoder import ALLOWED, Decoder, each_of
from tests.fuzz.places import FILES, LOG, folder, golden, put
from tests.golden.first import Click

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

DOCUMENTS = golden("two-schemas/log/LOG")
PROMOTION = {
    "format": 1, "generation": 2, "id": "2" * 32, "partitions": 1, "segment_bytes": 1 << 20, "differs": [1],
    "before": "log.before", "promoted_us": 1_700_000_000_000_000, "digest": "",
}  # fmt: skip
TOKEN = Token(1, "job-1", "alerts", 0, 1, 3, "job%2D1-alerts-0-1-3", 30, "0" * 32, 1)
_ROWS: list[tuple[str, type, Any]] = [
    ("a", ledger.Birth, None),
    ("y", ledger.DeclaredType, None),
    ("f", ledger.Fence, ledger.Fence("job-1", "alerts", 1, "one")),
    ("m", ledger.Committed, ledger.Committed("job-1", "alerts", 0, 2)),
    ("c", ledger.Consumer, ledger.Consumer("job-2", "there", [0], 5)),
    ("s", ledger.Sealed, ledger.Sealed(1, 20_480, "0" * 32, [0], [1], [5], 9)),
]
KEYS = {"a": ledger.BIRTH, **{kind: ledger.OWN + kind.encode() for kind in "fmcsy"}}


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


# ---- documents -------------------------------------------------------------------------------------------------------


def sealed(content: bytes) -> bytes:
    """Put the digest into a document of a log: over all of it but the digest."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if not isinstance(tree, dict):
        return content
    tree["digest"] = ""
    try:
        tree["digest"] = xxh3_128_hexdigest(encode_json(tree))
    except (UnicodeEncodeError, OverflowError):
        return content
    return json.dumps(tree).encode()


def _log_document(data: bytes) -> None:
    with folder(LOG) as log:
        put(log / "LOG", data)
        read_log_document(FILES, str(log))
        run(_use(log))


def _promotion(data: bytes) -> None:
    with folder(LOG) as log:
        put(log / "LOG.2", data)
        made = read_log_document(FILES, str(log))
        assert made is not None
        generation = find_generation(FILES, str(log), made)
        for position in (-1, 0, 7, 1 << 56):
            each_of(lambda position=position: generation.next_offset(position, 0))  # type: ignore[misc]
        run(_use(log))
        assert {path.name for path in log.parent.iterdir()} >= {log.name}


# ---- rows of segments ------------------------------------------------------------------------------------------------


def _with_rows(rows: list[tuple[bytes, bytes]]) -> None:
    """Use a log whose newest segment has these rows too, behind right digests."""
    with folder(LOG) as log:
        put(log / "LOCK", b"")
        path = str(log / "segments" / "000001.lmdb")
        env = open_segment(path, map_size=1 << 20)
        try:
            with env.transaction(write=True) as txn:
                for key, value in rows:
                    txn.put(key, xxh3_64_digest(key + value) + value)
        finally:
            env.close()
        run(_use(log))


async def _use(folder_: Path) -> None:
    """Do all that somebody may do with a log, each though the others fail."""
    errors = []
    for use in (_read, _ask, _write, _follow):
        try:
            await use(str(folder_))
        except ALLOWED as error:
            errors.append(error)
    if errors:
        raise errors[0]


async def _read(path: str) -> None:
    async with EventLog(Click, path, settings=SMALL) as log:
        async for _ in log.records(stop="now"):
            pass


async def _ask(path: str) -> None:
    async with open_untyped(path) as log:
        await log.summary()
        for consumer in await log.consumers():
            instant(consumer.registered_us)
        async for _ in log.records(start=5.0, stop="now"):
            pass
        await log.splits()


async def _write(path: str) -> None:
    async with EventLog(Click, path, settings=SMALL, retention=0) as log:
        await log.append(Click("eve", 9))
        await log.register_consumer("job-2", "there", {0: 0})
        async with log.writer(Identity()) as writer:
            await writer.write([Click("eve", 10)])
            token = await writer.pre_commit(4)
            if token is not None:
                await writer.commit(token)


async def _follow(path: str) -> None:
    async with EventLog(Click, path, settings=SMALL) as log:
        async for _ in log.view(stop="now").read("0", 0):
            pass


def _ledger_document(data: bytes) -> None:
    """A row of the ledger; its kind is in it, so that one input is one document."""
    wrapped = decode_json(dict[str, object], data)
    kind, value = wrapped.get("kind"), wrapped.get("row")
    if not isinstance(kind, str) or kind not in KEYS:
        raise CodecError("no such kind")
    try:
        text = encode_json(value)
    except (UnicodeEncodeError, OverflowError) as error:
        raise CodecError("no such document") from error
    key = KEYS[kind] if kind == "a" else KEYS[kind] + b"\0\0\0\1" + b"k" * 12 * (kind != "s")
    _with_rows([(key, text)])


RAW_KEYS = [ledger.FIRST_OFFSETS, ledger.NEXT_OFFSETS, ledger.OLDEST, ledger.SEAL, ledger.BLOCK_TIMES, ledger.OWN]


def _ledger_row(data: bytes) -> None:
    """A row that is no document: which one, how much more its key has, and its value."""
    if len(data) < 2:
        raise CodecError("no row")
    key, more = RAW_KEYS[data[0] % len(RAW_KEYS)], data[1] % 12
    _with_rows([((key + data[2 : 2 + more])[:500], data[2 + more :])])


def _records(data: bytes) -> None:
    """Rows of records, as LMDB gives their values; three in a row."""
    third = len(data) // 3
    read = read_rows("the/segment", 0, 7, [data[:third], data[third : 2 * third], data[2 * third :]])
    list(map(instant, read.stamps))


def _recorded(content: bytes) -> bytes:
    third = len(content) // 3
    parts = [content[:third], content[third : 2 * third], content[2 * third : 3 * third]]
    return b"".join(value for _, value in rows_of(0, 7, parts))


# ---- beside the segments ---------------------------------------------------------------------------------------------


def _token(data: bytes) -> None:
    """Commit and abort what a checkpoint says was staged."""

    async def commit(path: str) -> None:
        async with EventLog(Click, path, settings=SMALL) as log, log.writer(Identity()) as writer:
            errors = []
            for use in (writer.commit, writer.abort):
                try:
                    await use(data)
                except ALLOWED as error:
                    errors.append(error)
            if errors:
                raise errors[0]

    decode_token(data)
    with folder(LOG) as log:
        put(log / "staged" / TOKEN.file, staged(b"\0\0\0\0\0\x0a" + b"x" * 10))
        run(commit(str(log)))
        assert sorted(path.name for path in log.iterdir())[:3] == ["LOCK", "LOG", "segments"]


def _staged(data: bytes) -> None:
    """Read a staged file that is what its token says, whatever it holds."""
    with folder() as place:
        path = put(place / TOKEN.file, data)
        token = Token(1, "j", "o", 0, 1, 3, TOKEN.file, len(data), xxh3_128_hexdigest(data), 1)
        read_staged(FILES, str(path), token, 2, lambda partition, bodies: None)


def staged(frames: bytes) -> bytes:
    return b"ASTAGE01" + frames


def _proof(data: bytes) -> None:
    with folder() as place:
        put(place / "000001.proof", data)
        load_proof(FILES, str(place / "000001.lmdb"))


def _proof_of(content: bytes) -> bytes:
    return content + xxh3_64_digest(content)


def _pages(data: bytes) -> None:
    """Look at pages as they are looked at before LMDB is."""
    pages = Pages(4096)
    pages.add(data)
    with folder() as place:
        newest_meta(FILES, str(put(place / "000001.lmdb", data)))


def _once_a_boot(data: bytes) -> None:
    with folder() as place:
        put(place / ".proved", data)
        SealedProofs(FILES, str(place))._noted()


def _noted(content: bytes) -> bytes:
    line = content.decode(errors="replace")
    return f"\n{xxh3_64_hexdigest(line.encode())} {line}\n".encode()


def _name(data: bytes) -> None:
    whose(data.decode(errors="replace"))


def rows() -> list[bytes]:
    """Give a document of each kind in the ledger."""
    given: dict[str, object] = {
        "a": {"format": 1, "log": json.loads(DOCUMENTS[0])["id"], "segment": 1, "partitions": 1},
        "y": {"fingerprint": "ab" * 8, "shape": {"record": "Click", "by": "name", "fields": [["user", "str", True]]}},
    }
    return [
        json.dumps({"kind": kind, "row": given.get(kind) or json.loads(encode_json(entry))}).encode()
        for kind, _, entry in _ROWS
    ]


FRAMES = [staged(b""), staged(b"\0\0\0\0\0\x02xy" * 3 + b"\0\1\0\0\0\0"), staged(b"\0\0\xff\xff\xff\xffxy")]
PROOFS = [_block(0, [Extent(b"d" * 16, b"\1\2" * 32)] * 2), _block(3, [Extent(b"d" * 16, b"\3" * 64)])]
SEGMENT = (LOG / "segments" / "000001.lmdb").read_bytes()
VALUES = b"".join(value for _, value in rows_of(0, 7, [b"t" * 8 + b"payload"] * 3))

PROMOTED = encode_json(PROMOTION)
RAW_ROWS = [bytes((n, m)) + bytes(20) for n in range(6) for m in (0, 2, 10)]

LOGS = [
    Decoder("LOG", _log_document, DOCUMENTS, DOCUMENTS, sealed, json=True, examples=30),
    Decoder(
        "LOG.2", _promotion, [sealed(encode_json(PROMOTION))], [encode_json(PROMOTION)], sealed, json=True, examples=30
    ),
    Decoder("ledger's documents", _ledger_document, rows(), json=True, examples=50),
    Decoder(
        "ledger's rows", _ledger_row, [bytes((n, m)) + bytes(20) for n in range(6) for m in (0, 2, 10)], examples=100
    ),
    Decoder("records", _records, [VALUES], [b"t" * 8 + b"payload" * 3], _recorded, path="the/segment"),
    Decoder("token", _token, [encode_token(TOKEN)], json=True, examples=30),
    Decoder("staged file", _staged, FRAMES, path=TOKEN.file),
    Decoder("name of a staged file", _name, [TOKEN.file.encode(), b"a-b-0-1-open", b"a-b-" + b"9" * 5_000 + b"-1-3"]),
    Decoder("proofs of pages", _proof, PROOFS, [proof[:-8] for proof in PROOFS], _proof_of),
    Decoder("pages", _pages, [SEGMENT[at : at + 8192] for at in range(0, len(SEGMENT), 8192)], path="000001.lmdb"),
    Decoder("proofs of sealed segments", _once_a_boot, [_noted(b"1 digest 5 5")], [b"1 digest 5 5"], _noted),
]
