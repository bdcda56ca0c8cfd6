"""A running job, seen from the code beside it: wait, stop, look, ask."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast, overload

from actorstream.api.metrics import metrics_of
from actorstream.api.savepoint import Savepoint
from actorstream.api.subscription import Subscription
from actorstream.api.table import Table
from actorstream.checkpoints.savepoints import MANIFEST, check_name
from actorstream.codec.ordered_keys import encode_key
from actorstream.codec.values import copy_value
from actorstream.errors import InvariantError, PlanError, StoreError
from actorstream.graph.chaining import plan_graph
from actorstream.model.ids import SubtaskId
from actorstream.model.key_groups import key_group_of, owner_of
from actorstream.operators.state_declarations import StateRef
from actorstream.runtime.explain_gather import gather
from actorstream.runtime.explain_picture import Reader
from actorstream.runtime.explaining import explain, in_sentences
from actorstream.runtime.messages import CheckpointRequest
from actorstream.state.memtable import MISSING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.api.stream import Stream
    from actorstream.graph.nodes import NodeId
    from actorstream.graph.plan import Chain, Plan
    from actorstream.model.ids import CheckpointId
    from actorstream.model.world import World
    from actorstream.runtime.built import Built
    from actorstream.runtime.statistics import JobStatistics
    from actorstream.runtime.subtask import Subtask
    from actorstream.runtime.supervisor import Status, Supervisor
    from actorstream.state.operator_state import OperatorState

K = TypeVar("K")
T = TypeVar("T")
V = TypeVar("V")


class Summary(NamedTuple):
    """What a run did. Records in are those of the sources, out those given to sinks."""

    records_in: int
    records_out: int
    checkpoints: int
    restarts: int
    seconds: float


class Job:
    """One running job. Once it has failed, every method but `explain` raises its JobFailed."""

    def __init__(
        self, plan: Plan, supervisor: Supervisor, statistics: JobStatistics, world: World, root: str | None = None
    ) -> None:
        """Look at a supervised run; made by `Run`. `root`: the job's folder, if it outlives the process."""
        self._first_plan = plan
        self._root = root
        self._supervisor = supervisor
        self._statistics = statistics
        self._world = world
        self._started = world.clock.monotonic()
        self._subscriptions: list[tuple[tuple[tuple[NodeId, str], ...], Subscription[Any]]] = []
        supervisor.on_built = self._attach_all
        supervisor.on_ended = self._finish_subscriptions

    @property
    def _plan(self) -> Plan:
        """What it runs by: another one once it was rescaled."""
        return self._supervisor.plan or self._first_plan

    # ---- life

    @property
    def status(self) -> Status:
        """What the job is doing now."""
        return self._supervisor.status

    async def wait(self) -> Summary:
        """Wait until every input has ended, or `stop`, and the final checkpoint has committed.

        Raises:
            JobFailed: Restarts are used up.
        """
        await self._supervisor.ended.wait()
        self._raise_if_failed()
        return self.summary()

    @overload
    async def stop(self) -> None: ...
    @overload
    async def stop(self, *, savepoint: str, drain: bool = ...) -> Savepoint: ...
    async def stop(self, *, savepoint: str | None = None, drain: bool = False) -> Savepoint | None:
        """Stop the sources, take a final checkpoint and commit its output; the next run goes on from there.

        Args:
            savepoint: Make a savepoint of it, too. It holds no pending output, so it needs nothing of this place.
            drain: End event time first: timers fire, windows close, as if all input had ended. Whoever goes on from
                the savepoint opens closed windows again when more records of them come.

        Raises:
            StoreError: The savepoint could not be made. The job goes on running, unless it ended for another reason,
                or is drained.
            PlanError: The name is none, or the job has no store; the job goes on running.
        """
        if savepoint is None:
            if drain:
                raise PlanError("stop(drain=True) takes a savepoint too: say stop(savepoint=..., drain=True)")
            self.stop_soon()
            await self._supervisor.ended.wait()
            self._raise_if_failed()
            return None
        made = await self._make_savepoint(savepoint, stop=True, drain=drain)
        await self._supervisor.ended.wait()
        self._raise_if_failed()
        return made

    def stop_soon(self) -> None:
        """Ask for what `stop` does, without waiting: for signal handlers. `wait` tells when it is done."""
        self.release_subscriptions()
        self._supervisor.request_stop()

    async def checkpoint(self) -> int:
        """Take a checkpoint now, and give its id once it is complete.

        Raises:
            StoreError: It failed, or none can be taken now; the job goes on.
        """
        self._raise_if_failed()
        future: asyncio.Future[CheckpointId] = asyncio.get_running_loop().create_future()
        self._supervisor.request(future)
        return await future

    async def savepoint(self, name: str) -> Savepoint:
        """Take a savepoint now, and give it once it is durable.

        It holds all that a job needs to go on from it, in a folder of its own that may be moved, and that no job
        deletes. It commits nothing: output of the time since the last checkpoint is in it as pending.

        Raises:
            StoreError: It failed, there is one of this name, or none can be taken now; the job goes on.
            PlanError: The name is none, or the job has no store.
        """
        return await self._make_savepoint(name, stop=False, drain=False)

    async def _make_savepoint(self, name: str, *, stop: bool, drain: bool) -> Savepoint:
        self._raise_if_failed()
        check_name(name)
        if self._root is None:
            raise PlanError("the job has no store that outlives it, so no savepoint can be made: say run(store=...)")
        path = os.path.join(self._root, "savepoints", name)
        if self._world.files.exists(os.path.join(path, MANIFEST)):
            raise StoreError(f"{path} is a savepoint already: give the new one another name, or delete that one")
        future: asyncio.Future[CheckpointId] = asyncio.get_running_loop().create_future()
        if stop:
            self.release_subscriptions()
        self._supervisor.request(future, CheckpointRequest(0, stop=stop, savepoint=name, drain=drain))
        try:
            await future
        except StoreError:
            if self.status != "stopping":
                for _, subscription in self._subscriptions:
                    subscription.hold()
            raise
        return Savepoint(name, path)

    async def rescale(self, parallelism: int, *, operator: str | None = None) -> None:
        """Go on with another parallelism; returns once every operator is open again.

        An ordinary checkpoint is taken while the job runs, so that the second one, at whose barrier the sources stop,
        has little to write; another attempt goes on from that. Layers that a savepoint has linked are read before.
        State, timers, windows, positions and pending output go along with their keys. Nothing is lost or doubled.

        Args:
            parallelism: Of operators that do not say their own, or of `operator`; at most the pipeline's
                max_parallelism.
            operator: The one operator to change, by its name.

        Raises:
            PlanError: There is no such operator, or it cannot have this parallelism; nothing has happened.
            StoreError: The checkpoint failed, a layer is damaged, or the job cannot be rescaled now: it goes on as it
                was. Or the job failed when it had been handed over: then it restarts with the new parallelism.
        """
        self._raise_if_failed()
        self._plan_with(parallelism, operator)  # refuses before anything happens
        await self.checkpoint()
        await self._supervisor.prove_layers()
        future: asyncio.Future[CheckpointId] = asyncio.get_running_loop().create_future()
        # Of now: another rescale may have been done meanwhile, which a plan of before would undo.
        self._supervisor.request_rescale(future, self._plan_with(parallelism, operator))
        await future

    def _plan_with(self, parallelism: int, operator: str | None) -> Plan:
        graph, degree, of_operators = self._plan.graph, self._plan.parallelism, self._plan.of_operators
        if operator is None:
            degree = parallelism
        else:
            of_operators = {**of_operators, operator: parallelism}
        if operator is not None and all(node.name != operator for node in graph.nodes):
            names = sorted(node.name for node in graph.nodes)
            raise PlanError(f"there is no operator {operator!r} to rescale: the job has {names}")
        return plan_graph(graph, parallelism=degree, has_store=self._root is not None, of_operators=of_operators)

    def summary(self) -> Summary:
        """Give the counts so far."""
        statistics = self._statistics
        records_in, records_out = statistics.records_in, statistics.records_out
        attempt = self._supervisor.attempt
        if attempt is not None:
            for subtask in attempt.built.subtasks.values():
                records_in += 0 if subtask.chain.inputs else subtask.statistics.records_in
                records_out += subtask.statistics.records_delivered
        seconds = self._world.clock.monotonic() - self._started
        return Summary(records_in, records_out, statistics.checkpoints, statistics.restarts, seconds)

    def metrics(self) -> Mapping[str, float]:
        """Read every counter: `<chain>.<subtask>.<name>` for actors, `job.<name>` for the whole.

        An actor has a watermark, in Unix seconds, between the first one that comes and the end of its input, and a
        `start_delay_seconds` from when the barrier of the newest checkpoint has come to it, which took so long. Its
        `latency_seconds` is how long ago its source had read what it is through with: of a batch in 0.1 s, waits and
        calls included, of timers and windows nothing.
        """
        self._raise_if_failed()
        return metrics_of(self._statistics, self._supervisor.attempt)

    def explain(self) -> str:
        """Say in sentences what holds the output up: where, since when, and what to do about it.

        The most telling comes first. It never raises: of a job that has failed or finished it says that. It costs
        nothing until it is called, and then about 5 µs for each channel of the job.
        """
        readers = [
            Reader(self._plan.graph.nodes[nodes[0][0]].name, len(full._elements), full._buffer)  # noqa: SLF001
            for nodes, full in self._subscriptions
            if full._room  # noqa: SLF001  (it says to nobody else that it is full)
        ]
        picture = gather(
            self._plan, self._supervisor, self._statistics, self._world.clock, started=self._started, readers=readers
        )
        return in_sentences(explain(picture))

    # ---- questions

    @overload
    async def get(self, of: Table[K, V], key: K, /) -> V | None: ...
    @overload
    async def get(self, of: StateRef[K, V], key: K, /, *, operator: str | None = ...) -> V: ...
    async def get(
        self, of: Table[Any, Any] | StateRef[Any, Any], key: object, /, *, operator: str | None = None
    ) -> Any:
        """Read one key's live value, as of the last record handled; waits while the job restarts.

        A missing key gives None for a Table, the default for a state. What is given back is yours.

        Raises:
            PlanError: The table or state is not of this job, or several operators have it: say `operator`. Or it is
                neither a table nor a state by key.
            CodecError: The key is of a type that no key can have.
        """
        if not isinstance(of, StateRef | Table):
            raise PlanError(f"get({of!r:.100}): expected a table, or a state by key as in get(Class.state, key)")
        built = await self._supervisor.running()
        if isinstance(of, StateRef):
            return self._get_state(built, of, key, operator)
        chain = self._chain_of(of)
        _, state = self._owner(built, chain, key)
        row = state.rows.peek(key)
        return None if row is MISSING else copy_value(row)

    def _get_state(self, built: Built, ref: StateRef[Any, Any], key: object, operator: str | None) -> object:
        subtask, state = self._owner(built, self._chain_with(built, ref, operator), key)
        binding, name = subtask.binding, ref.name
        if binding is None:
            raise InvariantError(f"{subtask.identity} is asked before it is open")
        shown, event_time, now_us = binding.aging.answer, binding.aging.event_time, subtask.runner.event_time_us
        if event_time is not None and now_us is not None:
            event_time.reach(now_us)  # what a merge may have dropped is not shown: no answer hangs on whether it has
        if name in binding.views:
            entries = [(item, shown(name, stored)) for item, stored in state.maps[name].peek(key)]
            return {item: value for item, value in entries if value is not MISSING}
        row = state.rows.peek(key)
        if row is not MISSING and len(binding.values) > 1:
            row = cast("tuple[object, ...]", row)[binding.values.index(name)]
        value = shown(name, row)
        if value is not MISSING:
            return copy_value(value)
        default, factory = binding.defaults[name]
        return default if factory is None else factory()

    def _chain_of(self, table: Table[Any, Any]) -> Chain:
        node = table.origin.node
        chain = self._plan.chain_of.get(node.id)
        if chain is None or self._plan.graph.nodes[node.id] is not node:
            raise PlanError(f"table {node.name!r} is not of this job: use the one that its pipeline made")
        return chain

    def _chain_with(self, built: Built, ref: StateRef[Any, Any], operator: str | None) -> Chain:
        found = [
            subtask.chain
            for identity, subtask in built.subtasks.items()
            if identity.subtask == 0
            and subtask.process_class is not None
            and issubclass(subtask.process_class, ref.owner)
            and subtask.chain.stateful is not None
            and operator in {None, subtask.chain.stateful.name}
        ]
        if len(found) != 1:
            names = ", ".join(chain.stateful.name for chain in found if chain.stateful is not None) or "none"
            raise PlanError(
                f"{ref.owner.__name__}.{ref.name} is a state of these operators of the job: {names}; "
                "expected exactly one: say operator=..."
            )
        return found[0]

    def _owner(self, built: Built, chain: Chain, key: object) -> tuple[Subtask, OperatorState]:
        """Give the subtask that has a key, and its state."""
        max_parallelism = self._plan.graph.max_parallelism
        owner = owner_of(key_group_of(encode_key(key), max_parallelism), chain.parallelism, max_parallelism)
        subtask = built.subtasks[SubtaskId(chain.name, owner)]
        if subtask.state is None:
            raise PlanError(f"{chain.head.name} keeps no state")
        return subtask, subtask.state

    # ---- subscriptions

    def subscribe(
        self,
        stream: Stream[T],
        /,
        *,
        buffer: int = 1024,
        overflow: Literal["wait", "drop_oldest", "error"] = "wait",
    ) -> Subscription[T]:
        """Follow a stream's elements from now on.

        After a restart, elements since the last checkpoint come again. `wait` holds the job up while
        `buffer` elements are unread; `drop_oldest` loses the oldest; `error` ends the subscription with StoreError.
        """
        self._raise_if_failed()
        nodes = tuple((edge.source, edge.output) for edge in stream.origin.inputs)
        mine, theirs = self._plan.graph.nodes, stream.origin.draft.nodes
        for node, _ in nodes:
            if node >= len(mine) or mine[node] is not theirs[node]:
                raise PlanError("the stream is not of this job: it is another pipeline's, or was added after run()")
        subscription: Subscription[T] = Subscription(
            buffer, overflow, self._unsubscribe, self._supervisor.ended, self._raise_if_failed
        )
        self._subscriptions.append((nodes, subscription))
        attempt = self._supervisor.attempt
        if attempt is not None:
            self._attach(attempt.built, nodes, subscription)
        return subscription

    def release_subscriptions(self) -> None:
        """Let no subscriber hold the job up any more: it is about to stop."""
        for _, subscription in self._subscriptions:
            subscription.release()

    def _finish_subscriptions(self) -> None:
        for _, subscription in self._subscriptions:
            subscription.finish()

    def _attach_all(self, built: Built) -> None:
        for nodes, subscription in self._subscriptions:
            self._attach(built, nodes, subscription)

    def _attach(self, built: Built, nodes: tuple[tuple[NodeId, str], ...], subscription: Subscription[Any]) -> None:
        for subtask in built.subtasks.values():
            for node in nodes:
                if any(member.id == node[0] for member in subtask.chain.nodes):
                    subtask.runner.taps.setdefault(node, []).append(subscription.push)
                    subtask.runner.compile()

    def _unsubscribe(self, subscription: Subscription[Any]) -> None:
        self._subscriptions = [pair for pair in self._subscriptions if pair[1] is not subscription]
        attempt = self._supervisor.attempt
        if attempt is None:
            return
        for subtask in attempt.built.subtasks.values():
            taps = subtask.runner.taps
            for node in list(taps):
                left = [tap for tap in taps[node] if tap != subscription.push]
                if len(left) == len(taps[node]):
                    continue
                if left:
                    taps[node] = left
                else:
                    del taps[node]
                subtask.runner.compile()

    def _raise_if_failed(self) -> None:
        if self._supervisor.failure is not None:
            raise self._supervisor.failure
