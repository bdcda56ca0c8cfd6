"""One attempt of a pipeline without the job around it: built on a real store, run by the test."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.graph.chaining import plan_graph
from actorstream.model.ids import SubtaskId
from actorstream.runtime.building import JobContext, build
from actorstream.runtime.job_settings import JobSettings
from actorstream.runtime.statistics import JobStatistics
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.api.pipeline import Pipeline
    from actorstream.model.ids import CheckpointId
    from actorstream.model.world import FileSystem
    from actorstream.runtime.built import Built
    from actorstream.runtime.subtask import Subtask


class Deploying:
    """A store and a plan; `build` gives the next attempt's actors."""

    def __init__(
        self,
        pipeline: Pipeline,
        store: Path,
        *,
        parallelism: int = 1,
        files: FileSystem | None = None,
        **settings: Any,
    ) -> None:
        world = current_world()
        if files is not None:
            world = replace(world, files=files)
        directory = CheckpointDirectory(world.files, str(store))
        self.answers: list[tuple[int, CheckpointId | None, str | None]] = []
        self.context = JobContext(
            plan=plan_graph(pipeline.draft.graph(), parallelism=parallelism, has_store=False),
            settings=JobSettings(**{"checkpoint_interval_us": None, **settings}),
            world=world,
            job=directory.open(world.random.token()),
            directory=directory,
            root=str(store),
            layers_folder=str(store / "layers"),
            statistics=JobStatistics(),
            answer=lambda *answer: self.answers.append(answer),
            documents=world.offload,
        )

    async def build(self) -> Built:
        """Build the next attempt."""
        return await build(self.context)


def subtask_of(built: Built, chain: str, index: int = 0) -> Subtask:
    return built.subtasks[SubtaskId(chain, index)]
