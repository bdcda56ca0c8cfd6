"""From a plan and a store to actors: who owns what, what is restored, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.errors import JobFailed, RestoreError, StateAccessError, StoreError, UserCodeError
from actorstream.model.ids import SubtaskId
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import MapState, ValueState
from actorstream.operators.windows.assigners import Tumbling
from actorstream.runtime.attempt import Attempt
from actorstream.runtime.messages import SplitPosition
from actorstream.runtime.splits import silent_subtasks
from actorstream.state import lmdb_env
from tests.operators.rig import planned
from tests.runtime.deploying import Deploying
from tests.runtime.doubles import Splits, Target, until

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.api.keyed import KeyedStream
    from actorstream.operators.contexts import Context


class Counting(KeyedProcess[int, int, int]):
    """One state."""

    n: ValueState[int] = ValueState(0)

    def on_element(self, value: int, ctx: Context[int], /) -> list[int]:
        """Count."""
        self.n += 1
        return [self.n]


class Renamed(KeyedProcess[int, int, int]):
    """The same under another name."""

    m: ValueState[int] = ValueState(0)


class Retyped(KeyedProcess[int, int, int]):
    """The same name, another type."""

    n: ValueState[str] = ValueState("")


class Rekinded(KeyedProcess[int, int, int]):
    """The same name, another kind."""

    n: MapState[int, int] = MapState()


class Extended(Counting):
    """One state more."""

    more: ValueState[int] = ValueState(5)

    def on_element(self, value: int, ctx: Context[int], /) -> list[int]:
        """Count, and show both."""
        return [*super().on_element(value, ctx), self.more]


Build = "Callable[[KeyedStream[int, int]], object]"


def pipeline(build: Any, *, max_parallelism: int = 128, target: Any = None, source: Any = None) -> Pipeline:
    made = Pipeline("t", max_parallelism=max_parallelism)
    stream = made.source(source or Splits({"a": [1, 2, 3]}), name="in")
    build(stream.key_by(abs))
    if target is not None:
        stream.sink(target, name="out")
    return made


async def run(made: Pipeline, store: Path) -> None:
    deploying = Deploying(made, store)
    await Attempt(await deploying.build()).run(lambda: None)
    deploying.context.directory.close()


def counting(keyed: KeyedStream[int, int]) -> None:
    keyed.process(Counting, name="p")


async def test_every_subtask_has_an_actor_and_its_own_key_groups(tmp_path: Path) -> None:
    made = pipeline(lambda k: k.process(Counting, name="p", parallelism=3))
    built = await Deploying(made, tmp_path).build()
    states = [built.subtasks[SubtaskId("p", index)].state for index in range(3)]

    assert [state.stack.key_groups for state in states if state] == [(0, 43), (43, 86), (86, 128)]
    assert len({id(built.subtasks[SubtaskId("p", index)]._process) for index in range(3)}) == 3
    assert [len(subtask.mailbox.lanes) for subtask in built.subtasks.values()] == [1, 1, 1, 1]
    await built.close()


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (
            lambda k: k.count(name="q"),
            r"holds state of operator 'p', which the pipeline does not have \(it has \['q'\]\)",
        ),
        (
            lambda k: k.process(Renamed, name="p"),
            "operator 'p' had a state 'n', which its class does not declare any more",
        ),
        (lambda k: k.process(Retyped, name="p"), r"state p\.n changed its type: .* give the new type a new name"),
        (lambda k: k.process(Rekinded, name="p"), r"state p\.n was a value state and is now a map state"),
    ],
    ids=["operator", "state", "type", "kind"],
)
async def test_checkpoint_that_the_plan_cannot_go_on_from_is_refused(tmp_path: Path, after: Any, message: str) -> None:
    """Nothing is dropped in silence."""
    await run(pipeline(counting), tmp_path)

    with pytest.raises(RestoreError, match=message):
        await Deploying(pipeline(after), tmp_path).build()


@pytest.mark.parametrize("parallelism", [1, 3])
async def test_keys_of_another_type_than_those_in_the_store_are_refused(tmp_path: Path, parallelism: int) -> None:
    """T34: no such key would find its state, and every count would begin anew in silence."""
    source = Splits({"a": list(range(20))}, allowed=10)

    def keyed_by(key: Any) -> Pipeline:
        made = Pipeline("t")
        made.source(source, name="in").key_by(key).process(Counting, name="p", parallelism=parallelism)
        return made

    async with keyed_by(int).run(store=tmp_path) as job:
        await until(lambda: job.summary().records_in == 10)
    source.allow(None)
    with pytest.raises(JobFailed, match=r"p: key_by gave '1\d', a str, but .* under keys of type int; give keys"):
        await keyed_by(str).run(store=tmp_path)
    summary = await keyed_by(int).run(store=tmp_path)
    assert summary.records_in == 10


async def test_changed_max_parallelism_is_refused_with_what_to_say(tmp_path: Path) -> None:
    """T123."""
    await run(pipeline(counting), tmp_path)

    with pytest.raises(RestoreError, match=r"say Pipeline\('t', max_parallelism=128\)"):
        await Deploying(pipeline(counting, max_parallelism=64), tmp_path).build()


async def test_source_or_sink_that_is_gone_is_refused(tmp_path: Path) -> None:
    await run(pipeline(counting, target=Target()), tmp_path)

    with pytest.raises(RestoreError, match="pending output of sink 'out', which the pipeline does not have"):
        await Deploying(pipeline(counting), tmp_path).build()
    renamed = Pipeline("t")
    stream = renamed.source(Splits({"a": [1]}), name="other")
    stream.key_by(abs).process(Counting, name="p")
    stream.sink(Target(), name="out")
    with pytest.raises(RestoreError, match="positions of source 'in', which the pipeline does not have"):
        await Deploying(renamed, tmp_path).build()


async def test_state_may_be_added(tmp_path: Path) -> None:
    """The old ones go on; the new one has its default."""
    source = Splits({"a": [1]})
    await run(pipeline(counting, source=source), tmp_path)
    source.records["b"] = [1]
    seen: list[int] = []
    await run(pipeline(lambda k: k.process(Extended, name="p").sink(seen.append), source=source), tmp_path)

    assert seen == [2, 5]


async def test_stateless_operators_may_change_freely(tmp_path: Path) -> None:
    """T91."""
    await run(pipeline(lambda k: k.process(Counting, name="p").map(abs, name="m").sink(str, name="s")), tmp_path)
    await run(pipeline(lambda k: k.process(Counting, name="p").filter(bool, name="f").sink(str, name="z")), tmp_path)


async def test_damaged_layer_names_the_file_and_leaves_no_other_open(tmp_path: Path) -> None:
    """The good ones are opened before it; a job that is tried again for hours must not run out of handles."""
    source = Splits({"a": [1]})
    await run(pipeline(counting, source=source), tmp_path)
    source.records["b"] = [1]
    await run(pipeline(counting, source=source), tmp_path)
    layers = sorted((tmp_path / "layers").iterdir())
    open_before = set(lmdb_env._open_envs)
    for layer in layers:
        data = bytearray(layer.read_bytes())
        layer.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

        with pytest.raises((StoreError, RestoreError), match=layer.name):
            await Deploying(pipeline(counting), tmp_path).build()
        assert set(lmdb_env._open_envs) == open_before
        layer.write_bytes(data)
    assert len(layers) == 2


@pytest.mark.parametrize(
    "error", [ValueError("no"), StateAccessError("no key")], ids=lambda error: type(error).__name__
)
async def test_process_that_cannot_be_built_is_named(tmp_path: Path, error: Exception) -> None:
    def factory() -> Counting:
        raise error

    with pytest.raises(UserCodeError, match=f"p raised {type(error).__name__} when it was built: no") as failed:
        await Deploying(pipeline(lambda k: k.process(factory, name="p")), tmp_path).build()
    assert failed.value.operator == "p"
    assert failed.value.__cause__ is error


async def test_attempts_are_claimed_also_by_those_that_fail_to_build(tmp_path: Path) -> None:
    """A number is never used twice: it fences."""
    for expected in (1, 2, 3):
        deploying = Deploying(pipeline(counting), tmp_path)
        built = await deploying.build()
        await built.close()
        assert built.claim.attempt == expected
        deploying.context.directory.close()


def test_nobody_waits_for_a_subtask_that_no_record_can_come_to() -> None:
    """What is late must not depend on when a source without splits, or a map behind it, says that it is idle."""
    made = Pipeline("t")
    read = made.source([1, 2], name="in").assign_timestamps(float)
    read.map(abs, name="on-the-way", new_chain=True).key_by(abs).window(Tumbling(5)).count(name="windows")
    plan = planned(made, parallelism=3)
    open_split, ended = SplitPosition(1, finished=False), SplitPosition(9, finished=True)
    splits = {SubtaskId("in", 0): {"a": ended, "b": open_split}, SubtaskId("in", 1): {"c": ended}}

    silent = silent_subtasks(plan, {**splits, SubtaskId("in", 2): {}})

    assert silent == {SubtaskId(chain, subtask) for chain in ("in", "on-the-way") for subtask in (1, 2)}
