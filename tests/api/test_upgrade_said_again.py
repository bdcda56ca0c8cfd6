"""Names that are said at each start, and a run that restarts: what is done once is not done again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.api.settings import Settings
from actorstream.eventlog.log import EventLog
from actorstream.protocol.restart import Restart
from tests.api.evolving import has_read
from tests.runtime.doubles import Splits, Target

if TYPE_CHECKING:
    from pathlib import Path

_EXCHANGED = Settings(restore_as={"a": "b", "b": "a"})
_DROPPED = Settings(allow_dropped=["a"])


class _Fails:
    """Fails at each of these values once."""

    def __init__(self, *values: int) -> None:
        self._left = list(values)

    def __call__(self, value: int) -> int:
        if value in self._left:
            self._left.remove(value)
            raise ValueError(f"{value} for the first time")
        return value


def _two(source: Splits[int], out: Target, first: str, second: str, fails: _Fails | None = None) -> Pipeline:
    """Count the records under the first name, and by thousands under the second."""
    pipeline = Pipeline("sums")
    keyed = pipeline.source(source, name="in").map(fails or _Fails(), name="fail").key_by(lambda _: 0)
    keyed.map_with_state(0, lambda n, _: (n + 1, n + 1), name=first).sink(out, name="counts")
    keyed.map_with_state(0, lambda n, _: (n + 1000, n + 1000), name=second).sink(out, name="totals")
    return pipeline


async def _first_run(store: Path, source: Splits[int], out: Target) -> None:
    source.allow(10)
    async with _two(source, out, "a", "b").run(store=store) as job:
        await has_read(job, 10)
    out.committed.clear()


@pytest.mark.parametrize(("settings", "names", "counted"), [(_EXCHANGED, "ba", 20), (_DROPPED, "ab", 10)])
async def test_a_restart_goes_on_from_the_runs_own_checkpoint_as_it_is(
    tmp_path: Path, settings: Settings, names: str, counted: int
) -> None:
    """Names would be exchanged back, and what a name used again has counted would be dropped.

    Before the run's own first checkpoint it fails too: then the snapshot is the old one still, to be read as told.
    """
    source, out = Splits({"0": range(40)}, batch=1, ended=False), Target()
    await _first_run(tmp_path, source, out)
    restart = Restart.fixed_delay(5, delay=0.01)
    pipeline = _two(source, out, names[0], names[1], _Fails(11, 16))
    async with pipeline.run(store=tmp_path, settings=settings, checkpoint_interval=None, restart=restart) as job:
        source.allow(14)
        await has_read(job, 4)
        await job.checkpoint()
        source.allow(20)
        await has_read(job, 10)
    assert job.summary().restarts == 2
    counts = [value for value in out.committed if value < 1000]
    assert sorted(counts) == list(range(counted - 9, counted + 1))
    assert max(out.committed) == 20_000


@pytest.mark.parametrize(("settings", "names", "counted"), [(_EXCHANGED, "ba", 20), (_DROPPED, "ab", 10)])
async def test_the_next_start_may_say_the_same(tmp_path: Path, settings: Settings, names: str, counted: int) -> None:
    """A service does: over its store, and from a savepoint of the run that was told so."""
    source, out = Splits({"0": range(40)}, ended=False), Target()
    await _first_run(tmp_path / "one", source, out)
    source.allow(15)
    async with _two(source, out, *names).run(store=tmp_path / "one", settings=settings) as job:
        await has_read(job, 5)
        savepoint = await job.stop(savepoint="said")
    source.allow(20)
    for store, restore, target in (("one", None, out), ("two", savepoint, Target())):
        pipeline = _two(source, target, *names)
        async with pipeline.run(store=tmp_path / store, restore=restore, settings=settings) as job:
            await has_read(job, 5)
        assert max(value for value in target.committed if value < 1000) == counted
        assert max(target.committed) == 20_000


async def test_an_old_snapshot_is_read_as_told_however_often(tmp_path: Path) -> None:
    """The savepoint was taken by a run that was told nothing."""
    source, out = Splits({"0": range(40)}, allowed=10, ended=False), Target()
    async with _two(source, out, "a", "b").run(store=tmp_path / "one") as job:
        await has_read(job, 10)
        savepoint = await job.stop(savepoint="old")
    source.allow(20)
    for store in ("two", "three"):
        out = Target()
        pipeline = _two(source, out, "b", "a")
        async with pipeline.run(store=tmp_path / store, restore=savepoint, settings=_EXCHANGED) as job:
            await has_read(job, 10)
        assert max(value for value in out.committed if value < 1000) == 20


async def _kept(root: Path, logs: dict[str, str], count: int, **settings: Any) -> dict[str, list[int]]:
    """Copy logs, by name of the source, from where the store says on; give what each source had kept at the start."""
    pipeline = Pipeline("copies")
    copies: list[int] = []
    kept: dict[str, list[int]] = {}
    opened = {name: EventLog(int, root / log) for name, log in logs.items()}
    for name, log in opened.items():
        pipeline.source(log, name=name).sink(copies.append, name=f"copy-of-{name}")
    run = pipeline.run(store=root / "store", settings=Settings(**settings), checkpoint_interval=None)
    async with run as job:
        for name, log in opened.items():
            (kept[name],) = [each.positions for each in await log.consumers() if each.name.endswith(f"/{name}")]
        await has_read(job, count)
    return kept


@pytest.mark.parametrize(
    ("settings", "logs", "count", "kept"),
    [
        ({"allow_dropped": ["in"]}, {"in": "fresh", "beside": "short"}, 9, {"in": [-1], "beside": [2]}),
        ({"restore_as": {"in": "beside", "beside": "in"}}, {"beside": "longs", "in": "short"}, 0,
         {"beside": [29], "in": [2]}),
    ],
    ids=["dropped", "exchanged"],
)  # fmt: skip
async def test_a_log_is_not_told_the_positions_of_another_source_of_that_name(
    tmp_path: Path, settings: dict[str, Any], logs: dict[str, str], count: int, kept: dict[str, list[int]]
) -> None:
    """It would let records go that the job has not read."""
    for log, records in (("longs", 30), ("short", 3), ("fresh", 9)):
        async with EventLog(int, tmp_path / log) as written:
            await written.extend(range(records))
    assert await _kept(tmp_path, {"in": "longs", "beside": "short"}, 33) == {"in": [-1], "beside": [-1]}
    assert await _kept(tmp_path, logs, count, **settings) == kept


async def test_names_are_exchanged_back_after_a_start_that_did_not_ask_for_it(tmp_path: Path) -> None:
    """And a name that was dropped, used again and taken out again is dropped again: the pipeline lacks it."""
    source, out = Splits({"0": range(40)}, ended=False), Target()
    await _first_run(tmp_path, source, out)
    starts = [(_EXCHANGED, "ba"), (Settings(), "ba"), (_EXCHANGED, "ab"), (_DROPPED, "ab"), (_DROPPED, "cb")]
    for allowed, (settings, names) in enumerate(starts, start=11):
        source.allow(allowed)
        out.committed.clear()
        async with _two(source, out, *names).run(store=tmp_path, settings=settings) as job:
            await has_read(job, 1)
        counted = allowed if allowed <= 13 else 1
        assert sorted(out.committed) == [counted, allowed * 1000]
