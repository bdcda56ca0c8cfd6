"""Two pipelines over the very same records: what differs is what the code does otherwise."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from actorstream import EventLog, Pipeline
from actorstream.errors import JobFailed, PlanError, StoreError
from actorstream.evolve import ab
from actorstream.evolve.replay import replay_over

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _counts(root: Path, change: Callable[[tuple[str, int]], tuple[str, int]], extra: str = "") -> Pipeline:
    pipeline = Pipeline(f"counts{extra}")
    counts = pipeline.source(EventLog(str, root / "words"), name="words").key_by(str).count(name="counts").map(change)
    counts.sink(EventLog(tuple[str, int], root / "totals"), name="out")
    if extra:
        counts.map(str).sink(EventLog(str, root / extra), name="more")
    return pipeline


def _same(pair: tuple[str, int]) -> tuple[str, int]:
    return pair


def _two_is_twenty(pair: tuple[str, int]) -> tuple[str, int]:
    return (pair[0], 20) if pair[1] == 2 else pair


def _broken(pair: tuple[str, int]) -> tuple[str, int]:
    raise ZeroDivisionError


async def _write(root: Path, *words: str) -> None:
    async with EventLog(str, root / "words") as log:
        await log.extend(words)


async def test_a_pipeline_compared_with_itself_differs_in_nothing(tmp_path: Path) -> None:
    await _write(tmp_path, *"abacab")
    found = await ab(
        _counts(tmp_path, _same), _counts(tmp_path, _same), start="earliest", until="now", into=tmp_path / "into"
    )
    assert list(found) == ["totals"]
    assert found["totals"]
    assert found["totals"].same == 6


async def test_what_the_new_code_does_otherwise_is_found_by_key_in_the_logs_that_both_write(tmp_path: Path) -> None:
    await _write(tmp_path, *"abacab")
    old, new = _counts(tmp_path, _same), _counts(tmp_path, _two_is_twenty, "more")
    found = await ab(old, new, start="earliest", until="now", into=tmp_path / "into", key=lambda pair: pair[0])
    assert list(found) == ["totals"]
    only_a, only_b, different, same, samples = found["totals"]
    assert (only_a, only_b, different, same) == (0, 0, 2, 4)
    assert samples[0] == ("a", ("a", 2), ("a", 20))
    assert {each.name for each in (tmp_path / "into").iterdir()} == {"REPLAY", "a", "b"}
    with pytest.raises(StoreError, match="holds a finished replay"):
        await ab(old, new, start="earliest", until="now", into=tmp_path / "into")


async def test_both_end_where_the_log_ended_at_the_call(tmp_path: Path) -> None:
    """While the first one runs, more is written: the second must not see it."""
    await _write(tmp_path, *"abc")
    path = tmp_path / "words"
    first = _counts(tmp_path, _same)
    appended: list[int] = []

    def append(pair: tuple[str, int]) -> tuple[str, int]:
        appended.append(pair[1])
        return pair

    async def and_write(*given: object, **words: object) -> object:
        summary = await replay_over(*given, **words)  # type: ignore[arg-type]
        async with EventLog(str, path) as log:
            await log.append("late")
        return summary

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("actorstream.evolve.ab"), "replay_over", and_write)
        found = await ab(first, _counts(tmp_path, append), start="earliest", until="now", into=tmp_path / "into")
    assert found["totals"]
    assert found["totals"].same == 3
    assert appended == [1, 1, 1]


async def test_one_that_failed_is_begun_anew_by_the_same_call(tmp_path: Path) -> None:
    """The first was done already: it is replayed again too."""
    await _write(tmp_path, *"aa")
    with pytest.raises(JobFailed):
        await ab(
            _counts(tmp_path, _same), _counts(tmp_path, _broken), start="earliest", until="now", into=tmp_path / "into"
        )
    assert (tmp_path / "into" / "UNFINISHED").exists()
    found = await ab(
        _counts(tmp_path, _same), _counts(tmp_path, _same), start="earliest", until="now", into=tmp_path / "into"
    )
    assert found["totals"]


async def test_two_without_a_log_in_common_are_refused(tmp_path: Path) -> None:
    other = Pipeline("other")
    other.source(EventLog(str, tmp_path / "words")).sink(EventLog(str, tmp_path / "copies"))
    with pytest.raises(PlanError, match=r"'counts' writes \['totals'\], 'other' \['copies'\]"):
        await ab(_counts(tmp_path, _same), other, start="earliest", until="now", into=tmp_path / "into")
