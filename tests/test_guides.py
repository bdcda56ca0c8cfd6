"""The guides keep their word: every program in them is run as it stands there, from top to bottom.

The python blocks of one page are one module. Each is run when its turn comes; then the tests that it defines are run,
once for each combination of their parametrize marks. A `print(...)  # text` must print that text. A block that begins
with `# name.py` is that file, too. In a console block the lines after `$ ` are commands: each is run in a shell of its
own, must succeed (`# status 1` says otherwise), and its output must have the lines shown below it; `...` stands for
anything.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Run = Callable[[str, Mapping[str, str]], subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# ([a-z_0-9]+\.py)\n")
STATUS = re.compile(r"# status ([0-9]+)$")
PRINTED = re.compile(r"^.*\bprint\(.*\)  # (.*)$", re.MULTILINE)


@pytest.fixture
def module(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module to run a page in, importable while it runs, as state needs its classes to be; in a folder of its own."""
    page: Path = request.getfixturevalue("page")
    module = ModuleType(f"guide_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def blocks_of(page: Path) -> Iterator[tuple[str, str, str]]:
    """Give each block's kind and text, and again moved down to its place in the page, so that errors name its lines."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        yield found[1], found[2], "\n" * text.count("\n", 0, found.start(2)) + found[2]


def run_in_shell(command: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one command as a reader would, who waits a minute for it."""
    return subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def run_console(block: str, run: Run = run_in_shell) -> None:
    """Run commands, and hold their output against what the page shows."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        expected = int(found[1]) if (found := STATUS.search(command)) else 0
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f".:{ROOT}",
        }
        ran = run(command, environment)
        said = ran.stdout + ran.stderr
        assert ran.returncode == expected, f"{command}: status {ran.returncode}\n{said}"
        for line in filter(None, map(str.strip, shown.splitlines())):
            pattern = r"\s+".join(".*".join(map(re.escape, word.split("..."))) for word in line.split())
            assert re.search(pattern, said), f"{command}: {line!r} is not in\n{said}"


def run_block(placed: str, page: Path, module: ModuleType) -> None:
    """Run statements, also with `await` at the top; outside of a loop where there is none."""
    code = compile(placed, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, module.__dict__))
    else:
        exec(code, module.__dict__)


def arguments_of(test: Any) -> Iterator[dict[str, object]]:
    """Give the arguments of each run of a test."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    for values in itertools.product(*[mark.args[1] for mark in marks]):
        yield dict(zip([mark.args[0] for mark in marks], values, strict=True))


def run_test(test: Any) -> int:
    """Run a test with each of its arguments; give how many there are."""
    runs = 0
    for runs, arguments in enumerate(arguments_of(test), 1):  # noqa: B007
        result = test(**arguments)
        if inspect.isawaitable(result):
            asyncio.run(_finish(result))
    return runs


async def _finish(awaitable: Any) -> None:
    await awaitable


def test_there_are_guides() -> None:
    """An empty parametrization would pass."""
    assert GUIDES


@pytest.mark.timeout(180)  # commands are processes
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_every_program_of_a_guide_runs(page: Path, module: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    known: set[str] = set()
    blocks = 0
    for blocks, (kind, block, placed) in enumerate(blocks_of(page), 1):  # noqa: B007
        if kind == "console":
            run_console(block)
            continue
        if file := FILE.match(block):
            Path(file[1]).write_text(block)
        run_block(placed, page, module)
        tests = [name for name in vars(module) if name.startswith("test_") and name not in known]
        for name in tests:
            assert run_test(vars(module)[name]) > 0
        known.update(tests)
        said = capsys.readouterr().out.splitlines()
        assert said == PRINTED.findall(block) or not PRINTED.search(block)

    text = page.read_text()
    assert blocks == text.count("```python") + text.count("```console"), "a block is not closed, or is indented"


@pytest.mark.parametrize(
    "wrong",
    [
        "```python\n1 / 0\n```\n",
        "```python\nasync def test_it() -> None:\n    assert False\n```\n",
        "```python\nprint(1 + 1)  # 3\n```\n",
        "```python\nawait missing\n```\n",
        "- ```python\n  1\n  ```\n",
        "```console\n$ false\n```\n",
        "```console\n$ true # status 1\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
    ],
)
def test_a_wrong_program_is_found(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check that finds nothing in a wrong guide proves nothing about a right one."""
    page = tmp_path / "wrong.md"
    page.write_text(wrong)
    with pytest.raises((AssertionError, ZeroDivisionError, NameError)):
        test_every_program_of_a_guide_runs(page, ModuleType("guide_wrong"), capsys)
