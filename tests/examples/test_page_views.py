"""README's first program, as a user runs it: a real uvicorn process, real HTTP, killed and started again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = Path(__file__).parents[2] / "examples" / "page_views"
DEADLINE_SECONDS = 20.0


class Server:
    """A uvicorn process in `folder`, on a free port of loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(APP), "app:app", "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=self.folder, stderr=subprocess.DEVNULL)
        self._until(self._answers)

    def post(self, page: str) -> None:
        self.client.post("/clicks", json={"user": "ann", "page": page}).raise_for_status()

    def views(self, page: str) -> int:
        return int(self.client.get(f"/views/{page}").raise_for_status().json())

    def until_views(self, page: str, expected: int) -> None:
        self._until(lambda: self.views(page) >= expected)
        assert self.views(page) == expected

    def end(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(DEADLINE_SECONDS)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the server died"
        try:
            return self.client.get("/views/none").is_success
        except httpx.TransportError:
            return False

    @staticmethod
    def _until(condition: object) -> None:
        end = time.monotonic() + DEADLINE_SECONDS
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    if server.process is not None and server.process.poll() is None:
        server.process.kill()
        server.process.wait()
    server.client.close()


@pytest.mark.crash
@pytest.mark.timeout(90)
def test_counts_go_on_exactly_after_kill_9(server: Server) -> None:
    """What was answered with 200 is on disk; killed twice, it is counted once."""
    server.start()
    for _ in range(50):
        server.post("home")
    server.until_views("home", 50)
    for _ in range(20):
        server.post("home")
    server.end(signal.SIGKILL)

    server.start()
    server.until_views("home", 70)
    server.post("about")
    server.end(signal.SIGKILL)

    server.start()
    server.until_views("home", 70)
    server.until_views("about", 1)
    server.end(signal.SIGTERM)
    assert server.process is not None
    assert server.process.returncode in {0, -signal.SIGTERM}
