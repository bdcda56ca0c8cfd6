"""A child process: found from anywhere, fed without waiting, never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from actorstream.state.writer_frames import Kind, pack
from actorstream.system.child import ROOM_BYTES, Child, ChildLostError

if TYPE_CHECKING:
    from pathlib import Path

MODULE = "actorstream.state.writer_child"


class Ears:
    """What a child said, and whether it is lost."""

    def __init__(self) -> None:
        self.heard = b""
        self.losses = 0
        self.lost = asyncio.Event()
        self.said = asyncio.Event()

    def start(self, module: str = MODULE) -> Child:
        return Child(module, self._hear, self._lose)

    def _hear(self, data: bytes) -> None:
        self.heard += data
        self.said.set()

    def _lose(self) -> None:
        self.losses += 1
        self.lost.set()


async def answer(ears: Ears, child: Child) -> bytes:
    """Let the writer child say something: that this folder is not there."""
    child.feed(pack(Kind.BEGIN, 1, b"/nowhere/at/all.lmdb"))
    async with asyncio.timeout(10):
        await ears.said.wait()
    return ears.heard


async def test_child_is_found_whatever_the_host_did_to_its_folder_and_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The working folder is gone, PYTHONPATH points elsewhere, and a file of a user has a module's name."""
    gone = tmp_path / "gone"
    gone.mkdir()
    (tmp_path / "struct.py").write_text("raise RuntimeError('this is no module of Python')")
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("PYTHONINSPECT", "1")
    monkeypatch.setattr(sys, "path", ["", "relative", *sys.path])
    ears = Ears()
    child = ears.start()
    assert b"/nowhere/at/all.lmdb" in await answer(ears, child)
    await child.close(5)
    assert (child.loss or "").endswith("with exit code 0; it said: nothing")


async def test_file_in_the_working_folder_does_not_stand_in_for_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's `lmdb.py` beside the script: the host found the real one before, so must the child."""
    for name in ("lmdb", "msgspec", "actorstream"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('shadowed')")
    monkeypatch.chdir(tmp_path)
    ears = Ears()
    child = ears.start()
    assert b"/nowhere/at/all.lmdb" in await answer(ears, child)
    await child.close(5)


async def test_last_words_are_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    ears = Ears()
    child = ears.start("actorstream.no_such_module")
    async with asyncio.timeout(10):
        await ears.lost.wait()
    assert "exit code 1; it said: Traceback" in (child.loss or "")
    assert "ModuleNotFoundError: No module named 'actorstream.no_such_module'" in (child.loss or "")
    with pytest.raises(ChildLostError, match="ModuleNotFoundError"):
        child.feed(b"")
    with pytest.raises(ChildLostError, match="ModuleNotFoundError"):
        await child.wait_room()
    await child.close(1)
    assert ears.losses == 1


@pytest.mark.crash
async def test_feeding_never_waits_and_room_is_waited_for(tmp_path: Path) -> None:
    """A child that stands still fills its pipe, then our queue; a cancelled waiter takes none of it back."""
    ears = Ears()
    child = ears.start()
    os.kill(child.pid, signal.SIGSTOP)
    begin = pack(Kind.BEGIN, 1, os.fsencode(tmp_path / "1-0-1.lmdb"))
    child.feed(begin)
    await child.wait_room()
    orders = pack(Kind.RUN, 2, b"x" * 100_000) * 30
    child.feed(orders)
    with anyio.move_on_after(0.05) as scope:
        await child.wait_room()
    assert scope.cancelled_caught
    child.feed(pack(Kind.BEGIN, 3, b"/nowhere/at/all.lmdb"))
    os.kill(child.pid, signal.SIGCONT)
    await child.wait_room()
    assert child._waiting_bytes <= ROOM_BYTES
    async with asyncio.timeout(10):
        await ears.said.wait()
    assert b"/nowhere/at/all.lmdb" in ears.heard
    await child.close(5)


@pytest.mark.crash
async def test_end_of_input_comes_after_all_that_was_fed(tmp_path: Path) -> None:
    """Closing while much waits for the pipe: it goes out first."""
    ears = Ears()
    child = ears.start()
    child.feed(pack(Kind.RUN, 2, b"x" * 5_000_000) + pack(Kind.BEGIN, 3, b"/nowhere/at/all.lmdb"))
    await child.close(10)
    assert b"/nowhere/at/all.lmdb" in ears.heard
    assert "exit code 0" in (child.loss or "")
    with pytest.raises(ChildLostError, match="exit code 0"):
        child.feed(b"x")


@pytest.mark.crash
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_child_is_fed_and_its_death_noticed_on_every_loop(loop: str) -> None:
    factory = pytest.importorskip("uvloop").Loop if loop == "uvloop" else None

    async def main() -> None:
        ears = Ears()
        child = ears.start()
        await answer(ears, child)
        child.feed(pack(Kind.RUN, 2, b"x" * 3_000_000))
        await child.wait_room()
        os.kill(child.pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            await ears.lost.wait()
        assert "exit code -9" in (child.loss or "")
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
