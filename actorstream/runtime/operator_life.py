"""Opens the operators of one actor, from the tail to the head, and closes them again.

open    sinks commit what was restored; windows and joins go on with their state; the user's process is opened
close   whatever was opened, in the other order, also when the job fails; a handler that does not end is left
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from anyio import CancelScope

from actorstream.errors import InvariantError
from actorstream.graph.nodes import SinkSpec, TimedSpec, awaits, errors_of
from actorstream.operators.process_binding import ProcessBinding, class_of
from actorstream.runtime.sinks import SinkPort, WriterContext
from actorstream.state.missing import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from actorstream.graph.plan import Chain
    from actorstream.model.connect import SinkContext, SinkWriter
    from actorstream.model.ids import SubtaskId
    from actorstream.operators.keyed_process import KeyedProcess
    from actorstream.operators.step_text import Bindings
    from actorstream.operators.timed import TimedDefinition
    from actorstream.protocol.commit import PendingCommit
    from actorstream.runtime.chain_runner import ChainRunner
    from actorstream.runtime.deployment import Deployment
    from actorstream.state.operator_state import OperatorState

CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class OperatorPlace:
    """The `OperatorContext` of one subtask."""

    name: str
    subtask: int
    parallelism: int


class OperatorLife:
    """The operators of one subtask, while they are opened and closed."""

    def __init__(
        self,
        deployment: Deployment,
        chain: Chain,
        identity: SubtaskId,
        state: OperatorState | None,
        process: object | None,
        runner: ChainRunner,
    ) -> None:
        """Take what the attempt restored for this subtask; `runner` gets to know what was opened."""
        self.deployment = deployment
        self.chain = chain
        self.identity = identity
        self.state = state
        self.runner = runner
        self.process_class = None if process is None else class_of(process)
        self._process = cast("KeyedProcess[object, object, object] | None", process)
        self._bindings: Bindings | None = None

    @property
    def binding(self) -> ProcessBinding | None:
        """The process object and its states; None until it is open, and where there is none."""
        return None if self._bindings is None else self._bindings.process

    async def _open(self, stack: AsyncExitStack) -> None:
        """Open the operators from the tail to the head, so that each finds those behind it ready."""
        deployment, runner = self.deployment, self.runner
        for node in reversed(self.chain.nodes):
            if isinstance(node.spec, SinkSpec):
                runner.calling = node.name
                context = WriterContext(
                    deployment.job,
                    node.name,
                    self.identity.subtask,
                    deployment.attempt,
                    deployment.committed_through,
                    deployment.holder,
                )
                sink = deployment.sinks.get(node.name, node.spec.sink)
                writer: SinkWriter[object] = await stack.enter_async_context(sink.writer(cast("SinkContext", context)))
                port = SinkPort(context, writer)
                await port.restore(self._restored_tokens(node.name))
                runner.ports[node.id] = port
        if self._bindings is None:
            raise InvariantError(f"{self.identity} runs before it is connected")
        stateful = self.chain.stateful
        if stateful is not None and self.state is not None and isinstance(stateful.spec, TimedSpec):
            definition = cast("TimedDefinition", stateful.spec.definition)
            self._bindings.operator = definition.open(stateful.name, self.state, deployment.world.clock)
        if stateful is not None and self._process is not None and self.state is not None:
            runner.calling = stateful.name
            place, restored = (self.identity.subtask, self.chain.parallelism), deployment.unkeyed.get(stateful.name)
            clock = deployment.world.clock
            undoes, awaited = bool(errors_of(stateful.spec)), awaits(stateful.spec)
            binding = ProcessBinding(
                stateful.name, self._process, self.state, clock, place, restored, undoes=undoes, awaits=awaited
            )
            self._bindings.process = binding
            stack.push_async_callback(self._close, binding)
            await self._process.open(OperatorPlace(stateful.name, self.identity.subtask, self.chain.parallelism))
        await self._opened(stack)
        runner.calling = None
        if self.state is not None and (stored := self.state.stored_key()) is not MISSING:
            runner.keys.expect_like(stored)
        runner.bind(self._bindings)

    async def _opened(self, stack: AsyncExitStack) -> None:
        """All operators are open, none has records yet."""

    async def _let_go(self, stack: AsyncExitStack) -> None:
        """Close all that was opened; shielded, since it is cancellation that ends an actor, and closing may wait."""
        kind, first, trace = sys.exc_info()
        with CancelScope(shield=True, deadline=self.deployment.deadline(CLOSE_SECONDS)):
            try:
                await stack.__aexit__(kind, first, trace)
            except Exception as late:
                if not isinstance(first, Exception):
                    raise
                first.add_note(f"then, while closing: {type(late).__name__}: {late}")

    async def _close(self, binding: ProcessBinding) -> None:
        binding.retire()
        before, self.runner.calling = self.runner.calling, binding.operator
        await binding.process.close()
        self.runner.calling = before

    def _restored_tokens(self, operator: str) -> Sequence[PendingCommit]:
        """Give the tokens of this sink that fall to this subtask, also after its parallelism changed (T109)."""
        mine: list[PendingCommit] = []
        for subtask, pending in self.deployment.restored_tokens.get(operator, {}).items():
            if subtask % self.chain.parallelism == self.identity.subtask:
                mine += pending
        return sorted(mine, key=lambda token: token.checkpoint)
