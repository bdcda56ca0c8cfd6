"""What people do with `simulate` that cannot work: it says so, and does not blame their pipeline."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import Context, KeyedProcess, Pipeline, PlanError, Settings, ValueState
from actorstream.testing import outside, simulate
from actorstream.testing.unsimulated import CannotBeSimulatedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from actorstream import SinkContext

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(120)]

NUMBERS = range(12)
SEED_THAT_CRASHES = 1


class Shelf:
    """A double that takes what is committed."""

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.rows: list[object] = []
        self.pending: dict[bytes, list[object]] = {}

    def committed(self) -> Sequence[object]:
        return self.rows

    @asynccontextmanager
    async def writer(self, ctx: SinkContext, /) -> AsyncIterator[ShelfWriter]:
        yield ShelfWriter(self, f"{ctx.attempt}-{ctx.subtask}")


class ShelfWriter:
    def __init__(self, shelf: Shelf, who: str) -> None:
        self.shelf, self.who, self.values = shelf, who, list[object]()

    async def write(self, values: Sequence[object], /) -> None:
        self.values += values

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        token = f"{self.who}-{checkpoint}".encode()
        self.shelf.pending[token], self.values = self.values, []
        return token

    async def commit(self, token: bytes, /) -> None:
        self.shelf.rows += self.shelf.pending.pop(token, [])

    async def abort(self, token: bytes | None, /) -> None:
        pass


def copying(sink: Any = None) -> Pipeline:
    pipeline = Pipeline("copying")
    numbers = pipeline.source(NUMBERS)
    if sink is not None:
        numbers.sink(sink, name="shelf")
    return pipeline


def test_a_double_may_be_made_by_a_lambda() -> None:
    simulate(lambda: copying(outside(lambda: Shelf(3))), seeds=8).check()


ONE_FOR_ALL = Shelf()


def test_a_double_that_outlives_its_run_is_refused() -> None:
    """Each run would find what the one before has written, and be blamed for it."""
    with pytest.raises(CannotBeSimulatedError, match=r"'shelf' writes to holds at the beginning .* outside.Shelf"):
        simulate(lambda: copying(ONE_FOR_ALL), seeds=8)


def test_a_double_that_dies_with_its_process_is_refused() -> None:
    with pytest.raises(CannotBeSimulatedError, match=r"'shelf' writes to is there no more .* outside.Shelf"):
        simulate(lambda: copying(Shelf()), seeds=8)


def ignore(_: object) -> None:
    """Take it."""


def numbers() -> Sequence[int]:
    return NUMBERS


def test_a_reference_is_of_plain_functions_too() -> None:
    """They are sinks: what they are called with is what comes out."""
    simulate(lambda: copying(ignore), seeds=6, reference=numbers).check()
    lacking = simulate(lambda: copying(ignore), seeds=1, crashes=0, reference=lambda: [*NUMBERS, 99])
    assert "complete: the output lacks 99" in lacking.failures[0]
    others = simulate(lambda: copying(ignore), seeds=1, crashes=0, reference=lambda: NUMBERS[1:])
    assert "called: 'shelf' was called with 0, which was not to come" in others.failures[0]


def lane(_: object) -> str:
    return "all"


def test_the_line_of_a_failure_names_all_that_it_needs_to_be_repeated() -> None:
    (failure,) = simulate(
        copying, seeds=1, reference=lambda: [99], in_order_by=lane, settings=Settings(alignment_timeout=0)
    ).failures
    said = "simulate(copying, reference=lambda, in_order_by=lane, settings=Settings(alignment_timeout=0), plan="
    assert said in failure
    plan = re.search(r'plan="(.*)"', failure)
    assert plan is not None
    again = simulate(
        copying,
        reference=lambda: [99],
        in_order_by=lane,
        settings=Settings(alignment_timeout=0),
        plan=plan[1],
    )
    assert again.failures == (failure,)


class Forgetful(KeyedProcess[int, int, int]):
    """Counts where no checkpoint sees it, and does not bear to have less than all records."""

    heard: ValueState[int] = ValueState(0)

    def __init__(self) -> None:
        self.count = 0

    def on_element(self, value: int, ctx: Context[int], /) -> Iterator[int]:
        self.count += 1
        self.heard += 1
        ctx.set_timer(10**9)
        yield self.count

    def on_timer(self, timer: Any, ctx: Context[int], /) -> None:
        if self.heard < len(NUMBERS):
            raise LookupError("some records are missing")


def test_a_failure_is_told_also_where_fewer_records_cannot_be_run() -> None:
    def build() -> Pipeline:
        pipeline = Pipeline("forgetful")
        pipeline.source(NUMBERS).assign_timestamps(float).key_by(lambda _: 0).process(Forgetful)
        return pipeline

    (first,) = simulate(build, seeds=[SEED_THAT_CRASHES]).failures
    assert first.startswith("prefix: 'Forgetful.output' holds")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"seeds": 0}, "seeds is 0, expected an int of at least 1"),
        ({"seeds": []}, "there are no seeds"),
        ({"seeds": range(-3, 3)}, "a seed is -3, expected an int of at least 0"),
        ({"seeds": [1.5]}, "a seed is 1.5"),
        ({"crashes": -1}, "crashes is -1, expected an int of at least 0"),
        ({"parallelism": 0}, "parallelism is 0, expected an int from 1 to 128, the pipeline's max_parallelism"),
        ({"parallelism": 129}, "parallelism is 129"),
        ({"settings": {}}, "settings is {}, expected a Settings"),
        ({"reference": [1]}, "reference is list, expected a function"),
        ({"in_order_by": "key"}, "in_order_by is str, expected a function"),
        ({"pipeline": Pipeline("p")}, "pipeline is Pipeline, expected a function"),
        ({"pipeline": lambda: None}, "lambda gave a NoneType, expected a plain function that returns the Pipeline"),
    ],
)
def test_what_makes_no_sense_is_refused(words: dict[str, Any], said: str) -> None:
    """Not met somewhere within; nor passed because there was nothing to run."""
    with pytest.raises(PlanError, match=re.escape(said)):
        simulate(**{"pipeline": copying, **words})


def test_seeds_are_asked_for_one_by_one() -> None:
    """Who gives them may go by the clock: the budget of `make verify` gave millions in its time, and all were run."""
    given: list[int] = []
    built: set[int] = set()

    def seeds() -> Iterator[int]:
        for number in range(3):
            given.append(number)
            yield number

    def build() -> Pipeline:
        built.add(len(given))
        return copying()

    simulate(build, seeds=seeds()).check()
    assert {1, 2, 3} <= built
