"""A sink's writer inside its actor, driven by the commit protocol.

barrier n     pre_commit(n) -> token          what was written since the last barrier is durable
complete(n)   commit(token) for every token <= n, in order, once
restore       commit every token of the checkpoint, abort whatever else was left open
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from actorstream.errors import UserCodeError
from actorstream.protocol.commit import Commit, SinkCommits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.model.connect import SinkWriter
    from actorstream.model.ids import CheckpointId
    from actorstream.protocol.commit import PendingCommit

TOKEN_BYTES_MAX = 4_096


@dataclass(frozen=True, slots=True)
class WriterContext:
    """The `SinkContext` of one subtask."""

    job: str
    operator: str
    subtask: int
    attempt: int
    restored: int
    holder: str = ""


class SinkPort:
    """One sink operator of one subtask. Calls never overlap: its actor makes them all."""

    def __init__(self, context: WriterContext, writer: SinkWriter[object]) -> None:
        """Drive `writer`."""
        self.context = context
        self._writer = writer
        self.doing: Literal["write", "pre_commit", "commit"] | None = None
        self._commits = SinkCommits()

    async def restore(self, pending: Sequence[PendingCommit]) -> None:
        """Commit what the restored checkpoint holds, in order, then drop what was left open (T101, T105)."""
        await self._carry_out(self._commits.on_restored(pending))
        await self._writer.abort(None)

    async def write(self, values: Sequence[object]) -> None:
        """Hand records to the writer."""
        self.doing = "write"
        await self._writer.write(values)
        self.doing = None

    async def pre_commit(self, checkpoint: CheckpointId) -> None:
        """Make everything before the barrier durable."""
        self.doing = "pre_commit"
        token = await self._writer.pre_commit(checkpoint)
        self.doing = None
        if token is not None and len(token) > TOKEN_BYTES_MAX:
            raise UserCodeError(
                f"sink {self.context.operator} gave a token of {len(token)} bytes, at most {TOKEN_BYTES_MAX} are kept "
                "in a checkpoint: put the data in a file or table, and its name in the token",
                operator=self.context.operator,
                subtask=self.context.subtask,
                position=None,
            )
        self._commits.on_pre_commit(checkpoint, token)

    async def complete(self, checkpoint: CheckpointId) -> None:
        """Commit everything up to a complete checkpoint."""
        await self._carry_out(self._commits.on_complete(checkpoint))

    def pending(self) -> tuple[PendingCommit, ...]:
        """Give the tokens that a snapshot must carry."""
        return self._commits.pending()

    async def _carry_out(self, effects: Sequence[object]) -> None:
        for effect in effects:
            if isinstance(effect, Commit):
                self.doing = "commit"
                await self._writer.commit(effect.token)
                self.doing = None
                self._commits.on_committed(effect.checkpoint)
