"""The examples of loops give what textbooks give."""

from __future__ import annotations

import ast
import asyncio
import random
import re
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from actorstream import Pipeline
from actorstream.evolve import open_snapshot
from tests.examples.loading import EXAMPLES, load, run_page
from tests.test_guides import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDER = EXAMPLES / "loops"


def by_power_iteration(edges: list[tuple[str, str]], damping: float) -> dict[str, float]:
    links: dict[str, set[str]] = {vertex: set() for edge in edges for vertex in edge}
    for source, target in edges:
        links[source].add(target)
    ranks = dict.fromkeys(links, 1.0)
    for _ in range(200):
        new = dict.fromkeys(links, 1 - damping)
        for vertex, targets in links.items():
            for target in targets:
                new[target] += damping * ranks[vertex] / len(targets)
        ranks = new
    return ranks


async def test_page_rank_of_edges_that_come_one_by_one_is_that_of_the_whole_graph() -> None:
    example, rng = load("loops", "page_rank"), random.Random(5)
    vertices = [f"v{number}" for number in range(12)]
    edges = [(source, target) for source in vertices for target in rng.sample(vertices, 3) if source != target]
    rng.shuffle(edges)
    assert await example.page_rank(edges) == pytest.approx(by_power_iteration(edges, example.DAMPING), rel=5e-3)


def by_search(edges: list[tuple[int, int]]) -> dict[int, int]:
    labels = {vertex: vertex for edge in edges for vertex in edge}
    for _ in labels:
        for one, other in edges:
            labels[one] = labels[other] = min(labels[one], labels[other])
    return labels


@pytest.mark.parametrize("seed", range(4))
async def test_components_of_edges_that_come_one_by_one_are_those_of_the_whole_graph(seed: int) -> None:
    rng = random.Random(seed)
    edges = [(rng.randrange(30), rng.randrange(30)) for _ in range(24)]
    assert await load("loops", "components").components(edges) == by_search(edges)


def test_the_guide_shows_what_the_example_of_components_does() -> None:
    """Two texts of one program: neither may go its own way."""
    guide = (FOLDER.parents[1] / "docs" / "guides" / "loops.md").read_text()
    shown = "\n".join(re.findall(r"^```python\n(.*?)^```", guide, re.DOTALL | re.MULTILINE))
    said = [steps_of(text) for text in (shown, (FOLDER / "components.py").read_text())]
    assert said[0] == said[1]


def steps_of(text: str) -> list[str]:
    """Give what a vertex does with a message, without what is said to people."""
    (vertex,) = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ClassDef) and n.name == "Vertex"]
    (step,) = [node for node in vertex.body if isinstance(node, ast.FunctionDef)]
    return [ast.unparse(node) for node in step.body if ast.get_docstring(step) is None or node is not step.body[0]]


async def test_what_fails_is_tried_again_later_and_given_up_at_last() -> None:
    example = load("loops", "retry")
    calls: dict[str, list[float]] = {}

    def call(name: str) -> bool:
        calls.setdefault(name, []).append(time.monotonic())
        return len(calls[name]) == int(name)

    asked = [str(number) for number in range(1, 8)]
    last = example.ATTEMPTS
    expected = {name: (min(int(name), last), int(name) <= last) for name in asked}
    assert await example.answers(asked, call) == expected
    times = calls["7"]
    waited = [after - before for before, after in pairwise(times)]
    assert all(real >= example.FIRST.total_seconds() * 2**place * 0.9 for place, real in enumerate(waited))


async def test_a_retry_survives_a_crash_while_it_waits(tmp_path: Path) -> None:
    """Attempt and timer are in the checkpoint: the next process calls for the second time, not for the first."""
    example = load("loops", "retry")
    called, calls = asyncio.Event(), 0

    def pipeline(call: Callable[[str], bool]) -> Pipeline:
        made = Pipeline("p")
        out = example.retrying(made.source(["a"], name="in"), call)
        out.key_by(lambda each: each[0]).fold((0, False), lambda _, each: each[1:], name="out")
        return made

    def fail(_: str) -> bool:
        called.set()
        return False

    with pytest.raises(KeyError):  # noqa: PT012  (the block is what is crashed out of)
        async with pipeline(fail).run(store=tmp_path, checkpoint_interval=None) as job:
            await called.wait()
            await job.checkpoint()
            raise KeyError("as a crash")

    def answer(_: str) -> bool:
        nonlocal calls
        calls += 1
        return True

    await pipeline(answer).run(store=tmp_path)
    assert calls == 1
    with open_snapshot(tmp_path / "p") as snapshot:
        assert snapshot.state("out", "value").get("a")[0] > 1


def test_the_page_shows_what_the_examples_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    blocks = [block for kind, block in BLOCK.findall((FOLDER / "README.md").read_text()) if kind == "console"]
    assert len(blocks) == len(list(FOLDER.glob("*.py")))
    run_page("loops")
