"""The compactor: which layers it takes, and that a merge shows nowhere, whatever happens beside it."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.model.ids import LayerName
from actorstream.runtime import merging
from actorstream.runtime.compactor import LAYERS_AIM, LAYERS_MAX, MERGED_MIN, StackedRun, choose, pieces_of
from actorstream.state import lmdb_env
from actorstream.state.layer import Layer
from actorstream.state.lmdb_env import open_layer
from actorstream.system.current import current_world
from tests.runtime.compacting import FIVE, HIGH, LOW, Bench, HeldOffload, at_work
from tests.runtime.doubles import until
from tests.state.rig import ALL, Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from actorstream.model.key_groups import KeyGroupRange


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


def sizes_of(layers: Sequence[Layer]) -> list[int]:
    return [layer.file.size for layer in layers]


def test_low_stacks_are_left_alone(sized: Callable[[int], Layer]) -> None:
    run = stacked(*(sized(1) for _ in range(LAYERS_AIM)))
    assert choose([run]) == []
    assert choose([]) == []


@pytest.mark.parametrize(
    ("sizes", "taken"),
    [
        ([1] * 9, 9),
        ([1] * 8 + [2 * MIB], 9),
        ([1] * 8 + [2 * MIB + 1], 8),
        ([MIB] * 8 + [16 * MIB, 50 * MIB], 9),
        ([MIB] * 8 + [17 * MIB], 8),
        ([MIB, 3 * MIB, 9 * MIB, 27 * MIB, 100 * MIB, 300 * MIB, 900 * MIB, 2700 * MIB, 9000 * MIB], MERGED_MIN),
        ([MIB] * 4 + [16 * MIB] * 20, MERGED_MIN),
        ([MIB] * 4 + [16 * MIB] * 22, MERGED_MIN),
        ([3**n * MIB for n in range(LAYERS_MAX + 6)], 7),
    ],
)
def test_newest_layers_go_together_while_the_next_is_not_much_larger(
    sized: Callable[[int], Layer], sizes: list[int], taken: int
) -> None:
    """Each entry is written about log(size) times, not once a checkpoint; above 24 at least down to 24."""
    run = stacked(*map(sized, sizes))
    assert sizes_of(choose([run])) == sizes[:taken]
    assert len(sizes) - taken + 1 <= LAYERS_MAX


def test_what_lies_between_in_any_stack_is_taken_along(sized: Callable[[int], Layer]) -> None:
    """Else something would get older or younger than the layer between; what that one drags in comes too."""
    a, b, c, between, further = (sized(1) for _ in range(5))
    rest = [sized(1) for _ in range(6)]
    deep = stacked(a, b, c, *rest)
    dragging = stacked(a, between, c, groups=LOW)
    dragged = stacked(b, further, between, groups=HIGH)
    runs = [deep, dragging, dragged, stacked(sized(1))]

    assert set(choose(runs)) == {a, b, c, *rest, between, further}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_chosen_layers_are_contiguous_everywhere(sized: Callable[[int], Layer], data: st.DataObject) -> None:
    pool = [sized(data.draw(st.sampled_from([1, MIB, 5 * MIB]))) for _ in range(14)]
    masks = data.draw(st.lists(st.sets(st.integers(0, 13)), min_size=1, max_size=4))
    runs = [stacked(*(layer for n, layer in enumerate(pool) if n in mask)) for mask in masks]
    chosen = choose(runs)

    deep = max(len(run.layers) for run in runs) > LAYERS_AIM
    assert len(chosen) == len(set(chosen))
    assert len(chosen) >= MERGED_MIN if deep else not chosen
    for run in runs:
        places = [n for n, layer in enumerate(run.layers) if layer in chosen]
        assert places == list(range(places[0], places[-1] + 1)) if places else True
    for piece, run in zip(pieces_of(runs, chosen), [r for r in runs if set(r.layers) & set(chosen)], strict=True):
        assert [chosen[n] for n in piece.layers] == [layer for layer in run.layers if layer in chosen]
        assert piece.bottom == (run.layers[-1] in chosen)


# ---- a merge beside a running job


@pytest.fixture(params=["in a thread", "in a child"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "in a child":
        monkeypatch.setattr(merging, "CHILD_BYTES", 0)
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
        await until(lambda: len(lmdb_env._open_envs) == opened - len(before) + 1)


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


async def test_what_came_during_a_merge_is_merged_next(tmp_path: Path) -> None:
    """At once, without waiting for another checkpoint."""
    offload = HeldOffload(current_world())
    async with at_work(Bench(tmp_path, replace(current_world(), offload=offload))) as bench:
        bench.complete()
        await until(lambda: offload.called)
        for value in range(30, 40):
            bench.push(value)
        offload.may_return.set()
        await until(lambda: bench.depths == [1, 1])


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


CHILD = """
import json, os, signal, sys

def main():
    with open(json.loads(sys.stdin.readline())["target"], "w") as file:
        file.write("half")
    {then}
"""
DYING, KILLED, LASTING = "sys.exit('out of memory')", "os.kill(os.getpid(), signal.SIGKILL)", "sys.stdin.read()"


@pytest.fixture
def child_that(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let large merges, which all are, be done by a child that begins its file and then does something else."""

    def replaced(then: str) -> None:
        folder = tmp_path_factory.mktemp("modules")
        (folder / "another_child.py").write_text(CHILD.format(then=then))
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setattr(merging, "_MODULE", "another_child")
        monkeypatch.setattr(merging, "CHILD_BYTES", 0)

    return replaced


@pytest.mark.parametrize(("then", "word"), [(DYING, "exit code 1; it said: out of memory"), (KILLED, "exit code -9")])
async def test_child_that_dies_leaves_no_file(
    tmp_path: Path, child_that: Callable[[str], None], caplog: pytest.LogCaptureFixture, then: str, word: str
) -> None:
    child_that(then)
    async with at_work(Bench(tmp_path)) as bench:
        before = bench.names()
        bench.complete()
        await until(lambda: word in caplog.text)
        await until(lambda: bench.names() == before)
        assert bench.depths == [10, 10]
        assert bench.read() == bench.values


async def test_end_of_the_attempt_ends_the_child_and_removes_its_file(
    tmp_path: Path, child_that: Callable[[str], None]
) -> None:
    """Nobody would refer to it; and a job must not wait for a merge to end."""
    child_that(LASTING)
    with anyio.fail_after(20):
        async with at_work(Bench(tmp_path)) as bench:
            before = bench.names()
            bench.complete()
            await until(lambda: len(bench.names()) > len(before))
    assert bench.names() == before


async def test_where_no_child_may_be_a_thread_does_it(tmp_path: Path, child_that: Callable[[str], None]) -> None:
    """In a simulation, whatever the size."""
    child_that(DYING)
    async with at_work(Bench(tmp_path, child=False)) as bench:
        bench.complete()
        await until(lambda: bench.depths == [1, 1])
        assert bench.read() == bench.values


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
