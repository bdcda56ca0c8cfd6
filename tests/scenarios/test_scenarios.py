"""Runs the scenario files: a command, a line of dashes, the effects it must give.

Blocks are parted by an empty line; what stands above the command is a comment.
To accept new output after reading the difference: REWRITE=1 pytest tests/scenarios
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actorstream.model.ids import SubtaskId
from tests.scenarios.stages import STAGES

if TYPE_CHECKING:
    from tests.scenarios.stages import Stage

FILES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    written = path.read_text()

    played = _play(written, STAGES[path.stem.split("_")[0]]())

    if os.environ.get("REWRITE"):
        path.write_text(played)
    assert played == written


def test_every_protocol_has_a_scenario() -> None:
    """A stage without a file would rot."""
    assert {path.stem.split("_")[0] for path in FILES} == set(STAGES)


def _play(scenario: str, stage: Stage) -> str:
    blocks = []
    for block in scenario.rstrip("\n").split("\n\n"):
        head = block.split("----")[0]
        verb, *words = head.strip().splitlines()[-1].split()
        blocks.append("\n".join([f"{head}----", *map(_line, stage.play(verb, words))]))
    return "\n\n".join(blocks) + "\n"


def _line(effect: object) -> str:
    if not is_dataclass(effect):
        return str(effect)
    shown = [f"{field.name}={_shown(getattr(effect, field.name))}" for field in fields(effect)]
    return " ".join([type(effect).__name__, *shown])


def _shown(value: object) -> str:
    match value:
        case SubtaskId() | int() | None:
            return str(value)
        case bytes():
            return value.decode()
        case frozenset():
            return str(sorted(value))
        case tuple():
            return f"[{', '.join(map(str, value))}]"
        case Mapping():
            return f"{{{', '.join(f'{key}: {report}' for key, report in value.items())}}}"
        case _:
            return repr(value)
