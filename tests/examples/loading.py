"""Programs of examples/ as modules, whose functions a test can call; and their pages, whose commands it runs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from tests.test_guides import BLOCK, run_console

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(example: str, name: str) -> Any:
    """Give examples/`example`/`name`.py as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{example}_{name}", EXAMPLES / example / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where types of state are looked up
    spec.loader.exec_module(module)
    return module


def run_page(example: str) -> None:
    """Run each command of an example's page in the current folder, and hold its output against what the page shows."""
    blocks = [
        block for kind, block in BLOCK.findall((EXAMPLES / example / "README.md").read_text()) if kind == "console"
    ]
    assert blocks
    for block in blocks:
        run_console(block)
