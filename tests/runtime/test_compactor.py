"""The compactor: which layers it takes, that a merge shows nowhere, and that a job's stacks stay low."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.api.pipeline import Pipeline
from actorstream.api.run import Run
from actorstream.api.settings import Settings
from actorstream.checkpoints.view import StoreView
from actorstream.model.ids import CheckpointId, LayerName, OperatorNumber
from actorstream.model.key_groups import KeyGroupRange
from actorstream.operators.keyed_process import Context, KeyedProcess
from actorstream.operators.state_declarations import MapState, ValueState
from actorstream.protocol.restart import Restart
from actorstream.runtime import compactor as compactor_module
from actorstream.runtime.compactor import LAYERS_AIM, LAYERS_MAX, MERGED_MIN, Compactor, StackedRun, choose, pieces_of
from actorstream.state import lmdb_env
from actorstream.state.entries import Slots, head_of
from actorstream.state.layer import Layer
from actorstream.state.lmdb_env import open_layer
from actorstream.state.stack import LayerStack
from actorstream.system.current import current_world
from actorstream.system.files import RealFiles
from tests.runtime.doubles import Splits, Target, until
from tests.state.rig import ALL, Shelf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from actorstream.api.job import Job
    from actorstream.api.options import RunOptions
    from actorstream.model.world import World
    from actorstream.runtime.building import Built

FIVE = OperatorNumber(5)
LOW, HIGH = KeyGroupRange(0, 4), KeyGroupRange(4, 8)
MIB = 1 << 20


# ---- which layers


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Layer]]:
    """Give layers that say they have a size: one file of a few bytes serves all."""
    shelf = Shelf(tmp_path_factory.mktemp("layers"))
    file = shelf.write([])
    names = count(1)
    made: list[Layer] = []

    def layer(size: int) -> Layer:
        name = LayerName(f"1-0-{next(names)}.lmdb")
        made.append(Layer(replace(file, name=name, size=size), open_layer(shelf.path(file))))
        return made[-1]

    yield layer
    for each in made:
        each.release()


def stacked(*layers: Layer, groups: KeyGroupRange = ALL) -> StackedRun:
    return StackedRun(FIVE, groups, layers)


def names_of(*runs: StackedRun) -> set[LayerName]:
    return {layer.file.name for run in runs for layer in run.layers}


def sizes_of(layers: Sequence[Layer]) -> list[int]:
    return [layer.file.size for layer in layers]


def test_low_stacks_are_left_alone(sized: Callable[[int], Layer]) -> None:
    run = stacked(*(sized(1) for _ in range(LAYERS_AIM)))
    assert choose([run], names_of(run)) == []
    assert choose([], set()) == []


@pytest.mark.parametrize(
    ("sizes", "taken"),
    [
        ([1] * 9, 9),
        ([1] * 8 + [2 * MIB], 9),
        ([1] * 8 + [2 * MIB + 1], 8),
        ([MIB] * 8 + [16 * MIB, 50 * MIB], 9),
        ([MIB] * 8 + [17 * MIB], 8),
        ([MIB, 3 * MIB, 9 * MIB, 27 * MIB, 100 * MIB, 300 * MIB, 900 * MIB, 2700 * MIB, 9000 * MIB], MERGED_MIN),
        ([3**n for n in range(LAYERS_MAX + 1)], LAYERS_MAX + 1),
    ],
)
def test_newest_layers_go_together_while_the_next_is_not_much_larger(
    sized: Callable[[int], Layer], sizes: list[int], taken: int
) -> None:
    """Each entry is written about log(size) times, not once a checkpoint; above 24 all of them."""
    run = stacked(*map(sized, sizes))
    assert sizes_of(choose([run], names_of(run))) == sizes[:taken]


def test_what_lies_between_in_any_stack_is_taken_along(sized: Callable[[int], Layer]) -> None:
    """Else something would get older or younger than the layer between; what that one drags in comes too."""
    a, b, c, between, further = (sized(1) for _ in range(5))
    rest = [sized(1) for _ in range(6)]
    deep = stacked(a, b, c, *rest)
    dragging = stacked(a, between, c, groups=LOW)
    dragged = stacked(b, further, between, groups=HIGH)
    runs = [deep, dragging, dragged, stacked(sized(1))]

    assert set(choose(runs, names_of(*runs))) == {a, b, c, *rest, between, further}


def test_layer_that_the_newest_manifest_does_not_list_is_not_taken(sized: Callable[[int], Layer]) -> None:
    """No manifest might ever list it, and then nobody would delete it."""
    layers = [sized(1) for _ in range(12)]
    run = stacked(*layers)
    fresh, merged = layers[0], layers[10]
    assert choose([run], names_of(run) - {fresh.file.name, merged.file.name}) == layers[1:10]
    assert choose([run], names_of(run) - {layers[3].file.name}) == [], "three are too few"
    between = stacked(layers[1], unlisted := sized(1), layers[2], groups=LOW)
    assert choose([run, between], names_of(run, between) - {unlisted.file.name}) == []


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_chosen_layers_are_contiguous_everywhere(sized: Callable[[int], Layer], data: st.DataObject) -> None:
    pool = [sized(data.draw(st.sampled_from([1, MIB, 5 * MIB]))) for _ in range(14)]
    masks = data.draw(st.lists(st.sets(st.integers(0, 13)), min_size=1, max_size=4))
    runs = [stacked(*(layer for n, layer in enumerate(pool) if n in mask)) for mask in masks]
    listed = names_of(*runs) - {pool[n].file.name for n in data.draw(st.sets(st.integers(0, 13), max_size=2))}
    chosen = choose(runs, listed)

    assert {layer.file.name for layer in chosen} <= listed
    assert not chosen or MERGED_MIN <= len(chosen) == len(set(chosen))
    if max(len(run.layers) for run in runs) <= LAYERS_AIM:
        assert chosen == []
    for run in runs:
        places = [n for n, layer in enumerate(run.layers) if layer in chosen]
        assert places == list(range(places[0], places[-1] + 1)) if places else True
    for piece, run in zip(pieces_of(runs, chosen), [r for r in runs if set(r.layers) & set(chosen)], strict=True):
        assert [chosen[n] for n in piece.layers] == [layer for layer in run.layers if layer in chosen]
        assert piece.bottom == (run.layers[-1] in chosen)


# ---- a merge beside a running job


class HeldOffload:
    """Threads that give their result only when they may."""

    def __init__(self, world: World) -> None:
        self.busy = 0
        self.may_return = anyio.Event()
        self.called = 0
        self._offload = world.offload

    async def run(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call, then wait."""
        with anyio.CancelScope(shield=True):
            result = await self._offload.run(fn, *args, **kwargs)
            self.called += 1
            await self.may_return.wait()
        await checkpoint()
        return result


class Bench:
    """Two stacks over shared layers, of values 0 to 9 under keys 0 to 9, and their compactor at work."""

    def __init__(self, folder: Path, world: World | None = None) -> None:
        self.shelf = Shelf(folder)
        self.stacks = [LayerStack.covering(LOW), LayerStack.covering(HIGH)]
        for value in range(LAYERS_AIM + 2):
            self.push(value)
        self.compactor = Compactor(
            world or current_world(), str(folder), self.shelf.name, [(FIVE, stack) for stack in self.stacks]
        )
        self.values = self.read()

    def push(self, value: int) -> None:
        slots = Slots()
        part = [
            slots.entry(head_of(FIVE, group, 1), b"%d" % key, b"", b"\x00%d" % value)
            for group in (0, 5)
            for key in {value, 7}
        ]
        with self.shelf.layer(part) as layer:
            for stack in self.stacks:
                stack.push(layer)

    def read(self) -> list[bytes | None]:
        found = []
        for stack, group in zip(self.stacks, (0, 5), strict=True):
            for key in range(20):
                values = (layer.get(head_of(FIVE, group, 1) + b"%d" % key) for layer in stack.layers_for(group))
                found.append(next((value for value in values if value is not None), None))
        return found

    def complete(self) -> None:
        self.compactor.on_complete(
            frozenset(layer.file.name for s in self.stacks for _, run in s.runs() for layer in run)
        )

    def names(self) -> list[str]:
        return sorted(path.name for path in self.shelf.folder.iterdir())

    @property
    def depths(self) -> list[int]:
        return [stack.layers for stack in self.stacks]


@asynccontextmanager
async def at_work(bench: Bench) -> AsyncIterator[Bench]:
    """Run the compactor of a bench for the block."""
    async with anyio.create_task_group() as group:
        group.start_soon(bench.compactor.run)
        yield bench
        group.cancel_scope.cancel()
    for stack in bench.stacks:
        stack.release()


@pytest.fixture(params=["in a thread", "in a child"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "in a child":
        monkeypatch.setattr(compactor_module, "CHILD_BYTES", 0)
    return str(request.param)


@pytest.mark.usefixtures("way")
async def test_merge_shows_nowhere(tmp_path: Path) -> None:
    """One file for both stacks; the old ones are closed and still there: only retention deletes."""
    async with at_work(Bench(tmp_path)) as bench:
        before, opened = bench.names(), len(lmdb_env._open_envs)
        bench.complete()
        await until(lambda: bench.depths == [1, 1])

        assert bench.read() == bench.values
        assert bench.stacks[0].layers_for(0) == bench.stacks[1].layers_for(5)
        assert len(bench.names()) == len(before) + 1
        assert set(before) < set(bench.names())
        assert len(lmdb_env._open_envs) == opened - len(before) + 1


async def test_layer_pushed_meanwhile_lies_on_top(tmp_path: Path) -> None:
    offload = HeldOffload(current_world())
    async with at_work(Bench(tmp_path, replace(current_world(), offload=offload))) as bench:
        bench.complete()
        await until(lambda: offload.called)
        bench.push(15)
        pushed, expected = bench.stacks[0].layers_for(0)[0], bench.read()
        offload.may_return.set()
        await until(lambda: bench.depths == [2, 2])

        assert bench.stacks[0].layers_for(0)[0] is pushed
        assert bench.read() == expected


async def test_completion_during_a_merge_is_not_forgotten(tmp_path: Path) -> None:
    """The next choice comes at once, with the manifest that is newest by then."""
    offload = HeldOffload(current_world())
    async with at_work(Bench(tmp_path, replace(current_world(), offload=offload))) as bench:
        bench.complete()
        await until(lambda: offload.called)
        for value in range(30, 40):
            bench.push(value)
        bench.complete()
        offload.may_return.set()
        await until(lambda: bench.depths == [2, 2])


async def test_result_for_stacks_that_changed_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    offload = HeldOffload(current_world())
    async with at_work(Bench(tmp_path, replace(current_world(), offload=offload))) as bench:
        before = bench.names()
        bench.complete()
        await until(lambda: offload.called)
        bench.stacks[1].replace(bench.stacks[1].layers_for(5)[:3], None)
        offload.may_return.set()
        await until(lambda: offload.called == 2)

        assert bench.depths == [10, 7]
        assert bench.names() == before
        assert "merged layer dropped" in caplog.text


@pytest.mark.usefixtures("way")
async def test_merge_that_fails_changes_nothing_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged layer is never copied; with the file back in place the next checkpoint's merge succeeds."""
    async with at_work(Bench(tmp_path)) as bench:
        before = bench.names()
        path = tmp_path / before[3]
        aside = path.rename(tmp_path / "aside")
        path.write_bytes(bytes(aside.stat().st_size))
        bench.complete()
        await until(lambda: "layers stay unmerged" in caplog.text)
        assert "digest" in caplog.text
        assert bench.depths == [10, 10]
        aside.replace(path)
        await until(lambda: bench.names() == before)
        bench.complete()
        await until(lambda: bench.depths == [1, 1])
        assert bench.read() == bench.values


DYING = "import json, sys; open(json.load(sys.stdin)['target'], 'w').write('half'); sys.exit('out of memory')"
LASTING = "import json, sys, time; open(json.load(sys.stdin)['target'], 'w').write('half'); time.sleep(60)"


async def test_child_that_dies_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compactor_module, "CHILD_BYTES", 0)
    monkeypatch.setattr(compactor_module, "_COMMAND", ("-c", DYING))
    async with at_work(Bench(tmp_path)) as bench:
        before = bench.names()
        bench.complete()
        await until(lambda: "ended with 1: out of memory" in caplog.text)
        await until(lambda: bench.names() == before)
        assert bench.depths == [10, 10]


async def test_end_of_the_attempt_ends_the_child_and_removes_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would refer to it; and a job must not wait for a merge to end."""
    monkeypatch.setattr(compactor_module, "CHILD_BYTES", 0)
    monkeypatch.setattr(compactor_module, "_COMMAND", ("-c", LASTING))
    with anyio.fail_after(20):
        async with at_work(Bench(tmp_path)) as bench:
            before = bench.names()
            bench.complete()
            await until(lambda: len(bench.names()) > len(before))
    assert bench.names() == before


async def test_end_of_the_attempt_during_a_call_closes_and_removes_its_file(tmp_path: Path) -> None:
    """A call in a thread always ends first: what it opened is not lost."""
    offload = HeldOffload(current_world())
    opened = len(lmdb_env._open_envs)
    bench = Bench(tmp_path, replace(current_world(), offload=offload))
    before = bench.names()
    async with anyio.create_task_group() as group:
        group.start_soon(bench.compactor.run)
        bench.complete()
        await until(lambda: offload.called)
        assert len(bench.names()) > len(before)
        group.cancel_scope.cancel()
        offload.may_return.set()
    for stack in bench.stacks:
        stack.release()
    assert bench.names() == before
    assert len(lmdb_env._open_envs) == opened


# ---- whole jobs


class Basket(KeyedProcess[str, int, tuple[str, int, int, int]]):
    """Values, maps, removals, cleared maps; the keys are long."""

    count: ValueState[int] = ValueState(0)
    total: ValueState[int] = ValueState(0)
    items: MapState[str, int] = MapState()

    def on_element(self, value: int, ctx: Context[str], /) -> list[tuple[str, int, int, int]]:
        """Keep the last few; start again after 50."""
        self.count += 1
        self.total += value
        self.items["i" * 230 + str(value % 11)] = value
        if value % 3 == 0:
            self.items.pop("i" * 230 + str(value % 7), None)
        if self.count % 50 == 0:
            self.items.clear()
        return [(ctx.key, self.count, self.total, sum(self.items.values()))]


def key_of(value: int) -> str:
    """Few keys are hot, many are seen once or twice."""
    number = value % 5 if value % 3 else value % 97
    return "k" * 220 + str(number)


def expected(values: Sequence[int]) -> Counter[tuple[str, int, int, int]]:
    """Do the same in plain Python."""
    counts: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    items: dict[str, dict[int, int]] = {}
    results = []
    for value in values:
        key = key_of(value)
        counts[key] += 1
        totals[key] += value
        mine = items.setdefault(key, {})
        mine[value % 11] = value
        if value % 3 == 0:
            mine.pop(value % 7, None)
        if counts[key] % 50 == 0:
            mine.clear()
        results.append((key, counts[key], totals[key], sum(mine.values())))
    return Counter(results)


def baskets(source: Any, sink: Any) -> Pipeline:
    pipeline = Pipeline("t")
    pipeline.source(source, name="in", parallelism=1).key_by(key_of).process(Basket, name="basket").sink(
        sink, name="out"
    )
    return pipeline


def built_of(job: Job) -> Built:
    attempt = job._supervisor.attempt
    assert attempt is not None
    return attempt.built


class Once(dict[tuple[str, int], Exception]):
    """Failures that come once each."""

    def get(self, key: tuple[str, int], default: Any = None) -> Any:
        """Take a failure away."""
        return self.pop(key, default)


class KilledError(Exception):
    """Leaves a job at once, with no checkpoint."""


class Watch:
    """The highest stack and the most open layers that were seen."""

    def __init__(self) -> None:
        self.depth = 0
        self.open = 0

    def look(self, job: Job) -> None:
        attempt = job._supervisor.attempt
        for subtask in attempt.built.subtasks.values() if attempt is not None else ():
            if subtask.state is not None:
                self.depth = max(self.depth, *(len(layers) for _, layers in subtask.state.stack.runs()))
        self.open = max(self.open, len(lmdb_env._open_envs))


@pytest.mark.slow
@pytest.mark.parametrize("wire", [False, True])
async def test_stacks_stay_low_over_hundreds_of_checkpoints(tmp_path: Path, wire: bool) -> None:
    """Through failures, a kill without a checkpoint, and restarts at another parallelism; the result is exact."""
    values = list(range(3_200))
    target, watch, checkpoints = Target(), Watch(), 0
    opened = len(lmdb_env._open_envs)
    for parallelism, allowed in ((2, 1_200), (3, 2_400), (1, 3_200)):
        source = Splits({"a": values}, batch=10, allowed=0, ended=False)
        source.fail_at = Once({("a", allowed - 490): ConnectionError("once")})
        options: RunOptions = {"store": tmp_path, "parallelism": parallelism, "checkpoint_interval": 0.002}
        options["restart"] = Restart.fixed_delay(5, delay=0)
        try:
            async with Run(baskets(source, target).draft.graph(), options, wire=wire) as job:
                while (allow := (source._allowed or len(target.committed)) + 10) <= allowed:
                    source.allow(allow)
                    done = job.summary().checkpoints
                    await until(lambda job=job, done=done: job.summary().checkpoints > done)  # type: ignore[misc]
                    watch.look(job)
                checkpoints += job.summary().checkpoints
                assert job.summary().restarts == 1
                if allowed < len(values):
                    raise KilledError
                await until(lambda: len(target.committed) == len(values))
        except KilledError:
            pass

    assert Counter(target.committed) == expected(values)
    assert checkpoints > 300
    assert LAYERS_AIM < watch.depth <= LAYERS_MAX
    assert watch.open - opened < 3 * LAYERS_MAX
    view = StoreView(RealFiles(), str(tmp_path / "t"))
    listed = {entry.name for checkpoint in view.checkpoint_ids() for entry in view.read(checkpoint).layers}
    assert {path.name for path in (tmp_path / "t" / "layers").iterdir()} == listed, "no layer is left behind"


class HeldTarget(Target):
    """A sink that holds up the snapshots of one subtask."""

    def __init__(self) -> None:
        super().__init__()
        self.hold: anyio.Event | None = None

    @asynccontextmanager
    async def writer(self, ctx: Any, /) -> AsyncIterator[Any]:
        async with super().writer(ctx) as writer:
            pre_commit = writer.pre_commit

            async def held(checkpoint: int, /) -> bytes | None:
                if ctx.subtask == 1 and self.hold is not None:
                    await self.hold.wait()
                return await pre_commit(checkpoint)

            writer.pre_commit = held  # type: ignore[method-assign]
            yield writer


async def test_replaced_layer_that_a_report_in_progress_lists_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One checkpoint is kept. One subtask acknowledges, a merge replaces what it lists, then the manifest comes."""
    values, target = list(range(1_000)), HeldTarget()
    source = Splits({"a": values}, batch=10, allowed=0, ended=False)
    view = StoreView(RealFiles(), str(tmp_path / "t"))
    folder = tmp_path / "t" / "layers"
    options: RunOptions = {"store": tmp_path, "parallelism": 2, "checkpoint_interval": None}
    options["settings"] = Settings(retained=1)

    def listed(checkpoint: CheckpointId) -> set[str]:
        return {entry.name for entry in view.read(checkpoint).layers}

    def present() -> set[str]:
        return {path.name for path in folder.iterdir()}

    monkeypatch.setattr(compactor_module, "LAYERS_AIM", 100)
    async with baskets(source, target).run(**options) as job:

        async def step(allow: int) -> CheckpointId:
            source.allow(allow)
            await until(lambda: job.summary().records_out >= allow)
            return CheckpointId(await job.checkpoint())

        newest = [await step(allow) for allow in range(20, 140, 20)][-1]
        built = built_of(job)
        target.hold = anyio.Event()
        async with anyio.create_task_group() as group:
            answers: list[CheckpointId] = []

            async def ask() -> None:
                answers.append(await step(160))

            group.start_soon(ask)
            progress = built.coordinator._protocol
            await until(lambda: progress._current is not None and len(progress._current.reports) == 2)
            old = listed(newest)
            monkeypatch.setattr(compactor_module, "LAYERS_AIM", 3)
            built.compactor.on_complete(frozenset(map(LayerName, old)))
            await until(lambda: not built.layers_in_use() & old)
            monkeypatch.setattr(compactor_module, "LAYERS_AIM", 100)
            assert old <= present()
            target.hold.set()
        assert listed(answers[0]) & old, "the one that had acknowledged refers to them"
        assert listed(answers[0]) <= present()
        last = await step(180)
        await until(lambda: not present() & old)
        await until(lambda: present() == listed(last))
    source = Splits({"a": values}, batch=10, ended=True)
    await baskets(source, target).run(store=tmp_path, parallelism=3)
    assert Counter(target.committed) == expected(values)
