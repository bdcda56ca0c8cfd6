"""Bugs that the machines of state must find: how one is put in, which machine it can show to, and after how long.

A mutant replaces one small method or function of the real code for the time of a run.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from traceback import extract_tb
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import Phase, seed

from actorstream.errors import ActorstreamError
from tests.state.machines import run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from tests.state.handling import Handling

Patches: TypeAlias = "Callable[[], Sequence[AbstractContextManager[object]]]"


@dataclass(frozen=True)
class Found:
    """The number of histories until a bug was found, and by which comparison."""

    histories: int
    by: str


@dataclass(frozen=True)
class Mutant:
    """One bug, and a machine that must find it."""

    name: str
    machine: type[Handling]
    patches: Patches

    def find(self, histories: int, seeded: int) -> Found | None:
        """Run the machine with the bug at work, without making short what fails; None if nothing does.

        Any other error than of a comparison, or of the library itself, is one of the mutant.
        """
        begun = 0

        class Counted(self.machine):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                nonlocal begun
                begun += 1
                super().__init__()

        with ExitStack() as stack:
            for each in self.patches():
                stack.enter_context(each)
            try:
                run(seed(seeded)(Counted), histories, [Phase.generate])
            except (AssertionError, ActorstreamError, pytest.fail.Exception) as error:
                ours = [frame.name for frame in extract_tb(error.__traceback__) if "/tests/state/" in frame.filename]
                return Found(begun - 1, f"{ours[-1]}: {type(error).__name__}")  # the failing one was run twice
        return None


MUTANTS: list[Mutant] = []


def mutant(name: str, machine: type[Handling]) -> Callable[[Patches], Patches]:
    """Enter a function that gives patches under `name`."""

    def enter(patches: Patches) -> Patches:
        MUTANTS.append(Mutant(name, machine, patches))
        return patches

    return enter
