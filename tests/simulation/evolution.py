"""Runs a simulated job through savepoints, rescales, upgrades, moves, forks and zombies, as one seed draws them.

    story = run_evolution(draw_evolution(seed))           raises BrokenPromiseError

A turn runs one or two processes on one loop and one disk, so the seed interleaves their steps. After each the machine
is killed or loses its power, and the oracles look at the disk. At the end people try their places, the newest first,
until the job has finished at one of them, and let every fork finish.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import anyio

from actorstream.checkpoints.savepoints import delete_savepoint
from actorstream.errors import FencedError, JobFailed, RestoreError, StoreError, StoreInUseError
from actorstream.graph.nodes import LogicalGraph
from actorstream.system.current import current_world, use_world
from actorstream.testing.loop import SimulatedLoop
from actorstream.testing.session import BrokenPromiseError, Session
from actorstream.testing.surroundings import FailingFiles, ticking
from actorstream.testing.surviving import SavedFolder
from actorstream.testing.world import START_US
from tests.simulation.evolution_oracles import Histories
from tests.simulation.evolution_plans import Act, Evolution, Part, Turn
from tests.simulation.inputs import partitions_of
from tests.simulation.jobs import JOBS
from tests.simulation.people import People, Place
from tests.simulation.running import (
    END_S,
    Plan,
    feed,
    make_run,
    new_machine,
    run_session,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from actorstream.api.job import Job
    from actorstream.api.options import RunOptions
    from actorstream.api.run import Run
    from actorstream.graph.nodes import Node, NodeId
    from actorstream.testing.disk import SimulatedDisk
    from actorstream.testing.run import Outcome

ANSWER_S = 60.0
_ROUNDS = 4
_VERSIONS = 5


@dataclass(frozen=True)
class EvolutionStory:
    """How it went: the end of each turn, of each process that did not die, and how much there was to look at."""

    outcomes: Sequence[Outcome[str]]
    ends: Counter[str]
    cuts: int
    savepoints: int


def run_evolution(
    evolution: Evolution, mutant: Callable[[], AbstractContextManager[object]] = nullcontext
) -> EvolutionStory:
    """Run all turns, `mutant` at work inside them, and check after each.

    Raises:
        BrokenPromiseError: The oracle that is violated, also that the job finishes nowhere; a note says how to repeat
            the run.
    """
    with new_machine(evolution.plan) as (disk, _):
        people = People(disk, disk.root, evolution.plan.job)
        try:
            return _Machine(evolution, disk, people, mutant).run()
        except BrokenPromiseError as broken:
            broken.add_note("\n".join(people.diary))
            broken.add_note(f"again: run_evolution({evolution!r})")
            raise


class _Machine:
    """One disk, and all that runs on it."""

    def __init__(
        self,
        evolution: Evolution,
        disk: SimulatedDisk,
        people: People,
        mutant: Callable[[], AbstractContextManager[object]],
    ) -> None:
        plan = evolution.plan
        job = JOBS[plan.job]
        self._plan = plan
        self._turns = evolution.turns
        self._disk = disk
        self._mutant = mutant
        self._people = people
        inputs = {source: partitions_of(source, plan.shape) for source in job.sources}
        self._histories = Histories(disk, job, inputs, self._people)
        self._outcomes: list[Outcome[str]] = []
        self._start_us = START_US

    def run(self) -> EvolutionStory:
        """Run every turn, and then to the end."""
        for number, turn in enumerate(self._turns):
            self._run_turn(number, turn)
            if turn.session.power:
                self._tidy(number, turn)
        self._finish()
        return EvolutionStory(self._outcomes, self._people.ends, self._histories.cuts, self._histories.savepoints)

    def _finish(self) -> None:
        """Go on where the job can, until all its input is read; then let every fork finish."""
        last = self._turns[-1]
        people = self._people
        whole, number = Turn(Session(power=True), (Part(),), last.version, last.leaf), len(self._turns)
        for _ in range(_ROUNDS * (1 + len(self._people.places))):
            self._run_turn(number, whole)
            number += 1
            if self._outcomes[-1].result == "finished":
                break
        else:
            raise BrokenPromiseError("progress", f"the job finishes nowhere: {self._people.places}")
        for fork in list(people.forks):
            place = people.forks[fork]
            if self._people.newest(place) is None and not os.path.exists(place.restore):
                del people.forks[fork]  # it never got further than its savepoint, and somebody deleted that
                continue
            self._run_turn(number, whole, people.as_said(place, whole.parts[0]))
            number += 1
            if self._outcomes[-1].result != "finished":
                raise BrokenPromiseError("progress", f"fork {fork} does not finish: {self._outcomes[-1]}")
        self._histories.check(at_the_end=True)

    def _run_turn(self, number: int, turn: Turn, place: Place | None = None) -> None:
        plan, people = replace(self._plan, sessions=[turn.session]), self._people
        with self._mutant():
            outcome = run_session(
                plan, 0, self._disk, self._start_us, partial(self._main, turn, number, place), f"evolving {number} "
            )
        self._start_us = outcome.ended_us
        self._outcomes.append(outcome)
        if people.broken:
            raise people.broken[0]
        if outcome.error is not None:
            raise BrokenPromiseError("progress", f"{type(outcome.error).__name__}: {outcome.error}") from outcome.error
        if turn.session.power:
            self._disk.power_cut(random.Random(f"{plan.seed} evolving {number}"))
        else:
            self._disk.kill()
        people.diary.append(f"turn {number} ends: {outcome.crash or outcome.result}")
        self._histories.check()
        self._disk.kill()

    # ---- what runs in the simulated machine

    async def _main(self, turn: Turn, number: int, place: Place | None, plan: Plan, session: Session, root: str) -> str:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        world = current_world()
        files = FailingFiles(world.files, session.failing, loop.environment) if session.failing else world.files
        feeds = [loop.create_task(feed(plan, each, root)) for each in JOBS[plan.job].sources] if plan.live else []
        ends: list[str] = []
        with use_world(ticking(world, files)), anyio.fail_after(END_S):
            async with anyio.create_task_group() as group:
                for index, part in enumerate(turn.parts):
                    process = _Process(self._people, self._histories, plan, turn, part, 10 * number + index)
                    group.start_soon(process.run, place, ends.append)
        for task in feeds:
            task.cancel()
        return ends[0] if len(ends) == 1 else ", ".join(ends)

    # ---- what people do while nothing runs

    def _tidy(self, number: int, turn: Turn) -> None:
        people, rng = self._people, random.Random(f"{self._plan.seed} tidy {number}")
        path = people.picked(rng.choice((1.0, rng.random())))
        if not path:
            return
        if turn.afterwards == "delete a savepoint" and people.newest(people.places[-1]) is not None:
            people.given_up.add(path)
            people.diary.append(f"{path} is deleted")
            delete_savepoint(self._disk, path)
        elif turn.afterwards == "delete the store" and not self._histories.is_beyond(path):
            kept = f"{self._disk.root}/kept/{number}"
            people.diary.append(f"{path} is kept as {kept}, its store deleted")
            shutil.copytree(path, kept)
            for place in people.places:
                shutil.rmtree(people.folder_of(place), ignore_errors=True)
                people.given_up |= {each for each in people.made if each.startswith(f"{people.folder_of(place)}/")}
            people.places = []
            people.go_to(Place(f"{self._disk.root}/new{number}", "", kept))
            people.made.add(kept)
            people.moved = True
            self._disk._tree = SavedFolder(self._disk.root)
            self._disk._adopt()


class _Process:
    """One process of a turn: it begins somewhere, people ask things of it, and it ends."""

    def __init__(self, people: People, histories: Histories, plan: Plan, turn: Turn, part: Part, number: int) -> None:
        self._people = people
        self._histories = histories
        self._plan = plan
        self._turn = turn
        self._part = part
        self._number = number

    async def run(self, place: Place | None, tell: Callable[[str], None]) -> None:
        """Run it at `place`, or where its part says, and tell how it ended."""
        await anyio.sleep(self._part.after)
        place = place or self._people.begin(self._part, self._number)
        try:
            end = "nothing to begin from" if place is None else await self._run_at(place)
        except BrokenPromiseError as broken:
            self._people.broken.append(broken)
            return
        self._people.ends[end] += 1
        self._people.diary.append(f"{self._number} {self._part.begin} at {place}: {end}")
        tell(end)

    async def _run_at(self, place: Place) -> str:
        people, part = self._people, self._part
        clear = self._is_clear(place)
        people.moved |= part.begin != "go on"
        path, manifest, refused = people.goes_on_from(place)
        refused &= part.begin != "take over"  # whoever is there may make a checkpoint meanwhile
        self._histories.begins(place, path, manifest, leaf=self._turn.leaf)
        known = next((each for each in people.all_places() if people.folder_of(each) == people.folder_of(place)), None)
        people.go_to(place if place.restore or known is None else known)
        if part.claim and place.restore:
            people.given_up.add(place.restore)
        people.diary.append(f"{self._number} {part.begin} at {place} from {path}")
        try:
            async with self._make_run(place) as job:
                if refused:
                    raise BrokenPromiseError("refused", f"{place} had to be refused: it goes on from {path}")
                return await self._live(job)
        except (JobFailed, StoreError, RestoreError) as error:
            return self._refusal(place, error, must=refused, may=people.moved and not clear)

    def _is_clear(self, place: Place) -> bool:
        """Tell whether nothing speaks against this start: nobody else runs, and it goes on from the newest there is."""
        alone = len(self._turn.parts) == 1 and not self._people.moved and not place.fork
        return alone and bool(place.restore) and self._people.is_newest(place.restore)

    def _refusal(self, place: Place, error: Exception, *, must: bool, may: bool) -> str:
        people, session = self._people, self._turn.session
        cause = error.__cause__ if isinstance(error, JobFailed) else error
        faulty = bool(session.faults or session.failing)
        if isinstance(cause, RestoreError | FencedError) and (must or may):
            if must and place.restore and isinstance(cause, RestoreError) and "committed already" not in str(cause):
                raise BrokenPromiseError("refused", f"{place}: {cause}: the store itself had to know")
            people.refused_at(place)
            people.diary.append(f"{self._number} {type(cause).__name__}: {cause}")
            return "refused" if isinstance(cause, RestoreError) else "fenced"
        if isinstance(cause, StoreInUseError) and len(self._turn.parts) > 1:
            return "in use"
        if not faulty or not isinstance(cause, StoreError | OSError):
            raise BrokenPromiseError("progress", f"{place}: {type(cause).__name__}: {error}") from error
        return "failed"

    def _make_run(self, place: Place) -> Run:
        job, turn, part = JOBS[self._plan.job], self._turn, self._part
        names = [*(f"in-{source}" for source in job.sources), *job.stages, *job.outputs]
        others = [version for version in range(_VERSIONS) if version != turn.version]
        options: RunOptions = {"store": place.store, "take_over": part.begin == "take over"}
        if place.fork:
            options["fork"] = place.fork
        if place.restore:
            options["restore"] = place.restore
        return make_run(
            self._plan,
            part.parallelism,
            self._people.root,
            change=partial(versioned, version=turn.version, without=frozenset() if turn.leaf else job.droppable),
            settings={
                "restore_as": {_named(name, old): _named(name, turn.version) for name in names for old in others},
                "allow_dropped": [] if turn.leaf else [_named(name, turn.version) for name in job.droppable],
                "claim": part.claim,
            },
            options=options,
        )

    async def _live(self, job: Job) -> str:
        """Let people ask, and wait for the end; whatever was asked is answered by then."""
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        acts = [loop.create_task(self._perform(job, act, over), name=act.asked) for act in self._part.acts]
        try:
            await job.wait()
        finally:
            over.set()
            if acts:
                await asyncio.wait(acts)
        stopped = any(act.result() for act in acts)
        return "stopped" if stopped else "finished"

    async def _perform(self, job: Job, act: Act, over: asyncio.Event) -> bool:
        """Ask for one thing; True if that ended the job."""
        with anyio.move_on_after(act.at):
            await over.wait()
            return False
        try:
            with anyio.fail_after(ANSWER_S):
                return await self._ask(job, act)
        except TimeoutError:
            self._people.broken.append(BrokenPromiseError("answered", f"{act} is not answered: {job.explain()}"))
        except (StoreError, JobFailed) as error:
            self._people.ends[f"no {act.asked}"] += 1
            self._people.diary.append(f"{self._number} no {act.asked}: {error}")
            if isinstance(error, StoreError) and not str(error):
                self._people.broken.append(BrokenPromiseError("answered", f"{act}: no reason was given"))
        return False

    async def _ask(self, job: Job, act: Act) -> bool:
        match act.asked:
            case "savepoint":
                await self._save(job, act.name)
            case "two savepoints":
                await asyncio.gather(self._save(job, act.name), self._save(job, f"{act.name}-too"))
            case "savepoint twice":
                done = await asyncio.gather(*(self._save(job, act.name) for _ in range(2)), return_exceptions=True)
                self._people.ends[f"{done.count(None)} of two with one name"] += 1
            case "rescale":
                await job.rescale(act.number)
            case "two rescales":
                await asyncio.gather(job.rescale(act.number), job.rescale(1 + act.number % 4))
            case "rescale one":
                alone = sorted(JOBS[self._plan.job].alone)
                await job.rescale(act.number, operator=_named(alone[0], self._turn.version) if alone else None)
            case "stop" | "drain":
                made = await job.stop(savepoint=act.name, drain=act.asked == "drain")
                self._note(made.path)
                self._people.ends["stop"] += 1
                return True
        self._people.ends[act.asked] += 1
        return False

    async def _save(self, job: Job, name: str) -> None:
        self._note((await job.savepoint(name)).path)

    def _note(self, path: str) -> None:
        if path in self._people.made and path not in self._people.given_up:
            self._people.broken.append(BrokenPromiseError("savepoint", f"{path} is made, but it was there"))
        self._people.made.add(path)
        self._people.diary.append(f"{self._number} {path} is made")
        if path in self._people.given_up:
            self._people.given_up.discard(path)
            self._histories.forget(path)


def versioned(graph: LogicalGraph, *, version: int, without: frozenset[str]) -> LogicalGraph:
    """Give the graph as a version of the code has it: under other names, and without what it can do without."""
    kept = [node for node in graph.nodes if node.name not in without]
    numbers: dict[NodeId, NodeId] = {node.id: number for number, node in enumerate(kept)}  # type: ignore[misc]

    def changed(node: Node) -> Node:
        inputs = tuple(replace(edge, source=numbers[edge.source]) for edge in node.inputs)
        return replace(node, id=numbers[node.id], name=_named(node.name, version), inputs=inputs)

    return LogicalGraph(graph.name, graph.max_parallelism, [changed(node) for node in kept])


def _named(name: str, version: int) -> str:
    return f"{name}-v{version}" if version else name
