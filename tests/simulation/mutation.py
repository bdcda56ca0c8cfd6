"""Bugs that the simulation must find: how one is put in, and under which circumstances it can show at all.

A mutant replaces one small method of the real code for the time of a session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from actorstream.testing.session import Session
from tests.simulation.evolution import run_evolution
from tests.simulation.running import Plan, draw, run_plan
from tests.simulation.zombies import draw_zombie, run_zombie

if TYPE_CHECKING:
    from tests.simulation.evolution_plans import Evolution


@dataclass(frozen=True)
class Mutant:
    """One bug. `apply` is entered around each session.

    Attributes:
        name: What is wrong.
        apply: Puts it in.
        fixed: What of a plan is not left to chance.
        plan: Draws the plan, where chance would take too long.
        zombie: It shows where two processes run the job.
        disk_fails: It shows where the disk fails often.
        evolve: Draws what people do, where it shows in that.
    """

    name: str
    apply: Callable[[], AbstractContextManager[object]]
    fixed: Mapping[str, object] = field(default_factory=dict)
    plan: Callable[[int], Plan] | None = None
    zombie: bool = False
    disk_fails: bool = False
    evolve: Callable[[int], Evolution] | None = None

    def run(self, seed: int) -> None:
        """Run one seed with the bug at work; BrokenPromiseError if it shows."""
        if self.evolve is not None:
            run_evolution(self.evolve(seed), self.apply)
            return
        if self.zombie:
            run_zombie(replace(draw_zombie(seed), **self.fixed), self.apply)  # type: ignore[arg-type]
            return
        plan = draw(seed, **self.fixed) if self.plan is None else self.plan(seed)
        if self.disk_fails:
            failing = Session(plan.sessions[0].parallelism, failing="/layers")
            plan = replace(plan, sessions=[failing, failing, plan.sessions[-1]])
        run_plan(plan, self.apply)


MUTANTS: list[Mutant] = []
Patches: TypeAlias = Callable[[], Sequence[AbstractContextManager[object]]]


def at_work(patches: Patches) -> Callable[[], AbstractContextManager[object]]:
    """Give what enters all patches of a mutant, made anew each time."""

    @contextmanager
    def apply() -> Iterator[None]:
        with ExitStack() as stack:
            for each in patches():
                stack.enter_context(each)
            yield

    return apply


def mutant(
    name: str,
    *,
    plan: Callable[[int], Plan] | None = None,
    zombie: bool = False,
    disk_fails: bool = False,
    evolve: Callable[[int], Evolution] | None = None,
    **fixed: object,
) -> Callable[[Patches], Patches]:
    """Enter a function that gives patches under `name`."""

    def enter(patches: Patches) -> Patches:
        MUTANTS.append(Mutant(name, at_work(patches), fixed, plan, zombie, disk_fails, evolve))
        return patches

    return enter
