"""README keeps its word: its programs and commands are run as they stand there, its links and targets exist."""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer.main

from actorstream.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FIRST_SCREEN, WORD_COUNT, FRAUD = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
CONSOLE = re.findall(r"^\$ (.*)$", README, re.MULTILINE)
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
ANOTHER = '{"card": "7", "shop": "jeweller", "amount": 30000}'
DEADLINE_SECONDS = 30.0


class Terminal:
    """Runs the console's lines in a folder that holds the program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PATH": PATH}
        self.job: subprocess.Popen[bytes] | None = None

    def type(self, line: str) -> str:
        """Run one line to its end; give what it printed."""
        done = subprocess.run(
            ["/bin/sh", "-c", line], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        return done.stdout

    def begin(self, line: str) -> subprocess.Popen[bytes]:
        """Start the job and leave it running, until its first checkpoint of this start is there."""
        before = self.checkpoints()
        self.job = subprocess.Popen(shlex.split(line, comments=True), cwd=self.folder, env=self.environment)
        self.until(lambda: self.checkpoints() > before)
        return self.job

    def checkpoints(self) -> int:
        """Give the number of the newest checkpoint."""
        found = self.folder.glob("data/unusual/checkpoints/*/manifest.json")
        return max((int(manifest.parent.name) for manifest in found), default=0)

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert self.job is not None
            assert self.job.poll() is None, "the job ended"
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / "fraud.py").write_text(FRAUD)
    terminal = Terminal(tmp_path)
    yield terminal
    if terminal.job is not None and terminal.job.poll() is None:
        terminal.job.kill()
        terminal.job.wait()


def line_of(command: str) -> list[str]:
    """Give the console's lines in which `command` stands."""
    return [line for line in CONSOLE if command in line]


def code_of(source: str) -> str:
    """Give a module's code without comments, white space and the docstring at its head."""
    tree = ast.parse(source)
    if ast.get_docstring(tree) is not None:
        del tree.body[0]
    return ast.dump(tree)


def test_first_screen_is_the_example_that_is_tested() -> None:
    """tests/examples runs that file with a real server, and kills it."""
    assert code_of(FIRST_SCREEN) == code_of((ROOT / "examples/page_views/app.py").read_text())


def test_word_count_is_short_and_prints_what_its_comment_says(tmp_path: Path) -> None:
    assert len(WORD_COUNT.splitlines()) <= 12
    (expected,) = re.findall(r"# (\d+)$", WORD_COUNT, re.MULTILINE)
    done = subprocess.run([sys.executable, "-c", WORD_COUNT], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout == f"{expected}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.timeout(120)
def test_five_minutes_of_a_newcomer(terminal: Terminal) -> None:
    """Every console line as it stands; then `kill -9`, the same start again, and one payment more."""
    (describe,), (run,), (cat,) = line_of("actorstream describe"), line_of("actorstream run"), line_of("log cat")
    (listing,), appends = line_of("checkpoints list"), line_of("log append")
    assert [describe, run, *appends, cat, listing] == CONSOLE

    assert "exactly once (transactional)" in terminal.type(describe)
    job = terminal.begin(run)
    for append in appends:
        terminal.type(append)
    terminal.until(lambda: terminal.type(cat) == '"7: 300.0 at casino"\n')
    assert "good" in terminal.type(listing)

    job.send_signal(signal.SIGKILL)
    job.wait(DEADLINE_SECONDS)
    job = terminal.begin(run)
    terminal.type(f"echo {shlex.quote(ANOTHER)} |{appends[0].partition('|')[2]}")
    terminal.until(lambda: terminal.type(cat) == '"7: 300.0 at casino"\n"7: 30000.0 at jeweller"\n')

    job.send_signal(signal.SIGINT)
    assert job.wait(DEADLINE_SECONDS) == 0


@pytest.mark.parametrize("line", CONSOLE)
def test_console_commands_exist(line: str) -> None:
    words = line.partition("|")[2].split() or line.split()
    command: object = typer.main.get_command(app)
    assert words[0] == "actorstream"
    for word in words[1:]:
        known = getattr(command, "commands", None)
        if known is None:
            return
        assert word in known
        command = known[word]


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    for page in ("README.md", "CONTRIBUTING.md", "docs/tour.md"):
        assert set(re.findall(r"`make ([a-z]+)`", (ROOT / page).read_text())) <= targets


def test_links_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert missing == []
