"""The guides keep their word: every program in them is run as it stands there, from top to bottom.

The python blocks of one page are one module. Each is run when its turn comes; then the tests that it defines are run,
once for each combination of their parametrize marks. A `print(...)  # text` must print that text.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import itertools
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDES = sorted((Path(__file__).parents[1] / "docs" / "guides").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PRINTED = re.compile(r"^.*\bprint\(.*\)  # (.*)$", re.MULTILINE)


@pytest.fixture
def module(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module to run a page in, importable while it runs, as state needs its classes to be; in a folder of its own."""
    page: Path = request.getfixturevalue("page")
    module = ModuleType(f"guide_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    return module


def blocks_of(page: Path) -> Iterator[tuple[str, str]]:
    """Give each block, and again moved down to its place in the page, so that errors name the page's lines."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        yield found[1], "\n" * text.count("\n", 0, found.start(1)) + found[1]


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


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_every_program_of_a_guide_runs(page: Path, module: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    known: set[str] = set()
    blocks = 0
    for blocks, (block, placed) in enumerate(blocks_of(page), 1):  # noqa: B007
        run_block(placed, page, module)
        tests = [name for name in vars(module) if name.startswith("test_") and name not in known]
        for name in tests:
            assert run_test(vars(module)[name]) > 0
        known.update(tests)
        said = capsys.readouterr().out.splitlines()
        assert said == PRINTED.findall(block) or not PRINTED.search(block)

    assert blocks == page.read_text().count("```python"), "a block is not closed, or is indented"


@pytest.mark.parametrize(
    "wrong",
    [
        "```python\n1 / 0\n```\n",
        "```python\nasync def test_it() -> None:\n    assert False\n```\n",
        "```python\nprint(1 + 1)  # 3\n```\n",
        "```python\nawait missing\n```\n",
        "- ```python\n  1\n  ```\n",
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
