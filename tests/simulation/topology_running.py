"""Runs random topologies by the public simulation, and looks at more than a user can: every cut, every answer.

cut      the layers of every checkpoint, read back  ==  the models, fed with the input up to its positions
query    every answer to `job.get` is how the table stood at some moment between the question and the answer
"""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

import anyio

from actorstream.errors import JobFailed, PlanError, StoreError
from actorstream.testing.ledger import Outside, running_in
from actorstream.testing.session import BrokenPromiseError
from actorstream.testing.simulated_process import Watch
from actorstream.testing.simulation_plan import draw, parse
from actorstream.testing.simulation_run import SimulatedPipeline
from actorstream.testing.surroundings import simulated_loop
from tests.simulation.evolution_oracles import plain
from tests.simulation.lanes import Probe
from tests.simulation.oracles import Cuts
from tests.simulation.stages import STATE_KEYS
from tests.simulation.topologies import SHAPES, table_in
from tests.simulation.topology_evolving import evolving
from tests.simulation.topology_forks import ForkedOutput
from tests.simulation.topology_lateness import Lateness, is_chance
from tests.simulation.topology_versions import LEAF, settings_for, shown, unwrapped, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actorstream.api.job import Job
    from actorstream.api.pipeline import Pipeline
    from actorstream.api.settings import SettingValues
    from actorstream.checkpoints.directory import CheckpointDirectory
    from actorstream.checkpoints.manifest import Manifest
    from actorstream.runtime.built import Built
    from actorstream.testing.committed import Rows
    from actorstream.testing.disk import SimulatedDisk
    from actorstream.testing.simulation_plan import Plan
    from actorstream.testing.simulation_run import Story
    from tests.simulation.stages import Event
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
        watch = Watch(
            mutant=mutant,
            beside=asks,
            on_checkpoints=self._check_cuts,
            at_version=self._at_version,
            shown=self._shown,
            on_fork=self._check_fork,
        )
        self._version = self._newest = self.marked = 0
        self._unseen: Mapping[str, Sequence[Event]] = {}
        self.lateness: Lateness | None = None
        self._forks: dict[str, ForkedOutput] = {}
        self.simulated = SimulatedPipeline(self._make, topology.expected(), watch=watch)
        self._inputs = {source: [events] for source, events in topology.inputs().items()}
        self.answers = 0
        self._compared = 0

    def _make(self) -> Pipeline:
        self._probe.emitted.clear()  # a new process goes on from a checkpoint: less may have been counted
        self._pipeline = self.topology.make(self._probe, self._version)
        return self._pipeline

    def _at_version(self, version: int) -> SettingValues:
        self._version, self._newest = version, max(version, self._newest)
        return settings_for(self._plain, version)

    @cached_property
    def _plain(self) -> Pipeline:
        with running_in(Outside()):
            return self.topology.make()

    def draw(self, seed: int, crashes: int = CRASHES) -> Plan:
        """Draw what happens to it, and what people do: upgrades and forks."""
        _, length = self.simulated.expected()
        drawn = draw(seed, length, crashes=crashes, parallelism=PARALLELISM)
        return evolving(drawn, length, PARALLELISM) if crashes else drawn

    def run(self, plan: Plan) -> Story:
        """Run a plan.

        Raises:
            BrokenPromiseError: A note says how to repeat it.
        """
        self._probe.forget()
        self._version = self._newest = self.marked = 0
        self.lateness = Lateness(self.topology.outputs(self.topology.inputs())) if is_chance(plan) else None
        self._unseen = {}
        self._forks.clear()
        answers, compared = self.answers, self._compared
        try:
            story = self.simulated.run(plan)
        except BrokenPromiseError as broken:
            broken.add_note(f"again: {again(self.topology, plan)}")
            raise
        story.figures.faults["poison"] += self._probe.poisoned
        story.figures.checks["fork"] += sum(fork.compared for fork in self._forks.values())
        story.figures.checks["query"] += self.answers - answers
        story.figures.checks["cut"] += self._compared - compared
        return story

    # ---- oracles

    def _check_cuts(self, disk: SimulatedDisk, found: Sequence[tuple[Manifest, CheckpointDirectory]]) -> None:
        cuts, leafed = (
            Cuts(disk, self.topology.job(Counter(), version=version), self._inputs, plain, unwrapped)
            for version in (self._newest, 1)
        )
        for manifest, directory in found:
            has_leaf = any(plain(name) == LEAF for name in manifest.operators)
            cuts.check(manifest, directory, self._unseen if has_leaf else {})
            if not has_leaf:
                self._unseen = {LEAF: leafed.gone_by(manifest, directory, LEAF)}
        self._compared += cuts.compared

    def _shown(self, rows: Mapping[str, Rows]) -> Mapping[str, Rows]:
        self.marked = max(self.marked, sum(version_of(row) > 0 for part in rows["out"] for row in part))
        return shown(self.lateness.shown(rows) if self.lateness else rows)

    def _check_fork(self, disk: SimulatedDisk, savepoint: str, rows: Mapping[str, Rows], at_the_end: bool) -> None:
        if savepoint not in self._forks:
            self._forks[savepoint] = ForkedOutput(self.topology, disk, savepoint, self.lateness)
        try:
            self._forks[savepoint].check(rows, at_the_end=at_the_end)
        except BrokenPromiseError as broken:
            raise BrokenPromiseError("fork", f"begun from {savepoint}: {broken}") from broken

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
