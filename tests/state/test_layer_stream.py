"""Streams: one freeze into a file of its own, whatever happens to the child, the caller and the disk."""

from __future__ import annotations

import os
import shutil
import signal
from itertools import count
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import anyio
import pytest

from actorstream.errors import InvariantError, StoreError
from actorstream.model.ids import LayerName
from actorstream.model.world import World
from actorstream.state import writer_process
from actorstream.state.layer_stream import Allowance
from actorstream.state.writer import LayerWriter
from actorstream.system.current import current_world
from actorstream.system.files import RealFiles
from actorstream.system.offload import ThreadOffload
from actorstream.testing.faults import Fault, FaultyFiles
from tests.state.rig import QuickFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from actorstream.model.world import FileSystem
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer
    from actorstream.state.layer_stream import LayerStream

P = ParamSpec("P")
R = TypeVar("R")
RUNS = 8
VALUE = b"v" * 100


class CountedOffload(ThreadOffload):
    """Threads, and how often one was needed."""

    calls = 0

    async def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        self.calls += 1
        return await super().run(fn, *args, **kwargs)


class Rig:
    """A writer with a child of its own."""

    def __init__(self, folder: Path, *, child: bool = True, files: FileSystem | None = None) -> None:
        self.folder = folder
        self.offload = CountedOffload()
        real = current_world()
        numbers = count(1)
        world = World(real.clock, files or RealFiles(), self.offload, real.random)
        self.writer = LayerWriter(world, str(folder), lambda: LayerName(f"1-0-{next(numbers)}.lmdb"), child=child)

    @property
    def child(self) -> int:
        process = self.writer._process
        assert process is not None, "no child"
        return process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.child, number)

    def names(self) -> list[str]:
        return sorted(name for name in os.listdir(self.folder) if name.endswith(".lmdb"))

    async def layer_of(self, name: str, runs: int = RUNS) -> Layer:
        async with self.writer.stream(name) as stream:
            await send(stream, name, range(runs))
            return await stream.finish()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Give a writer that may start a child, and see to it that it is gone at the end."""
    rig = Rig(tmp_path)
    yield rig
    process = rig.writer._process
    await rig.writer.close()
    if process is not None:
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


def run_of(name: str, number: int, entries: int = 500) -> list[Entry]:
    """Give entries in no order."""
    return [(f"{name} {(at * 7919 + number) % entries:05} {number:04}".encode(), VALUE) for at in range(entries)]


async def send(stream: LayerStream, name: str, numbers: range) -> None:
    for number in numbers:
        await stream.send(run_of(name, number))


def holds(layer: Layer, name: str, runs: int = RUNS) -> bool:
    """Tell whether the layer holds exactly the runs of this name; gives the layer up."""
    with layer:
        expected = sorted(entry for number in range(runs) for entry in run_of(name, number))
        return list(layer.scan(b"")) == expected


async def test_large_freeze_goes_through_the_child_and_needs_no_thread(rig: Rig) -> None:
    """A thread starves beside a loop that somebody keeps busy."""
    assert holds(await rig.layer_of("a"), "a")
    first = rig.child
    assert holds(await rig.layer_of("b"), "b")
    assert rig.child == first
    assert rig.offload.calls == 0


async def test_streams_side_by_side_do_not_mix(rig: Rig) -> None:
    layers: dict[str, Layer] = {}

    async def freeze(name: str) -> None:
        layers[name] = await rig.layer_of(name)

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(freeze, name)
    assert all(holds(layers[name], name) for name in "abc")
    assert len(rig.names()) == 3


@pytest.mark.parametrize("child", [True, False])
async def test_what_is_not_finished_is_removed(tmp_path: Path, child: bool) -> None:
    """Also when a user of the stream fails: the file is nobody's then."""
    rig = Rig(tmp_path, child=child)

    async def freeze() -> None:
        async with rig.writer.stream("a") as stream:
            await send(stream, "a", range(30))
            raise ValueError("of the caller")

    with pytest.raises(ValueError, match="of the caller"):
        await freeze()
    await rig.writer.close()
    assert rig.names() == []


@pytest.mark.crash
@pytest.mark.parametrize("sent", [1, RUNS])
async def test_killed_child_loses_nothing_a_thread_writes_the_layer(
    rig: Rig, sent: int, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGKILL in the middle of a stream, or while it is finishing; no half file is left, and one line in the log."""
    async with rig.writer.stream("a") as stream:
        await send(stream, "a", range(sent))
        pid = rig.child
        rig.signal(signal.SIGSTOP)  # or it may have finished before it is killed
        layers: list[Layer] = []

        async def go_on() -> None:
            await send(stream, "a", range(sent, RUNS))
            layers.append(await stream.finish())

        async with anyio.create_task_group() as group:
            group.start_soon(go_on)
            await anyio.wait_all_tasks_blocked()
            os.kill(pid, signal.SIGKILL)
    assert holds(layers[0], "a")
    assert rig.names() == ["1-0-2.lmdb"]
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert f"process {pid}" in record.getMessage()
    assert "exit code -9" in record.getMessage()
    assert holds(await rig.layer_of("b"), "b")
    assert rig.child != pid


@pytest.mark.crash
async def test_child_that_dies_idle_is_replaced(rig: Rig) -> None:
    assert holds(await rig.layer_of("a"), "a")
    rig.signal(signal.SIGKILL)
    assert holds(await rig.layer_of("b"), "b")
    assert holds(await rig.layer_of("c"), "c")
    assert rig.writer._process is not None


@pytest.mark.crash
async def test_freeze_too_large_to_be_kept_fails_with_its_child(rig: Rig) -> None:
    """Not all that was sent may stay in memory: it goes out again with the next freeze, as after a full disk."""
    rig.writer._allowance = Allowance(100_000)

    async def freeze_much() -> None:
        async with rig.writer.stream("large") as stream:
            await send(stream, "large", range(2))
            rig.signal(signal.SIGKILL)
            await stream.finish()

    async with rig.writer.stream("small") as small:
        await send(small, "small", range(1))
        with pytest.raises(StoreError, match=r"1-0-2\.lmdb: the child that wrote it was lost.*exit code -9"):
            await freeze_much()
        assert holds(await small.finish(), "small", 1)
    assert len(rig.names()) == 1
    assert rig.writer._allowance._left == 100_000


@pytest.mark.crash
@pytest.mark.parametrize("at", ["send", "finish"])
async def test_cancelled_stream_leaves_the_pipe_in_step_and_no_file(rig: Rig, at: str) -> None:
    """The child stands still, so that the caller is cancelled while it waits for room, or for the answer."""
    assert holds(await rig.layer_of("before"), "before")
    rig.signal(signal.SIGSTOP)
    async with anyio.create_task_group() as group:

        async def freeze() -> None:
            async with rig.writer.stream("cancelled") as stream:
                await send(stream, "cancelled", range(1 if at == "finish" else 1_000))
                await stream.finish()

        group.start_soon(freeze)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    rig.signal(signal.SIGCONT)
    assert holds(await rig.layer_of("after"), "after")
    assert rig.names() == ["1-0-1.lmdb", "1-0-3.lmdb"]


async def test_disk_error_of_the_child_is_the_callers_and_the_child_goes_on(rig: Rig) -> None:
    """Back-pressure or not: a stream that has failed says so at the next call at the latest."""
    assert holds(await rig.layer_of("a"), "a")
    pid = rig.child
    shutil.rmtree(rig.folder)
    with pytest.raises(StoreError, match=r"1-0-2\.lmdb.*No such file"):
        await rig.layer_of("b")
    rig.folder.mkdir()
    assert holds(await rig.layer_of("c"), "c")
    assert rig.child == pid


async def test_error_that_is_not_the_disks_comes_from_the_thread(rig: Rig) -> None:
    """Our own bug: the child ends with a traceback, and the thread says it in its own words (T134)."""

    async def freeze() -> None:
        async with rig.writer.stream("a") as stream:
            await stream.send([(b"entry", b"1")])
            await stream.send([(b"entry", b"2")])
            await stream.finish()

    with pytest.raises(InvariantError, match="an entry key came twice"):
        await freeze()
    assert rig.names() == []


@pytest.mark.crash
@pytest.mark.parametrize("runs", [1, 100])
async def test_child_that_stands_still_is_given_up(rig: Rig, runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, or caught in a disk that hangs: the snapshot must not wait for ever."""
    assert holds(await rig.layer_of("a"), "a")
    monkeypatch.setattr(writer_process, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(writer_process, "_BYTES_A_SECOND", 1e12)
    rig.writer._allowance = Allowance(1 << 30)
    rig.signal(signal.SIGSTOP)
    assert holds(await rig.layer_of("b", runs), "b", runs)


async def test_layer_of_no_run_at_all_is_a_layer(rig: Rig) -> None:
    with await rig.layer_of("a", 0) as layer:
        assert layer.file.entries == 0


async def test_thread_stream_after_any_fault_of_the_disk_leaves_nothing(tmp_path: Path) -> None:
    """Each call fails once, until no fault fires: a layer as a whole, or an error and no file."""
    for nth in count(1):
        files = FaultyFiles(QuickFiles(), Fault(nth, "EIO"))
        folder = tmp_path / str(nth)
        folder.mkdir()
        rig = Rig(folder, child=False, files=files)
        try:
            layer = await rig.layer_of("a", 30)
        except StoreError as error:
            assert "Input/output error" in str(error)  # noqa: PT017  (most faults fail the layer, some do not)
            assert rig.names() == []
        else:
            assert holds(layer, "a", 30)
            assert rig.names() == ["1-0-1.lmdb"]
        if files.fired is None:
            assert nth > 3
            break
