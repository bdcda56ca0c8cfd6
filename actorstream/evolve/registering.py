"""A savepoint among those that a log keeps records for, under the name that a job would give it.

    <job>/<source>@<savepoint>               positions of the savepoint; its folder is noted beside
    <job>/<source>@<savepoint>~<its folder>  where another one of that name is registered, and is still there

The second name is that of copies: a savepoint that was imported, or written from another one, is of the same job.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from xxhash import xxh3_64_hexdigest

from actorstream.checkpoints.savepoints import delete_savepoint
from actorstream.errors import StoreError
from actorstream.eventlog.untyped import open_untyped
from actorstream.runtime.restoring import positions_in
from actorstream.runtime.retaining import consumer_of
from actorstream.system.current import current_world, use_world
from actorstream.system.offload import ThreadOffload

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actorstream.checkpoints.manifest import Manifest
    from actorstream.eventlog.log import EventLog

R = TypeVar("R")


async def register(folder: str, manifest: Manifest) -> dict[str, StoreError]:
    """Let every log that the job reads keep what the savepoint in `folder` needs.

    Returns:
        By path, why a log was not told. One that is not there yet is none of these: there is nothing to keep.
    """
    problems: dict[str, StoreError] = {}
    sources = {name: splits for name, splits in manifest.sources.items() if name in manifest.logs}
    positions = positions_in(replace(manifest, sources=sources))
    for source, path in manifest.logs.items():
        try:
            if not await current_world().offload.run(current_world().files.exists, path):
                continue
            async with open_untyped(path) as log:
                (plain, taken), (other, _) = (await _names(log, manifest.job, source, folder)).items()
                name = plain if taken in {"", folder} else other
                read = {split: at.position for split, at in positions.get(source, {}).items()}
                await log.keep_for(name, folder, read)
        except StoreError as error:
            problems[path] = error
    return problems


async def forget(folder: str, manifest: Manifest) -> dict[str, tuple[str, StoreError]]:
    """Let every log forget the savepoint in `folder`, which is gone.

    Returns:
        By path, the name under which a log could not be told to, and why.
    """
    problems: dict[str, tuple[str, StoreError]] = {}
    for source, path in manifest.logs.items():
        name = consumer_of(manifest.job, source, folder)
        try:
            async with open_untyped(path) as log:
                names = await _names(log, manifest.job, source, folder)
                for name, store in names.items():
                    if store == folder:
                        await log.drop_consumer(name)
        except StoreError as error:
            problems[path] = name, error
    return problems


def register_written(folder: str, manifest: Manifest) -> None:
    """Register a savepoint that was just written, or take it back: nobody would keep its records. Blocking.

    Raises:
        StoreError: A log could not be told; the savepoint is gone, unless the message says otherwise, and those logs
            that were told before have forgotten it.
    """
    for path, error in _in_a_thread(register, folder, manifest).items():
        left = ""
        try:
            take_back(folder, manifest)
        except StoreError as other:
            left = f"; {folder} could not be deleted either ({other}): delete it yourself"
        raise StoreError(f"the log {path} could not be told to keep what {folder} needs: {error}{left}") from error


def take_back(folder: str, manifest: Manifest) -> None:
    """Delete a savepoint whose records may have gone, and let the logs forget it. Blocking.

    Raises:
        StoreError: It could not be deleted; the logs know of it still.
    """
    delete_savepoint(current_world().files, folder)
    _in_a_thread(forget, folder, manifest)


def _in_a_thread(do: Callable[[str, Manifest], Coroutine[Any, Any, R]], folder: str, manifest: Manifest) -> R:
    """Run it on a loop of its own: one may be running in the caller's thread; threads are counted by a loop alone."""
    world = current_world()

    def run() -> R:
        with use_world(replace(world, offload=ThreadOffload())):
            return asyncio.run(do(folder, manifest))

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(copy_context().run, run).result()


async def _names(log: EventLog[object], job: str, source: str, folder: str) -> dict[str, str]:
    """Give both names that the savepoint may have, each with the folder that is registered so: "" if none is."""
    plain = consumer_of(job, source, folder)
    other = f"{plain}~{xxh3_64_hexdigest(folder.encode())}"
    stores = {consumer.name: consumer.store for consumer in await log.consumers()}
    files = current_world().files
    found = stores.get(plain, "")
    if found and not await current_world().offload.run(files.exists, found):
        found = folder  # it was moved here, or is gone
    return {plain: found, other: stores.get(other, "")}
