"""Savepoints for tests: a real job's checkpoint, laid out as the folder that a person keeps.

    <folder>/manifest.json
             layers/<layer>.lmdb     links to the store's files

And what tests do with them: pack, unpack, damage, look inside.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

from xxhash import xxh3_128_hexdigest

from actorstream.checkpoints.archive import Exported, export_savepoint
from actorstream.checkpoints.archive_stream import _zstd
from actorstream.checkpoints.manifest import LayerEntry, Manifest, seal
from actorstream.checkpoints.savepoints import LAYERS, MANIFEST
from actorstream.checkpoints.unpacking import import_savepoint
from actorstream.checkpoints.view import StoreView
from actorstream.model.ids import AttemptNumber, CheckpointId, LayerName
from actorstream.protocol.attempts import Claim
from actorstream.system.files import RealFiles
from tests.checkpoints.stores import manifest_of
from tests.crash.orders import Order, build, orders_log, output_log, wait_count

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actorstream.model.world import FileSystem

FILES = RealFiles()
TOKEN = "0123abcd"
MIB = 1 << 20
ORDERS = [Order(number, f"customer {number % 7}", number) for number in range(60)]


def run_job(folder: Path) -> Path:
    """Run the job of the crash tests for a few checkpoints; give its folder in the store."""

    async def run() -> None:
        async with build(str(folder)).run(store=folder / "store", checkpoint_interval=0.02):
            for done in (20, 40, 60):
                await orders_log(str(folder)).extend(ORDERS[done - 20 : done])
                await wait_count(output_log(str(folder), "updates"), done)

    asyncio.run(run())
    return folder / "store" / "orders"


def lay_out(job: Path, target: Path) -> Manifest:
    """Make a savepoint of the newest checkpoint of a job's store, by linking; give its manifest."""
    view = StoreView(RealFiles(), str(job))
    manifest = view.read(view.checkpoint_ids()[-1])
    (target / LAYERS).mkdir(parents=True, mode=0o700)
    os.chmod(target, 0o700)
    for entry in manifest.layers:
        os.link(view.layer_path(entry.name), target / LAYERS / entry.name)
    write_manifest(target, manifest)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put a sealed manifest into a savepoint's folder."""
    path = folder / MANIFEST
    path.write_bytes(seal(manifest))
    path.chmod(0o600)


def make_savepoint(folder: Path) -> Path:
    """Run a job and give a savepoint of it, of several layers."""
    manifest = lay_out(run_job(folder), folder / "savepoints" / "kept")
    assert len(manifest.layers) > 2
    return folder / "savepoints" / "kept"


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file below, by its path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def pack(
    savepoint: Path, target: Path, *, files: FileSystem = FILES, tell: Callable[[int, int], None] | None = None
) -> Exported:
    return export_savepoint(files, str(savepoint), str(target), token=TOKEN, tell=tell)


def unpack(archive: Path, folder: Path, *, files: FileSystem = FILES) -> Manifest:
    return import_savepoint(files, str(archive), str(folder))


def copied(savepoint: Path, target: Path) -> Path:
    """Give a savepoint that may be changed, in another place."""
    return shutil.copytree(savepoint, target)


def large(folder: Path, size: int) -> Path:
    """Make a savepoint with one layer of bytes that hardly compress."""
    content = os.urandom(size)
    (folder / LAYERS).mkdir(parents=True)
    name = LayerName("1-main-1.lmdb")
    (folder / LAYERS / name).write_bytes(content)
    entry = LayerEntry(name, size, xxh3_128_hexdigest(content), 1)
    write_manifest(folder, manifest_of(Claim(AttemptNumber(1), CheckpointId(1)), 1, [entry]))
    return folder


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def compressed(tar: bytes) -> bytes:
    """Give one zstd frame, as others make it."""
    data: bytes = _zstd().compress(tar)
    return data


def tar_of(archive: Path) -> bytes:
    """Give what is in the frame of an archive."""
    tar: bytes = _zstd().decompress(archive.read_bytes())
    return tar
