"""The public surface as type checkers see it: good programs pass, mistakes are found, by mypy and by pyright."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ["tests/typing/programs.py", "tests/typing/edge.py", "tests/typing/broadcast_programs.py"]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_mypy_strict_accepts_the_programs_and_finds_every_mistake() -> None:
    """An ignore that nothing needs is an error, so no output means that each marked mistake was found."""
    result = run("mypy", "--strict", "--follow-imports=silent", "--no-error-summary", *PROGRAMS)
    assert result.stdout + result.stderr == ""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_pyright_strict_accepts_the_programs_and_finds_every_mistake() -> None:
    """The same for the checker behind most editors."""
    result = run("pyright", "--pythonpath", sys.executable, "--outputjson", *PROGRAMS)
    try:
        report = json.loads(result.stdout)
    except json.JSONDecodeError:
        pytest.skip(f"pyright cannot run here (it fetches a part of itself at first): {result.stderr.strip()[-200:]}")
    assert [_line(found) for found in report["generalDiagnostics"]] == []
    assert report["summary"]["filesAnalyzed"] == len(PROGRAMS)


def _line(found: dict[str, object]) -> str:
    return f"{found['file']}: {found['message']} ({found['range']})"
