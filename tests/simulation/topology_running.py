"""Runs random topologies by the public simulation, and looks at more than a user can: every cut, every answer.

cut      the layers of every checkpoint, read back  ==  the models, fed with the input up to its positions
query    every answer to `job.get` is how the table stood at some moment between the question and the answer
"""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import anyio

from actorstream.errors import JobFailed, PlanError, StoreError
from actorstream.testing.session import BrokenPromiseError
from actorstream.testing.simulated_process import Watch
from actorstream.testing.simulation_plan import draw, parse
from actorstream.testing.simulation_run import SimulatedPipeline
from actorstream.testing.surroundings import simulated_loop
from tests.simulation.lanes import Probe
from tests.simulation.oracles import Cuts
from tests.simulation.stages import STATE_KEYS
from tests.simulation.topologies import SHAPES, table_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actorstream.api.job import Job
    from actorstream.api.pipeline import Pipeline
    from actorstream.checkpoints.directory import CheckpointDirectory
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.runtime.building import Built
    from actorstream.testing.disk import SimulatedDisk
    from actorstream.testing.simulation_plan import Plan
    from actorstream.testing.simulation_run import Story
    from tests.simulation.topologies import Topology

CRASHES = 3
PARALLELISM = 4
_BETWEEN_QUERIES_S = 0.02


class SimulatedTopology:
    """A topology under simulation, with all oracles."""

    def __init__(self, topology: Topology, mutant: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self.topology = topology
        self.mutant = mutant
        self._pipeline: Pipeline | None = None
        self._probe = Probe()
        asks = self._queries if topology.tail == "table" else None
        watch = Watch(mutant=mutant, beside=asks, on_checkpoints=self._check_cuts)
        self.simulated = SimulatedPipeline(self._make, topology.expected(), watch=watch)
        self._inputs = {source: [events] for source, events in topology.inputs().items()}
        self.answers = 0
        self._compared = 0

    def _make(self) -> Pipeline:
        self._probe.emitted.clear()  # a new process goes on from a checkpoint: less may have been counted
        self._pipeline = self.topology.make(self._probe)
        return self._pipeline

    def draw(self, seed: int, crashes: int = CRASHES) -> Plan:
        """Draw what happens to it."""
        _, length = self.simulated.expected()
        return draw(seed, length, crashes=crashes, parallelism=PARALLELISM)

    def run(self, plan: Plan) -> Story:
        """Run a plan.

        Raises:
            BrokenPromiseError: A note says how to repeat it.
        """
        self._probe.forget()
        answers, compared = self.answers, self._compared
        try:
            story = self.simulated.run(plan)
        except BrokenPromiseError as broken:
            broken.add_note(f"again: {again(self.topology, plan)}")
            raise
        story.figures.faults["poison"] += self._probe.poisoned
        story.figures.checks["query"] += self.answers - answers
        story.figures.checks["cut"] += self._compared - compared
        return story

    # ---- oracles

    def _check_cuts(self, disk: SimulatedDisk, found: Sequence[tuple[Manifest, CheckpointDirectory]]) -> None:
        cuts = Cuts(disk, self.topology.job(Counter()), self._inputs)
        for manifest, directory in found:
            cuts.check(manifest, directory)
        self._compared += cuts.compared

    def _queries(self, job: Job) -> Mapping[str, Callable[[], object]]:
        follow = job._supervisor.on_built

        def on_built(built: Built) -> None:
            self._probe.emitted.clear()
            follow(built)

        job._supervisor.on_built = on_built
        return {f"client {number}": lambda: self._ask(job) for number in range(2)}

    async def _ask(self, job: Job) -> None:
        """Ask for a key again and again, as long as the job runs, and judge each answer."""
        assert self._pipeline is not None
        table, rng, probe = table_in(self._pipeline), simulated_loop().environment, self._probe
        last: dict[str, tuple[object, int]] = {}
        while True:
            await anyio.sleep(rng.random() * _BETWEEN_QUERIES_S)
            key = rng.choice(STATE_KEYS)
            least, asked = probe.emitted.get(key, 0), job._supervisor.attempt
            try:
                answer = await job.get(table, key) or 0
            except (JobFailed, StoreError):
                return
            except PlanError:
                return  # where functions are to raise, the operators are others than those of the pipeline
            answered = job._supervisor.attempt
            self.answers += 1
            most = sum(fed.key == key for event in probe.entered for fed in SHAPES[self.topology.shape].feeds(event))
            if asked is not answered:
                least = 0
            if key in last and last[key][0] is answered:
                least = max(least, last[key][1])
            if not least <= answer <= most:
                raise BrokenPromiseError("query", f"counts[{key}] is {answer}, it was at least {least}, at most {most}")
            last[key] = answered, answer


def again(topology: Topology, plan: Plan) -> str:
    """Write the call that repeats a run."""
    return f'repeat({topology!r}, "{plan}")'


def repeat(topology: Topology, plan: str) -> Story:
    """Run what a failure's note says."""
    return SimulatedTopology(topology).run(parse(plan))
