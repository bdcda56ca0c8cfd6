"""Event time where the pipeline has changed between two runs: a new input takes nothing back that was known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from actorstream import Context, KeyedProcess, Pipeline, Tumbling
from actorstream.checkpoints.view import StoreView
from actorstream.graph.fingerprint import fingerprint, names_in_doubt
from actorstream.runtime.restoring import Restored
from actorstream.system.files import RealFiles
from tests.runtime.doubles import Splits, Target, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from actorstream import Stream, WindowResult

Row = tuple[str, float]
KEYS = "abcdef"


def rows(*times: float) -> list[Row]:
    return [(key, time) for time in times for key in KEYS]


class Ends:
    """What outlives the runs."""

    def __init__(self) -> None:
        self.out, self.late = Target(), Target()

    def new(self) -> tuple[list[Any], list[Any]]:
        """Give what was committed since this was asked last, in order."""
        found = sorted(self.out.committed), sorted(self.late.committed)
        self.out.committed, self.late.committed = [], []
        return found


def _shown(result: WindowResult[str, int]) -> tuple[str, float, int]:
    return result.key, result.start.timestamp(), result.value


def grown(inputs: Mapping[str, Splits[Row]], ends: Ends, kind: str) -> Pipeline:
    """One source, or several in one union, behind it windows or a join."""
    pipeline = Pipeline("grown", max_parallelism=8)
    streams: list[Stream[Row]] = [
        pipeline.source(source, name=name).assign_timestamps(
            lambda row: row[1], out_of_orderness=0, idle_timeout=None, name=f"time-{name}"
        )
        for name, source in inputs.items()
    ]
    keyed = streams[0].union(*streams[1:]).key_by(lambda row: row[0])
    window = keyed.window(Tumbling(10), allowed_lateness=30)
    match kind:
        case "sliced":
            results = window.count(name="windows")
        case _:
            results = window.apply(len, name="windows")
    results.map(_shown, name="shown").sink(ends.out, name="out")
    results.late.sink(ends.late, name="late")
    return pipeline


async def run_and_stop(pipeline: Pipeline, inputs: Mapping[str, Splits[Row]], store: Path, parallelism: int) -> None:
    """Run until all that there is has been read and the windows know, and stop."""
    wanted = sum(len(records) for source in inputs.values() for records in source.records.values())
    async with pipeline.run(store=store, parallelism=parallelism, checkpoint_interval=None) as job:
        await until(lambda: job.summary().records_in >= wanted)
        await job.checkpoint()
        await job.stop()


@pytest.mark.parametrize("kind", ["sliced", "all records"])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 2), (1, 3), (3, 2)])
@pytest.mark.parametrize("first", ["old", "new"])
async def test_a_new_input_does_not_take_time_back_t47(
    tmp_path: Path, kind: str, before: int, after: int, first: str
) -> None:
    """What it brings for windows that are gone is late, and none of those that have fired fires once more by itself."""
    ends = Ends()
    old = {"old": Splits({"0": rows(1, 11, 72, 99)}, ended=False)}
    await run_and_stop(grown(old, ends, kind), old, tmp_path, before)
    assert ends.new() == (sorted((key, start, 1) for key in KEYS for start in (0.0, 10.0, 70.0)), [])

    both = {"old": Splits({"0": rows(1, 11, 72, 99)}), "new": Splits({"0": rows(5, 75, 150)})}
    inputs = {name: both[name] for name in sorted(both, key=lambda name: name != first)}
    await grown(inputs, ends, kind).run(store=tmp_path, parallelism=after)
    out, late = ends.new()
    assert late == [(key, 5) for key in KEYS]
    assert out == sorted((key, start, count) for key in KEYS for start, count in ((70.0, 2), (90.0, 1), (150.0, 1)))


async def test_without_what_the_operator_knew_a_new_input_would_take_time_back(tmp_path: Path) -> None:
    """The test above proves something."""
    ends = Ends()
    old = {"old": Splits({"0": rows(1, 11, 72, 99)}, ended=False)}
    await run_and_stop(grown(old, ends, "sliced"), old, tmp_path, 1)
    ends.new()
    both = {"new": Splits({"0": rows(5, 75, 150)}), "old": Splits({"0": rows(1, 11, 72, 99)})}
    with patch.object(Restored, "reached_by", lambda *_: -(1 << 60)):
        await grown(both, ends, "sliced").run(store=tmp_path, parallelism=1)
    assert not ends.new()[1]


# ---- names that we made up


class Seen(KeyedProcess[str, Row, tuple[str, float, float | None]]):
    """Shows the watermark before each record; None at first."""

    def on_element(self, row: Row, ctx: Context[str], /) -> Iterator[tuple[str, float, float | None]]:
        yield row[0], row[1], None if ctx.watermark.year == 1 else ctx.watermark.timestamp()


def edited(inputs: Sequence[tuple[str, Splits[Row]]], target: Target) -> Pipeline:
    """Each source in a chain of its own with made-up names, which count on from source to source."""
    pipeline = Pipeline("edited", max_parallelism=8)
    for name, source in inputs:
        mapped = pipeline.source(source, name=name).map(lambda row: row, new_chain=True)
        timed = mapped.assign_timestamps(lambda row: row[1], out_of_orderness=0, idle_timeout=None)
        seen = timed.key_by(lambda row: row[0]).process(Seen, name=f"seen-{name}")
        seen.sink(target, name=f"out-{name}")
    return pipeline


async def test_a_made_up_name_that_means_another_operator_brings_no_time(tmp_path: Path) -> None:
    """What was the second operator of one source is that of another; "seen-old" has its time by its own name."""
    target, old = Target(), Splits({"0": [("a", 50.0), ("a", 60.0)]}, ended=False)
    first = edited([("old", old)], target)
    await run_and_stop(first, {"old": old}, tmp_path, 1)
    view = StoreView(RealFiles(), str(tmp_path / "edited"))
    assert view.read(view.checkpoint_ids()[-1]).graph == fingerprint(first.draft.graph())
    target.committed = []

    second = edited(
        [("new", Splits({"0": [("a", 1.0)]})), ("old", Splits({"0": [("a", 50.0), ("a", 60.0), ("a", 3.0)]}))], target
    )
    assert "assign_timestamps-2" in names_in_doubt(second.draft.graph(), fingerprint(first.draft.graph()))
    await second.run(store=tmp_path, parallelism=1)
    assert sorted(target.committed, key=repr) == [("a", 1.0, None), ("a", 3.0, 59.999999)]


async def test_made_up_names_of_the_same_pipeline_bring_their_times(tmp_path: Path) -> None:
    """T47: where only functions and parallelism have changed; a manifest without a fingerprint is trusted."""
    target, old = Target(), Splits({"0": [("a", 50.0), ("a", 60.0)]}, ended=False)
    first = edited([("old", old)], target)
    await run_and_stop(first, {"old": old}, tmp_path, 1)
    target.committed = []
    again = edited([("old", Splits({"0": [("a", 50.0), ("a", 60.0), ("a", 3.0)]}))], target)
    assert names_in_doubt(again.draft.graph(), fingerprint(first.draft.graph())) == frozenset()
    assert names_in_doubt(again.draft.graph(), "") == frozenset()
    await again.run(store=tmp_path, parallelism=2)
    assert target.committed == [("a", 3.0, 59.999999)]
