"""Group commit: one file for what waits together, never two freezes of one owner, nobody hurt by another."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from itertools import count
from typing import TYPE_CHECKING

import anyio
import pytest

from actorstream.errors import StoreError
from actorstream.model.ids import LayerName
from actorstream.model.world import World
from actorstream.state.writer import LayerWriter
from actorstream.system.current import SystemClock, current_world
from actorstream.system.files import RealFiles
from tests.state.rig import encode_all, restored, state_over

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.model.world import Clock, FileSystem
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer


def writer_in(
    folder: Path, files: FileSystem | None = None, *, child: bool = False, clock: Clock | None = None
) -> LayerWriter:
    real = current_world()
    numbers = count(1)
    world = World(clock or real.clock, files or RealFiles(), real.offload, real.random)
    return LayerWriter(world, str(folder), lambda: LayerName(f"1-0-{next(numbers)}.lmdb"), child=child)


def entry(text: str) -> list[list[Entry]]:
    return [[(b"entry-" + text.encode(), b"v")]]


class Gate(RealFiles):
    """Lets a test hold the writing thread in its first sync."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self.fail_once = False

    def sync(self, path: str, /) -> None:
        self.reached.set()
        assert self.open.wait(10)
        if self.fail_once:
            self.fail_once = False
            raise OSError(5, "Input/output error")
        super().sync(path)


async def test_what_waits_together_is_one_file(tmp_path: Path) -> None:
    """A checkpoint of 2,000 small actors costs a few files; each of them has a count of the layer.

    T131: a reader begun beside the writing transaction would see an empty file; this one sees the last entry.
    """
    writer = writer_in(tmp_path)
    layers: list[Layer] = []

    async def submit(name: str) -> None:
        layers.append(await writer.write(name, entry(name)))

    async with anyio.create_task_group() as group:
        for name in "abcd":
            group.start_soon(submit, name)
    assert len(set(layers)) == 1
    assert RealFiles().list_dir(str(tmp_path)) == ["1-0-1.lmdb"]
    for layer in layers:
        assert layer.get(b"entry-d") == b"v"
        layer.release()
    assert layers[0].closed


async def test_two_freezes_of_one_owner_never_share_a_file_t134(tmp_path: Path) -> None:
    """The manifest of the first barrier lists the first file: it must show nothing from behind that barrier.

    Without the rule the second epoch's key `b` would be restored with the first barrier.
    """
    writer = writer_in(tmp_path)
    state = state_over()
    state.rows.live["a"] = 1
    first = state.freeze()
    state.rows.live["b"] = 2
    second = state.freeze()
    assert first is not None
    assert second is not None
    layers: dict[int, Layer] = {}

    async def submit(number: int, parts: list[list[Entry]]) -> None:
        layers[number] = await writer.write("owner", parts)

    async with anyio.create_task_group() as group:
        group.start_soon(submit, 1, encode_all(first))
        group.start_soon(submit, 2, encode_all(second))
    state.on_written(first, layers[1])
    at_first_barrier = restored(state)
    state.on_written(second, layers[2])

    assert (at_first_barrier.rows.peek("a"), repr(at_first_barrier.rows.peek("b"))) == (1, "MISSING")
    assert restored(state).rows.peek("b") == 2


async def test_failed_disk_fails_everyone_in_the_file_and_the_next_file_is_new(tmp_path: Path) -> None:
    """Each caller gets an error of its own; a name is never used again."""
    files = Gate()
    files.open.set()
    files.fail_once = True
    writer = writer_in(tmp_path, files)
    errors: list[StoreError] = []

    async def submit(name: str) -> None:
        with pytest.raises(StoreError, match="Input/output error") as caught:
            await writer.write(name, entry(name))
        errors.append(caught.value)

    async with anyio.create_task_group() as group:
        group.start_soon(submit, "a")
        group.start_soon(submit, "b")
    assert len(set(map(id, errors))) == 2
    layer = await writer.write("a", entry("a"))
    assert layer.file.name == "1-0-2.lmdb"
    layer.release()


async def test_cancelled_follower_hurts_no_other(tmp_path: Path) -> None:
    """One waits for the next file, one is in the file being written: both go, the leader gets its layer."""
    files = Gate()
    writer = writer_in(tmp_path, files)
    layers: list[Layer] = []

    async def submit(name: str) -> None:
        layers.append(await writer.write(name, entry(name)))

    async with anyio.create_task_group() as group:
        group.start_soon(submit, "leader")
        async with anyio.create_task_group() as others:
            others.start_soon(submit, "in the file")
            await anyio.to_thread.run_sync(files.reached.wait)
            others.start_soon(submit, "waits")
            await anyio.wait_all_tasks_blocked()
            others.cancel_scope.cancel()
        files.open.set()
    (layer,) = layers
    layer.release()
    assert layer.closed
    assert len(RealFiles().list_dir(str(tmp_path))) == 1


@pytest.mark.parametrize("blocked", [True, False])
async def test_cancelled_leader_hurts_no_other(tmp_path: Path, blocked: bool) -> None:
    """Whether it is cancelled before the thread starts or while it works, the others get a layer."""
    files = Gate()
    writer = writer_in(tmp_path, files)
    layers: list[Layer] = []

    async def submit(name: str) -> None:
        layers.append(await writer.write(name, entry(name)))

    async with anyio.create_task_group() as group, anyio.create_task_group() as leader:
        leader.start_soon(submit, "leader")
        group.start_soon(submit, "follower")
        if blocked:
            await anyio.to_thread.run_sync(files.reached.wait)
        leader.cancel_scope.cancel()
        files.open.set()
    assert [layer.get(b"entry-follower") for layer in layers[-1:]] == [b"v"]
    for layer in layers:
        layer.release()
    assert layers[-1].closed


@pytest.mark.parametrize("where", ["before the thread", "in the thread"])
async def test_error_that_is_not_the_disks_stays_with_the_leader(tmp_path: Path, where: str) -> None:
    """A bug in one file's making must not be told to others as theirs: they write another file."""
    broken = ["once"]

    def break_once(at: str) -> None:
        if broken and at == where:
            broken.clear()
            raise RuntimeError("a bug")

    class Buggy(RealFiles):
        def sync(self, path: str, /) -> None:
            break_once("in the thread")

    writer = writer_in(tmp_path, Buggy())
    name = writer._names

    def names() -> LayerName:
        break_once("before the thread")
        return name()

    writer._names = names
    outcomes: list[str] = []

    async def submit(owner: str) -> None:
        try:
            with await writer.write(owner, entry(owner)) as layer:
                outcomes.append(f"{owner} has {layer.file.entries}")
        except RuntimeError as error:
            outcomes.append(f"{owner}: {error}")

    async with anyio.create_task_group() as group:
        group.start_soon(submit, "a")
        group.start_soon(submit, "b")
    assert sorted(outcomes) == ["a: a bug", "b has 1"]


class SlowClock(SystemClock):
    """A second passes between two looks at it."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


async def write_one(writer: LayerWriter, text: str) -> None:
    with await writer.write(text, entry(text)) as layer:
        assert layer.get(b"entry-" + text.encode()) == b"v"


async def test_small_freezes_stay_in_a_thread_until_a_child_runs_anyway(tmp_path: Path) -> None:
    """Most jobs never need a process; one that has it need not start threads beside a busy loop."""
    writer = writer_in(tmp_path, child=True)
    await write_one(writer, "a")
    assert writer._process is None
    async with writer.stream("large") as stream:
        await stream.send(entry("b")[0])
        (await stream.finish()).release()
    process = writer._process
    assert process is not None
    await write_one(writer, "c")
    assert process.written == 2
    await writer.close()


async def test_owner_that_computes_no_more_needs_no_child(tmp_path: Path) -> None:
    """The last freeze of a short job: starting a child takes longer than writing. One that runs is used."""
    writer = writer_in(tmp_path, child=True)
    for calm, running in [(True, False), (False, True), (True, True)]:
        written = 0 if writer._process is None else writer._process.written
        async with writer.stream("large", calm=calm) as stream:
            await stream.send(entry("b")[0])
            (await stream.finish()).release()
        assert (writer._process is not None) == running
        assert writer._process is None or writer._process.written == written + 1
    await writer.close()


async def test_starved_thread_is_followed_by_a_child(tmp_path: Path) -> None:
    """Somebody spins on `sleep(0)`: no thread gets its turn (SPEED: a 10 ms job took 2.5 s)."""
    writer = writer_in(tmp_path, child=True, clock=SlowClock())
    await write_one(writer, "a")
    assert writer._process is None
    await write_one(writer, "b")
    assert writer._process is not None
    await writer.close()


async def test_group_that_its_child_fails_is_written_by_a_thread(tmp_path: Path) -> None:
    """Group commit and streams share the child, and what happens to it."""
    writer = writer_in(tmp_path, child=True, clock=SlowClock())
    await write_one(writer, "a")
    await write_one(writer, "b")
    assert writer._process is not None
    os.kill(writer._process.pid, signal.SIGKILL)
    async with anyio.create_task_group() as group:
        group.start_soon(write_one, writer, "c")
        group.start_soon(write_one, writer, "d")
    assert [name for name in RealFiles().list_dir(str(tmp_path)) if name.endswith(".lmdb")] == [
        "1-0-1.lmdb",
        "1-0-2.lmdb",
        "1-0-4.lmdb",
    ]
    await writer.close()


@pytest.mark.parametrize("trouble", ["frozen", "missing", "stranger"])
async def test_where_no_child_can_be_had_a_thread_writes_and_the_log_says_so_three_times_at_most(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A frozen program would start itself again; an embedding one may be no Python at all."""
    if trouble == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr(sys, "executable", "/nowhere/python" if trouble == "missing" else "/bin/echo")
    writer = writer_in(tmp_path, child=True)
    for number in range(5):
        async with writer.stream("large") as stream:
            await stream.send(entry(str(number))[0])
            with await stream.finish() as layer:
                assert layer.get(f"entry-{number}".encode()) == b"v"
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    reason = {"frozen": "this program is frozen", "missing": "No such file", "stranger": "writer_child, process"}[
        trouble
    ]
    assert len(said) == 3
    assert all(reason in each for each in said)
    await writer.close()


@pytest.mark.crash
async def test_close_leaves_no_child_whatever_state_it_is_in(tmp_path: Path) -> None:
    """One that stands still is killed at the deadline, one whose closing is cancelled too; a second close is fine."""
    for how in ("idle", "stopped", "cancelled"):
        writer = writer_in(tmp_path / how, child=True)
        (tmp_path / how).mkdir()
        stream = writer.stream("large")
        await stream.send(entry("a")[0])
        process = writer._process
        assert process is not None
        if how != "idle":
            os.kill(process.pid, signal.SIGSTOP)
        if how == "cancelled":
            closing = asyncio.get_running_loop().create_task(writer.close(30))
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
        else:
            await writer.close(0.2)
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)
        await writer.close()
        await stream.abandon()
        assert RealFiles().list_dir(str(tmp_path / how)) == []


async def test_outcome_of_a_large_group_is_told_in_several_turns(tmp_path: Path) -> None:
    """Each of 2,000 subtasks has work to do then: all of it in one turn would be one long hold of the loop."""
    writer = writer_in(tmp_path)
    turn = 0
    told: list[int] = []

    async def submit(number: int) -> None:
        (await writer.write(number, entry(f"{number:04}"))).release()
        told.append(turn)

    async def count_turns() -> None:
        nonlocal turn
        while len(told) < 300:
            await asyncio.sleep(0)
            turn += 1

    async with anyio.create_task_group() as group:
        group.start_soon(count_turns)
        for number in range(300):
            group.start_soon(submit, number)
    assert max(told.count(each) for each in told) <= 100
    assert RealFiles().list_dir(str(tmp_path)) == ["1-0-1.lmdb"]


async def test_lead_goes_on_when_those_it_went_to_are_cancelled(tmp_path: Path) -> None:
    """One writes, two wait, and the first of them is told to lead and cancelled in the same turn."""
    files = Gate()
    writer = writer_in(tmp_path, files)
    done: list[str] = []

    async def submit(name: str) -> None:
        (await writer.write(name, entry(name))).release()
        done.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(submit, "leader")
        await anyio.to_thread.run_sync(files.reached.wait)
        async with anyio.create_task_group() as heirs:
            heirs.start_soon(submit, "heir")
            await anyio.wait_all_tasks_blocked()
            group.start_soon(submit, "last")
            await anyio.wait_all_tasks_blocked()
            files.open.set()
            while not done:  # noqa: ASYNC110  (the turn after is too late)
                await asyncio.sleep(0)
            heirs.cancel_scope.cancel()
    assert done[0] == "leader"
    assert "last" in done
    assert not writer._led
