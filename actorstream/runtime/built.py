"""The actors of one attempt, wired and ready to run, and how they are let go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anyio import CancelScope

from actorstream.errors import StoreError
from actorstream.runtime.loop_head import LoopHead
from actorstream.state.verified import prove

if TYPE_CHECKING:
    from actorstream.graph.plan import Plan
    from actorstream.model.ids import CheckpointId, LayerName, SubtaskId
    from actorstream.protocol.attempts import Claim
    from actorstream.runtime.compactor import Compactor
    from actorstream.runtime.coordinator import CoordinatorActor
    from actorstream.runtime.deployment import Deployment
    from actorstream.runtime.replay_order import ReplayOrder
    from actorstream.runtime.subtask import Subtask
    from actorstream.state.layer import Layer

_DISMANTLED_AT_ONCE = 5_000


@dataclass(slots=True)
class Built:
    """The actors of one attempt, wired and ready to run."""

    plan: Plan
    claim: Claim
    restored_from: CheckpointId | None
    coordinator: CoordinatorActor
    compactor: Compactor
    deployment: Deployment
    subtasks: dict[SubtaskId, Subtask] = field(default_factory=dict)
    order: ReplayOrder | None = None

    async def prove_layers(self) -> None:
        """Read, in threads, those layers that the next attempt would have to read first; few, or none, as a rule.

        A savepoint links every layer, and a file that was linked does not look as it did when it was noted as proved.

        Raises:
            StoreError: A layer is missing or damaged.
        """
        folder, files = self.deployment.layers.folder, self.deployment.world.files
        wanted = {f"{folder}/{layer.file.name}": layer.file for layer in self._open_layers()}
        try:
            await self.deployment.world.offload.run(prove, files, wanted)
        except StoreError:
            if {file.name for file in wanted.values()} <= self.layers_in_use():
                raise
            # One was merged into another meanwhile, and deleted: the next attempt reads what this has left out.

    def release(self) -> None:
        """Let go of every layer: the next attempt may open them. For the rest `close` must be called later."""
        for subtask in self.subtasks.values():
            if subtask.state is not None:
                self.deployment.budget.leave(subtask.state)
                subtask.state.stack.release()

    async def close(self) -> None:
        """End the layer writer's child and let go of every layer and of the state in memory, a slice a turn.

        A second call does nothing.
        """
        with CancelScope(shield=True):
            self.release()
            await self.deployment.layers.close()
            for subtask in self.subtasks.values():
                while subtask.state is not None and subtask.state.dismantle(_DISMANTLED_AT_ONCE):
                    await self.deployment.pace.give_way()

    def layers_in_use(self) -> set[LayerName]:
        """Name every layer that a subtask can still read."""
        heads = (subtask for subtask in self.subtasks.values() if isinstance(subtask, LoopHead))
        return {layer.file.name for layer in self._open_layers()}.union(*(head.spiller.files for head in heads))

    def _open_layers(self) -> set[Layer]:
        return {
            layer
            for subtask in self.subtasks.values()
            if subtask.state is not None
            for _, layers in subtask.state.stack.runs()
            for layer in layers
        }
