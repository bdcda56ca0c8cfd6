"""A store or log that a newer actorstream has written: properly sealed, not damaged, and not ours to read.

Each file says its own format number. The whole job is started on a copy whose one file has a number above ours.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.lease import ClaimNote, JobNote
from actorstream.checkpoints.manifest import Manifest
from actorstream.checkpoints.sealed import seal, unseal
from actorstream.codec.documents import decode_json, encode_json
from actorstream.eventlog.documents import sealed
from actorstream.eventlog.folder import LogDocument
from actorstream.eventlog.ledger import BIRTH, Birth, document, put_document
from actorstream.eventlog.segment import digest_of
from actorstream.state.lmdb_env import open_segment
from actorstream.system.files import RealFiles
from tests.faults.sums import STEPS, attempt, prepare, right_sums

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = RealFiles()
NEWER = 1_000


def newest(folder: Path, pattern: str) -> Path:
    return max(folder.glob(pattern), key=lambda path: (len(str(path)), str(path)))


def newer_job(folder: Path) -> Path:
    path = folder / "store" / "sums" / "JOB"
    note = unseal(JobNote, str(path), path.read_bytes(), newest=1, remedy="")
    path.write_bytes(seal(replace(note, format=NEWER, digest="")))
    return path


def newer_attempt(folder: Path) -> Path:
    path = newest(folder, "store/sums/attempts/*")
    note = unseal(ClaimNote, str(path), path.read_bytes(), newest=1, remedy="")
    path.write_bytes(seal(replace(note, format=NEWER, digest="")))
    return path


def change_manifest(folder: Path, change: Callable[[Manifest], Manifest]) -> Path:
    path = newest(folder, "store/sums/checkpoints/*/manifest.json")
    manifest = unseal(Manifest, str(path), path.read_bytes(), newest=1, remedy="")
    path.write_bytes(seal(replace(change(manifest), digest="")))
    return path


def newer_manifest(folder: Path) -> Path:
    return change_manifest(folder, lambda manifest: replace(manifest, format=NEWER))


def newer_layer(folder: Path) -> Path:
    """Write the newest layer anew with another format entry, and list it as it is then."""
    path = newest(folder, "store/sums/layers/*.lmdb")
    env = open_segment(str(path), map_size=1 << 20)
    with env.transaction(write=True) as txn:
        txn.put(b"\0", b"actorstream layer 1000")
    env.close()
    os.unlink(f"{path}-lock")
    size, digest = path.stat().st_size, digest_of(FILES, str(path))
    change_manifest(
        folder,
        lambda manifest: replace(
            manifest,
            layers=[
                replace(entry, size=size, digest=digest) if entry.name == path.name else entry
                for entry in manifest.layers
            ],
        ),
    )
    return path


def newer_log(folder: Path) -> Path:
    path = folder / "numbers" / "LOG"
    path.write_bytes(encode_json(sealed(replace(decode_json(LogDocument, path.read_bytes()), format=NEWER))))
    return path


def newer_segment(folder: Path) -> Path:
    path = newest(folder, "numbers/segments/*.lmdb")
    env = open_segment(str(path), map_size=1 << 20)
    with env.transaction(write=True) as txn:
        birth = document(str(path), txn, BIRTH, Birth)
        assert birth is not None
        put_document(txn, BIRTH, replace(birth, format=NEWER))
    env.close()
    return path


@pytest.mark.parametrize(
    "make_newer", [newer_job, newer_attempt, newer_manifest, newer_layer, newer_log, newer_segment]
)
async def test_a_newer_format_is_refused_by_name_with_both_numbers_and_nothing_is_touched(
    tmp_path: Path, make_newer: Callable[[Path], Path]
) -> None:
    folder = tmp_path / "job"
    os.mkdir(folder)
    await prepare(str(folder))
    path = make_newer(folder)
    written = path.read_bytes()
    error, ours, message = await attempt(str(folder))
    assert ours
    assert error in {"StoreError", "RestoreError"}
    for words in (str(path), str(NEWER), "newer"):
        assert words in message
    assert path.read_bytes() == written
    assert await right_sums(str(folder)) in {STEPS[0], STEPS[1]}
