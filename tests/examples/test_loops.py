"""The examples of loops give what textbooks give."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "loops"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where types of state are looked up
    spec.loader.exec_module(module)
    return module


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
    example, rng = load("page_rank"), random.Random(5)
    vertices = [f"v{number}" for number in range(12)]
    edges = [(source, target) for source in vertices for target in rng.sample(vertices, 3) if source != target]
    rng.shuffle(edges)
    assert await example.page_rank(edges) == pytest.approx(by_power_iteration(edges, example.DAMPING), rel=5e-3)


def test_the_example_runs_as_a_script() -> None:
    shown = subprocess.run([sys.executable, FOLDER / "page_rank.py"], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[0].split()[0] == "home"
