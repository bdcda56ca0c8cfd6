"""A failing run of a random topology made smaller: the pipeline as well as what happens to it.

(topology, plan) ── nothing but a chain, no tail, fewer records, no poison ── as shrinking.py does ──> the same promise
^                                                                            │                  is broken still
└──────────────────────── again, as long as one of them still fails ─────────┘
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from actorstream.testing.session import BrokenPromiseError
from actorstream.testing.shrinking import STEPS_MAX, shrink
from tests.simulation.topologies import SHAPES
from tests.simulation.topology_running import SimulatedTopology, again

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from actorstream.testing.simulation_plan import Plan
    from tests.simulation.topologies import Topology

_EVENTS = (3, 6, 10, 25)


def told(running: SimulatedTopology, plan: Plan, broken: BrokenPromiseError) -> str:
    """Give the line of a failure, after it was made smaller: what is broken, and the call that repeats it."""
    topology, smaller, said = made_smaller(running, plan, broken)
    return f"{said}  # again: {again(topology, smaller)}"


def made_smaller(
    running: SimulatedTopology, plan: Plan, broken: BrokenPromiseError
) -> tuple[Topology, Plan, BrokenPromiseError]:
    """Give the smallest topology and plan found that break the same promise, and what is said then."""
    search = _Search(running.mutant, broken)
    topology = running.topology

    def fails(smaller: Plan) -> bool:
        return search.fails(topology, smaller)

    progress = fails(plan)
    while progress and search.steps < STEPS_MAX:
        progress = False
        for smaller in _simpler(topology):
            if search.fails(smaller, plan):
                topology, progress = smaller, True
                break
        most = search.steps + STEPS_MAX
        found = shrink(plan, fails, enough=lambda most=most: search.steps > most)  # type: ignore[misc]
        progress, plan = progress or found != plan, found
    return topology, plan, search.said.get((topology, str(plan)), broken)


class _Search:
    """Runs smaller ones, and counts what that costs."""

    def __init__(self, mutant: Callable[[], AbstractContextManager[object]], broken: BrokenPromiseError) -> None:
        self._mutant = mutant
        self._oracle = broken.oracle
        self._running: dict[Topology, SimulatedTopology] = {}
        self.said: dict[tuple[Topology, str], BrokenPromiseError] = {}

    @property
    def steps(self) -> int:
        return sum(each.simulated.steps for each in self._running.values())

    def fails(self, topology: Topology, plan: Plan) -> bool:
        """Tell whether it breaks the same promise."""
        running = self._running.setdefault(topology, SimulatedTopology(topology, self._mutant))
        try:
            running.run(plan)
        except BrokenPromiseError as broken:
            self.said[topology, str(plan)] = broken
            return broken.oracle == self._oracle
        return False


def _simpler(topology: Topology) -> Iterator[Topology]:
    """Give topologies with one thing less."""
    for change in ({"shape": "chain"}, {"tail": "none"}, {"poison": False}, {"wide": 0}, {"wide": 1}):
        simpler = replace(topology, **change)
        if simpler != topology and not (topology.wide == 0 and simpler.wide):
            yield simpler
    if len(SHAPES[topology.shape].sources) > 1 and topology.shape != "union":
        yield replace(topology, shape="union")
    for events in _EVENTS:
        if events < topology.events:
            yield replace(topology, events=events)
