"""The command line in this process and in processes of its own."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actorstream.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    status: int
    out: str
    err: str


class Shell:
    """A working directory in which commands are run."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Work in `folder`."""
        self.folder = folder
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self._started: list[subprocess.Popen[str]] = []

    def __call__(self, *arguments: str) -> Outcome:
        """Run a command in this process."""
        self._monkeypatch.setattr(sys, "argv", ["actorstream", *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = self._capsys.readouterr()
        return Outcome(int(leaving.value.code or 0), captured.out, captured.err)

    def process(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command as a process of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "actorstream.cli.main", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def write(self, name: str, text: str) -> None:
        """Make a file."""
        (self.folder / name).write_text(text)

    def close(self) -> None:
        """End what is still running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """Give a shell in an empty folder; what commands import and set up is undone afterwards."""
    logger = logging.getLogger("actorstream")
    level, handlers = logger.level, list(logger.handlers)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    shell = Shell(tmp_path, capsys, monkeypatch)
    yield shell
    shell.close()
    logger.setLevel(level)
    logger.handlers[:] = handlers
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
