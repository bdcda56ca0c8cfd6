"""Reducing and aggregating states: what was added is what is got, also after a crash, and only where there is a key."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import (
    TTL,
    AggregatingState,
    JobFailed,
    KeyedProcess,
    Pipeline,
    PlanError,
    ReducingState,
    Restart,
    UserCodeError,
    ValueState,
)
from actorstream.testing.harness import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from actorstream import Accumulated, Context, OperatorContext

Row = tuple[str, int]
Results = tuple[int | None, list[int] | None, float | None]


def together(left: list[int], right: list[int]) -> list[int]:
    """Change the first, as one may."""
    left.extend(right)
    return left


class Mean:
    """Begins with one list for all, as one should not."""

    start: list[float] = []  # noqa: RUF012  (that is the mistake)

    def create(self) -> list[float]:
        """Give what begins."""
        return self.start

    def add(self, accumulator: list[float], value: int, /) -> list[float]:
        """Keep all."""
        accumulator.append(value)
        return accumulator

    def merge(self, left: list[float], right: list[float], /) -> list[float]:
        """Give both."""
        return left + right

    def result(self, accumulator: list[float], /) -> float:
        """Divide."""
        return sum(accumulator) / len(accumulator)


class Trips(KeyedProcess[str, Row, Results]):
    """Adds each number everywhere; 0 forgets all, and gives nothing back but what is left."""

    longest: ReducingState[int] = ReducingState(max)
    all: ReducingState[list[int]] = ReducingState(together)
    mean: AggregatingState[int, list[float], float] = AggregatingState(Mean())
    count: ValueState[int] = ValueState(0)

    def on_element(self, value: Row, ctx: Context[str], /) -> list[Results]:
        """Add."""
        del ctx
        self.count += 1
        if value[1]:
            self.longest.add(value[1])
            self.all.add([value[1]])
            self.mean.add(value[1])
        else:
            self.longest.clear()
            del self.all
            self.mean.clear()
        return [(self.longest.get(), self.all.get(), self.mean.get())]


ROWS = [("a", 3), ("b", 8), ("a", 5), ("a", 1), ("b", 0), ("b", 2), ("a", 9)]
RESULTS = [
    (3, [3], 3.0),
    (8, [8], 8.0),
    (5, [3, 5], 4.0),
    (5, [3, 5, 1], 3.0),
    (None, None, None),
    (2, [2], 2.0),
    (9, [3, 5, 1, 9], 4.5),
]


def trips() -> tuple[Pipeline, Any, Any]:
    pipeline = Pipeline("p")
    source = pipeline.source([("", 0)], name="in")
    return pipeline, source, source.key_by(operator.itemgetter(0)).process(Trips)


@pytest.mark.parametrize("crash_after", range(len(ROWS)))
async def test_what_was_added_is_got_also_after_a_crash(crash_after: int) -> None:
    """Before and after a snapshot: what is changed in place must be in it, and results must not be changed by it."""
    pipeline, source, given = trips()
    async with harness(pipeline, parallelism=2) as h:
        results: list[Any] = []
        for number, row in enumerate(ROWS):
            await h.send(source, row)
            results += h.outputs(given)
            await h.checkpoint()
            if number == crash_after:
                await h.crash_and_recover()

        assert results == RESULTS
        assert Mean.start == []


async def test_queries_give_the_result() -> None:
    pipeline, source, given = trips()
    async with harness(pipeline) as h:
        await h.send(source, *ROWS[:4])
        assert await h.job.get(Trips.longest, "a") == 5
        assert await h.job.get(Trips.mean, "a") == 3.0
        shown = await h.job.get(Trips.all, "a")
        assert shown == [3, 5, 1]
        shown.append(0)
        assert await h.job.get(Trips.mean, "c") is None
        await h.send(source, ("a", 9))
        assert h.outputs(given)[-1] == (9, [3, 5, 1, 9], 4.5)


class Lately(KeyedProcess[str, Row, int | None]):
    """Sums what came lately."""

    total: ReducingState[int] = ReducingState(operator.add, ttl=10)
    looked_at: ReducingState[int] = ReducingState(operator.add, ttl=TTL(10, refresh="read"))

    def on_element(self, value: Row, ctx: Context[str], /) -> Iterable[int | None]:
        """Add, or look."""
        del ctx
        if value[1]:
            self.total.add(value[1])
            self.looked_at.add(value[1])
        return [self.total.get(), self.looked_at.get()]


async def test_what_expires_begins_anew() -> None:
    """Each addition moves the expiry of all of it; looking does where reading refreshes."""
    pipeline = Pipeline("p")
    source = pipeline.source([("", 0)], name="in")
    given = source.key_by(operator.itemgetter(0)).process(Lately)
    async with harness(pipeline) as h:
        for clock, added, expected in [
            (0, 1, [1, 1]),
            (9, 2, [3, 3]),
            (9, 0, [3, 3]),
            (1, 0, [None, 3]),
            (9, 4, [4, 7]),
        ]:
            if clock:
                await h.advance(clock=clock)
            await h.send(source, ("a", added))
            assert h.outputs(given) == expected


class Misused(KeyedProcess[str, Row, int]):
    """Does what its function says."""

    total: ReducingState[int] = ReducingState(operator.add)
    nothing: AggregatingState[int, list[int], int] = AggregatingState(
        type("Forgets", (), {"create": list, "add": lambda _, held, value: held.append(value), "result": sum})()
    )
    text: ReducingState[int] = ReducingState(lambda left, right: f"{left}{right}")  # type: ignore[arg-type,return-value]

    def __init__(self, how: Any) -> None:
        self.how = how
        self.kept: Accumulated[int, int] | None = None

    async def open(self, ctx: OperatorContext, /) -> None:
        """Use it where there is no key."""
        del ctx
        if self.how == "open":
            self.total.add(1)

    def on_element(self, value: Row, ctx: Context[str], /) -> Iterator[int]:
        """Misuse it."""
        del ctx
        yield value[1]
        self.how(self)


def _assign(process: Any) -> None:
    process.total = 3


def _plus(process: Any) -> None:
    process.total += 3


def _ask(process: Any) -> None:
    if process.total:
        process.total.clear()


MISUSES: list[tuple[Any, str]] = [
    ("open", r"Misused.total was used where there is no key"),
    (_assign, r"Misused.total was assigned: .*say self.total.add\(...\)"),
    (_plus, r"Misused.total was assigned: .*say self.total.add\(...\)"),
    (_ask, r"total: ask for its result, as in self.total.get\(\)"),
    (lambda process: process.total.add(None), "total: what was added gave None"),
    (lambda process: process.nothing.add(1), "nothing: Forgets.add gave None, expected .*return it"),
]


@pytest.mark.parametrize(("how", "message"), MISUSES)
async def test_misuse_is_refused_with_what_to_say(how: Any, message: str) -> None:
    pipeline = Pipeline("p")
    pipeline.source(ROWS).key_by(operator.itemgetter(0)).process(lambda: Misused(how), name="misused")
    with pytest.raises(JobFailed, match=message) as failed:
        await pipeline.run()
    assert isinstance(failed.value.__cause__, UserCodeError)
    assert failed.value.__cause__.operator == "misused"


async def test_a_state_that_is_kept_is_refused_without_its_key() -> None:
    """T32: it would be that of whichever key came last."""
    kept: list[Any] = []
    pipeline, source = Pipeline("p"), ROWS[:1]
    pipeline.source(source).key_by(operator.itemgetter(0)).process(
        lambda: Misused(lambda process: kept.append(process.total)), name="keeps"
    )
    await pipeline.run()
    uses: list[Callable[[Any], object]] = [
        lambda state: state.add(1),
        lambda state: state.get(),
        lambda state: state.clear(),
    ]
    for use in uses:
        with pytest.raises(Exception, match=r"Misused.total was used where there is no key"):
            use(kept[0])


async def test_a_function_that_gives_another_type_fails_with_the_states_name(tmp_path: Path) -> None:
    """The annotation is the schema: text would be read back as a number, or not at all."""

    def twice(process: Any) -> None:
        process.text.add(1)
        process.text.add(2)

    pipeline = Pipeline("p")
    pipeline.source(ROWS).key_by(operator.itemgetter(0)).process(lambda: Misused(twice), name="misused")
    with pytest.raises(JobFailed, match=r"state misused.text, key 'a': value is '12.* \(a str\), expected int"):
        await pipeline.run(store=tmp_path, restart=Restart.never())


async def _waits(left: int, right: int) -> int:
    return left + right


WAITS: Any = _waits


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: ReducingState(3), r"ReducingState\(3\): expected a plain function of two values"),  # type: ignore[arg-type]
        (lambda: ReducingState(WAITS), "expected a plain function"),
        (lambda: AggregatingState(Mean), r"AggregatingState\(the class Mean\): expected an object"),  # type: ignore[arg-type]
        (lambda: AggregatingState(max), "expected an object with create, add and result"),  # type: ignore[arg-type]
        (lambda: ReducingState(max, ttl=-1), "ttl is -1"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(declare: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        declare()


async def test_a_state_without_annotation_is_refused_by_name() -> None:
    class Bare(KeyedProcess[str, Row, int]):
        total = ReducingState(operator.add)

        def on_element(self, value: Row, ctx: Context[str], /) -> None:
            """Take it."""

    pipeline = Pipeline("p")
    pipeline.source(ROWS).key_by(operator.itemgetter(0)).process(Bare)
    with pytest.raises(PlanError, match=r"Bare.total needs an annotation: total: ReducingState\[...\]"):
        await pipeline.run()
