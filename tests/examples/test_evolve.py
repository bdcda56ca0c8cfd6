"""The story of examples/evolve, as its page tells it: every command is run."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.test_guides import BLOCK, ROOT, run_console

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EXAMPLE = ROOT / "examples" / "evolve"


def commands() -> Sequence[str]:
    """Give the console blocks of the page."""
    return [block for kind, block in BLOCK.findall((EXAMPLE / "README.md").read_text()) if kind == "console"]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_page_keeps_its_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with nothing but the two programs."""
    for name in ("v1.py", "v2.py"):
        shutil.copy(EXAMPLE / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    blocks = commands()
    assert len(blocks) == 5
    for block in blocks:
        run_console(block)
