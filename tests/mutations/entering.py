"""How a bug enters the gate: under an area and a name, with the circumstances under which it can show at all.

A mutant replaces one small method or function of the real code for the time of a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.mutations import hunting
from tests.mutations.hunting import at_work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.mutations.hunting import Apply, Found, Hunt, Patches
    from tests.simulation.evolution_plans import Evolution
    from tests.simulation.running import Plan
    from tests.state.handling import Handling


@dataclass(frozen=True)
class Mutant:
    """One bug.

    Attributes:
        area: Where it is.
        name: What is wrong.
        apply: Puts it in.
        hunt: Looks for it.
        oracle: Which one is to find it; None: any.
    """

    area: str
    name: str
    apply: Apply
    hunt: Hunt
    oracle: str | None = None

    def find(self) -> Found | None:
        """Look for it until it is found; None if it is not."""
        return self.hunt(self.apply)


MUTANTS: list[Mutant] = []


class Area:
    """What the bugs of one file are in."""

    def __init__(self, name: str) -> None:
        """Take bugs of the area `name`."""
        self.name = name

    def enter(self, name: str, hunt: Hunt, oracle: str | None = None) -> Callable[[Patches], Patches]:
        """Enter a function that gives the patches of a bug, with how to look for it."""

        def enter(patches: Patches) -> Patches:
            MUTANTS.append(Mutant(self.name, name, at_work(patches), hunt, oracle))
            return patches

        return enter

    def in_jobs(
        self,
        name: str,
        *,
        plan: Callable[[int], Plan] | None = None,
        zombie: bool = False,
        disk_fails: bool = False,
        evolve: Callable[[int], Evolution] | None = None,
        **fixed: object,
    ) -> Callable[[Patches], Patches]:
        """Look for it in simulated jobs of keyed state.

        Args:
            name: What is wrong.
            plan: Draws the plan, where chance would take too long.
            zombie: It shows where two processes run the job.
            disk_fails: It shows where the disk fails often.
            evolve: Draws what people do, where it shows in that.
            **fixed: What of a plan is not left to chance.
        """
        hunt = hunting.in_jobs(plan, fixed, zombie=zombie, disk_fails=disk_fails, evolve=evolve)
        return self.enter(name, hunt)

    def in_time(self, name: str, **fixed: object) -> Callable[[Patches], Patches]:
        """Look for it in simulated jobs of event time; `fixed` is what of a plan is not left to chance."""
        return self.enter(name, hunting.in_time(fixed))

    def in_topologies(
        self, name: str, oracle: str, plan: Mapping[str, Any] | None = None, **fixed: object
    ) -> Callable[[Patches], Patches]:
        """Look for it in random topologies, until this very oracle breaks; the rest is not left to chance."""
        return self.enter(name, hunting.in_topologies(oracle, plan or {}, fixed), oracle)

    def in_replays(self, name: str, case: str, **manner: object) -> Callable[[Patches], Patches]:
        """Look for it in replays of a case of tests/evolve/replays.py; `manner` is how one is run."""
        return self.enter(name, hunting.in_replays(case, manner))

    def in_state(self, name: str, machine: type[Handling]) -> Callable[[Patches], Patches]:
        """Look for it with a machine of state."""
        return self.enter(name, hunting.in_state(machine))
