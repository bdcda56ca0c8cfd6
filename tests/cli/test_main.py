"""What holds for every command."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from actorstream.cli.error_text import explain
from actorstream.errors import StoreError

if TYPE_CHECKING:
    from tests.cli.conftest import Shell


def test_an_error_is_one_line_and_status_1(shell: Shell) -> None:
    """Found, expected, what to do: a traceback would bury it."""
    outcome = shell("describe", "nothing:here")
    assert outcome.status == 1
    assert outcome.out == ""
    assert outcome.err.startswith("actorstream: PlanError: there is no module 'nothing'")
    assert outcome.err.count("\n") == 1


def test_debug_shows_the_traceback(shell: Shell) -> None:
    """The one who mends the pipeline needs it."""
    process = shell.process("--debug", "describe", "nothing:here")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Traceback" in err
    assert "PlanError" in err


def test_lines_of_a_message_are_joined_and_notes_follow() -> None:
    """Users' errors may span lines; a log line must not."""
    error = StoreError("first\nsecond")
    error.add_note("beside it")
    assert explain(error) == "actorstream: StoreError: first second\n  beside it"


def test_no_command_shows_the_help(shell: Shell) -> None:
    outcome = shell()
    assert outcome.status == 2
    assert "checkpoints" in outcome.out + outcome.err


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_the_message_says_what_to_install(missing: str) -> None:
    """The library does without typer and rich, so they may be absent."""
    program = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['actorstream']\n"
        "from actorstream.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert done.stderr == f"actorstream: the commands need {missing}: pip install 'actorstream[cli]'\n"
