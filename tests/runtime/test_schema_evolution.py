"""State outlives its class: restored into changed declarations, value by value, over any number of changes."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.checkpoints.manifest import unseal
from actorstream.errors import JobFailed, RestoreError, StoreError, UserCodeError
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ListState, MapState, ValueState
from actorstream.protocol.restart import Restart
from actorstream.runtime.attempt import Attempt
from actorstream.system.files import RealFiles
from tests.checkpoints.stepped_files import AtStep, SteppedFiles
from tests.runtime.deploying import Deploying
from tests.runtime.doubles import Splits, Target, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from actorstream.checkpoints.manifest import Manifest
    from actorstream.operators.contexts import Context

HOUR = timedelta(hours=1)
Event = tuple[int, int]
"""A key, and what to add; 0 only looks."""


@dataclass
class Total:
    """Version 1."""

    euros: int
    gone: str = "x"


@dataclass
class TotalRenamed:
    """Version 1: a field renamed and widened, one removed, one added."""

    notes: list[str] = field(default_factory=list)
    amount: float = 0.0


@dataclass
class TotalInCents:
    """Version 2: another unit."""

    cents: int
    notes: tuple[str, ...] = ()


class First(KeyedProcess[int, Event, tuple[Any, ...]]):
    """As it was written first."""

    total: ValueState[Total] = ValueState(factory=lambda: Total(0))
    parts: MapState[int, Total] = MapState()
    lines: ListState[Total] = ListState()
    aging: ValueState[Total] = ValueState(factory=lambda: Total(0), ttl=HOUR)

    def on_element(self, value: Event, ctx: Context[int], /) -> Iterable[tuple[Any, ...]]:
        """Add where there is something to add, then show all of it."""
        if value[1]:
            self.total = self.aging = self.made(value[1])
            self.parts[value[1]] = self.made(value[1])
            self.lines.append(self.made(value[1]))
        return [(value[0], self.total, dict(self.parts), list(self.lines), self.aging)]

    @staticmethod
    def made(number: int) -> Any:
        """Give a value of the declared type."""
        return Total(number)


RENAMED: dict[str, Any] = {"rename": {"euros": "amount"}}


class Second(First):
    """Read as they are, with a renaming."""

    total: ValueState[TotalRenamed] = ValueState(factory=TotalRenamed, **RENAMED)  # type: ignore[assignment]
    parts: MapState[int, TotalRenamed] = MapState(**RENAMED)  # type: ignore[assignment]
    lines: ListState[TotalRenamed] = ListState(**RENAMED)  # type: ignore[assignment]
    aging: ValueState[TotalRenamed] = ValueState(factory=TotalRenamed, ttl=HOUR, **RENAMED)  # type: ignore[assignment]

    @staticmethod
    def made(number: int) -> Any:
        """Give a value of the declared type."""
        return TotalRenamed(["second"], number)


def to_cents(old: dict[str, Any]) -> TotalInCents:
    """Take a plain value of either schema of version 1."""
    amount = old["amount"] if "amount" in old else old["euros"]
    return TotalInCents(int(amount * 100), tuple(old.get("notes", ())))


MIGRATED: dict[str, Any] = {"version": 2, "migrate": {1: to_cents}}


class Third(First):
    """Another unit: through a function."""

    total: ValueState[TotalInCents] = ValueState(factory=lambda: TotalInCents(0), **MIGRATED)  # type: ignore[assignment]
    parts: MapState[int, TotalInCents] = MapState(**MIGRATED)  # type: ignore[assignment]
    lines: ListState[TotalInCents] = ListState(**MIGRATED)  # type: ignore[assignment]
    aging: ValueState[TotalInCents] = ValueState(  # type: ignore[assignment]
        factory=lambda: TotalInCents(0), ttl=HOUR, **MIGRATED
    )

    @staticmethod
    def made(number: int) -> Any:
        """Give a value of the declared type."""
        return TotalInCents(number * 100, ("third",))


def pipeline(owner: Callable[[], Any], source: Splits[Event], target: Any) -> Pipeline:
    """Give the pipeline of one generation of the class."""
    made = Pipeline("t")
    made.source(source, name="in").key_by(lambda event: event[0]).process(owner, name="p").sink(target, name="out")
    return made


class Store:
    """A store, over which one generation after the other runs; each reads a split of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source: Splits[Event] = Splits({})
        self.target = Target()
        self.runs = 0

    async def run(self, owner: Callable[[], Any], *events: Event) -> list[tuple[Any, ...]]:
        """Run a generation to its end."""
        self._feed(events)
        before = len(self.target.committed)
        try:
            await pipeline(owner, self.source, self.target).run(store=self.path, restart=Restart.never())
        except JobFailed as failed:
            if failed.__cause__ is not None:
                raise failed.__cause__ from failed.__cause__.__cause__
            raise
        return self.target.committed[before:]

    async def run_and_crash(
        self, owner: Callable[[], Any], *events: Event, then: Event, checkpoint: bool = True
    ) -> None:
        """Run a generation to a checkpoint if there is to be one, and further; it dies before the next."""
        self._feed([*events, then])
        self.source.allow(len(events))
        self.source.ended = False  # at its end the job would take a final checkpoint, faster than it dies
        with pytest.raises(ConnectionResetError):  # noqa: PT012  (the job is what dies)
            async with pipeline(owner, self.source, self.target).run(store=self.path, checkpoint_interval=None) as job:
                await until(lambda: job.summary().records_in == len(events))
                if checkpoint:
                    await job.checkpoint()
                self.source.allow(None)
                await until(lambda: job.summary().records_in > len(events))
                raise ConnectionResetError
        self.source.ended = True
        self.source.records[f"{self.runs:03}"].pop()

    def _feed(self, events: Iterable[Event]) -> None:
        self.runs += 1
        self.source.records[f"{self.runs:03}"] = list(events)


def newest_manifest(store: Path) -> Manifest:
    """Read the manifest of the newest checkpoint."""
    newest = max(store.rglob("manifest.json"), key=lambda path: int(path.parent.name))
    return unseal(str(newest), newest.read_bytes())


def all_of(key: int, value: object, parts: dict[int, Any], lines: list[Any]) -> tuple[Any, ...]:
    """Give what the process shows of a key whose total and aging value are one."""
    return (key, value, parts, lines, value)


async def test_three_generations_with_crashes_between_are_read_side_by_side(tmp_path: Path) -> None:
    """An untouched value of the first class is read after the third change, beside those of the second and third."""
    store = Store(tmp_path)
    await store.run_and_crash(First, (1, 5), (2, 6), (3, 7), then=(1, 99))
    await store.run_and_crash(Second, (2, 8), then=(1, 99))
    shown = await store.run(Second, (1, 0), (2, 0))
    first, second = TotalRenamed([], 6.0), TotalRenamed(["second"], 8.0)
    assert shown[0] == all_of(1, TotalRenamed([], 5.0), {5: TotalRenamed([], 5.0)}, [TotalRenamed([], 5.0)])
    assert shown[1] == all_of(2, second, {6: first, 8: second}, [first, second])

    await store.run_and_crash(Third, (3, 9), then=(2, 99))
    shown = await store.run(Third, (1, 0), (2, 0), (3, 0))
    old = TotalInCents(500)
    assert shown[0] == all_of(1, old, {5: old}, [old])
    old, new = TotalInCents(600), TotalInCents(800, ("second",))
    assert shown[1] == all_of(2, new, {6: old, 8: new}, [old, new])
    old, new = TotalInCents(700), TotalInCents(900, ("third",))
    assert shown[2] == all_of(3, new, {7: old, 9: new}, [old, new])


async def test_number_that_no_checkpoint_listed_is_given_again(tmp_path: Path) -> None:
    """A program died before its first checkpoint; another change comes next, under the number that it had used."""
    store = Store(tmp_path)
    await store.run(First, (1, 5))
    await store.run_and_crash(Second, then=(1, 99), checkpoint=False)
    shown = await store.run(Third, (2, 6), (1, 0), (2, 0))
    assert [each[1] for each in shown] == [Third.made(6), TotalInCents(500), Third.made(6)]
    entry = newest_manifest(tmp_path).operators["p"].states["total"]
    assert [(each.number, each.version) for each in entry.schemas] == [(0, 1), (1, 2)]


async def test_manifest_keeps_every_schema_and_no_more(tmp_path: Path) -> None:
    """Starting again with the same class adds none."""
    store = Store(tmp_path)
    for owner in (First, Second, Second, Third, Third):
        await store.run(owner, (1, 1))
    entry = newest_manifest(tmp_path).operators["p"].states["total"]
    assert [(each.number, each.version) for each in entry.schemas] == [(0, 1), (1, 1), (2, 2)]
    assert (entry.schema, entry.version) == (2, 2)


async def test_function_added_later_sees_the_plain_values(tmp_path: Path) -> None:
    """Records as dicts by field name, whichever class wrote them."""
    seen: list[Any] = []

    def one_cent(old: Any) -> dict[str, int]:
        seen.append(old)
        return {"cents": 1}

    class Fourth(First):
        total: ValueState[TotalInCents] = ValueState(  # type: ignore[assignment]
            factory=lambda: TotalInCents(0), version=2, migrate={1: one_cent}
        )
        lines: ListState[TotalInCents] = ListState(version=2, migrate={1: to_cents})  # type: ignore[assignment]
        aging: ValueState[TotalInCents] = ValueState(  # type: ignore[assignment]
            factory=lambda: TotalInCents(0), ttl=HOUR, **MIGRATED
        )
        parts: MapState[int, TotalInCents] = MapState(**MIGRATED)  # type: ignore[assignment]

    store = Store(tmp_path)
    await store.run(First, (1, 5))
    shown = await store.run(Fourth, (1, 0))
    assert seen == [{"euros": 5, "gone": "x"}]
    assert shown[0][1] == TotalInCents(1)


async def test_sum_that_becomes_a_float_goes_on(tmp_path: Path) -> None:
    """An accumulator has a schema as any state has."""
    source: Splits[float] = Splits({"a": [1, 2]})
    target = Target()

    async def totals_from(initial: float) -> list[object]:
        made, before = Pipeline("t"), len(target.committed)
        keyed = made.source(source, name="in").key_by(lambda _: "k")
        keyed.fold(initial, lambda total, value: total + value, name="f").changes().sink(target, name="out")
        deploying = Deploying(made, tmp_path)
        await Attempt(await deploying.build()).run(lambda: None)
        deploying.context.directory.close()
        return [change.new for change in target.committed[before:]]

    assert await totals_from(0) == [1, 3]
    source.records["b"] = [0.25]
    assert await totals_from(0.0) == [3.25]
    source.records["c"] = [1]
    assert await totals_from(0.0) == [4.25]
    with pytest.raises(
        RestoreError, match=r"state f\.value changed its type: value was \w+ and is any now; .*: keep the type; or keep"
    ):
        await totals_from(())  # type: ignore[arg-type]


async def deployed(store: Path, owner: Callable[[], Any], source: Splits[Event], files: RealFiles) -> None:
    """Run one attempt over a store, without a job around it that would try again."""
    deploying = Deploying(pipeline(owner, source, str), store, files=files)
    try:
        await Attempt(await deploying.build()).run(lambda: None)
    finally:
        deploying.context.directory.close()


def break_disk() -> None:
    """Fail as a disk does."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


async def test_run_that_fails_at_any_file_call_leaves_the_old_schemas_or_the_new(tmp_path: Path) -> None:
    """A changed class's first run: whatever is lost, what is left is read by it, and by the next change."""
    source: Splits[Event] = Splits({"a": [(1, 5)]})
    await deployed(tmp_path / "before", First, source, RealFiles())
    source.records["b"] = [(1, 8), (2, 9)]
    outcomes: set[bool] = set()
    for number in count():
        store = tmp_path / str(number)
        shutil.copytree(tmp_path / "before", store)
        step = AtStep(number, break_disk)
        try:
            await deployed(store, Second, source, SteppedFiles(step))
            outcomes.add(step.fired)
        except (OSError, StoreError, ExceptionGroup, UserCodeError):
            outcomes.add(False)
        await deployed(store, Second, source, RealFiles())
        shown: list[Any] = []
        made = pipeline(Third, Splits({**source.records, "c": [(1, 0), (2, 0)]}), shown.append)
        deploying = Deploying(made, store)
        await Attempt(await deploying.build()).run(lambda: None)
        deploying.context.directory.close()
        first, second, other = TotalInCents(500), TotalInCents(800, ("second",)), TotalInCents(900, ("second",))
        assert shown == [
            all_of(1, second, {5: first, 8: second}, [first, second]),
            all_of(2, other, {9: other}, [other]),
        ]
        if not step.fired:
            break
    assert number > 10
    assert outcomes == {True, False}
