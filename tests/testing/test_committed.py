"""The oracles of the simulation's outputs, each on the smallest output that breaks it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from actorstream import PlanError
from actorstream.errors import FencedError
from actorstream.runtime.sinks import WriterContext
from actorstream.testing.committed import Committed, Expected, mark
from actorstream.testing.ledger import Ledger, Outside, outside, running_in
from actorstream.testing.session import BrokenPromiseError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence


class Ledgers(list[Ledger]):
    """A double."""


def first(row: object) -> Hashable:
    assert isinstance(row, str)
    return row[0]


def committed(*expected: str, in_order: bool = False) -> Committed:
    return Committed(Expected({"out": expected}, first if in_order else None))


def check(to: Committed, *rows: Sequence[str], end: bool = False, called: Sequence[str] | None = None) -> None:
    to.check({"out": rows} if called is None else {}, {} if called is None else {"out": called}, at_the_end=end)


def test_a_part_is_fine_before_the_end_and_all_of_it_at_the_end() -> None:
    to = committed("a1", "b1", "a2")
    check(to, ["b1"], [])
    check(to, ["b1", "a2"], ["a1"], end=True)


@pytest.mark.parametrize(
    ("rows", "oracle", "said"),
    [
        (["a1", "x"], "prefix", "'out' holds 'x', which was not to come"),
        (["a1", "a1"], "prefix", "'out' holds 'a1', once more than it should"),
        (["a2"], "prefix", "'out' holds 'a2', 'a1' was to come first"),
    ],
)
def test_what_was_not_to_come_is_found(rows: Sequence[str], oracle: str, said: str) -> None:
    with pytest.raises(BrokenPromiseError, match=said) as caught:
        check(committed("a1", "b1", "a2", in_order=True), rows)
    assert caught.value.oracle == oracle


def test_what_is_missing_at_the_end_is_found() -> None:
    with pytest.raises(BrokenPromiseError, match="complete: 'out' lacks 'a2'"):
        check(committed("a1", "a2"), ["a1"], end=True)


@pytest.mark.parametrize("now", [["a2"], ["b1", "a1"], []])
def test_what_was_there_stays_at_its_place(now: Sequence[str]) -> None:
    """Also where the same is there again, at another place: a reader of the log has seen it."""
    to = committed("a1", "a2", "b1")
    check(to, ["a1"])
    with pytest.raises(BrokenPromiseError, match="kept: 'out' held 'a1' as number 0"):
        check(to, now)


def test_all_sinks_together_are_compared_with_one_reference() -> None:
    to = Committed(Expected({"": ["a", "b"]}))
    to.check({"one": [["a"]], "two": [["b"]]}, {}, at_the_end=True)
    with pytest.raises(BrokenPromiseError, match="the output holds 'a', once more"):
        to.check({"one": [["a"]], "two": [["b", "a"]]}, {}, at_the_end=True)


def test_a_function_may_be_called_twice_but_not_never_nor_with_something_else() -> None:
    check(committed("a", "b"), called=["a", "b", "a"], end=True)
    check(committed("a", "b"), called=["x"])
    with pytest.raises(BrokenPromiseError, match="called: 'out' was never called with 'b'"):
        check(committed("a", "b"), called=["a"], end=True)
    with pytest.raises(BrokenPromiseError, match="called: 'out' was called with 'x'"):
        check(committed("a"), called=["a", "x"], end=True)


def test_elements_without_a_hash_are_compared_all_the_same() -> None:
    assert mark({"a": [1]}) == mark({"a": [1]}) != mark({"a": [2]})
    assert mark(1) == mark(1.0)


async def test_a_ledger_shows_a_token_once_and_refuses_who_was_replaced() -> None:
    ledger = Ledger("rows")
    async with ledger.writer(WriterContext("job", "out", 0, 1, 0)) as old:
        await old.write(["a"])
        token = await old.pre_commit(1)
        assert token is not None
        async with ledger.writer(WriterContext("job", "out", 0, 2, 0)) as new:
            await new.commit(token)
            await new.commit(token)
            assert ledger.committed() == ["a"]
            await old.write(["b"])
            with pytest.raises(FencedError):
                await old.pre_commit(2)
    assert ledger.broken == ["'rows': attempt 1 writes after attempt 2 has begun"]


def test_an_outside_system_outlives_processes_and_not_runs() -> None:
    run, other = Outside(), Outside()
    with running_in(run):
        first_made, second_made = outside(Ledgers), outside(Ledgers)
    with running_in(run):
        assert outside(Ledgers) is first_made is not second_made
    with running_in(other):
        assert outside(Ledgers) is not first_made
    with pytest.raises(PlanError, match="no simulation runs here"):
        outside(Ledgers)


def test_an_outside_system_is_found_again_by_what_each_process_makes_anew() -> None:
    """Lambdas, partials and classes within the function that builds the pipeline are others in each process."""
    run = Outside()

    def build() -> list[object]:
        class Local(list[int]):
            pass

        with running_in(run):
            return [outside(lambda: [1]), outside(partial(list[int], [2])), outside(Local), outside(lambda: [3])]

    first_time, again = build(), build()
    assert first_time == [[1], [2], [], [3]]
    assert all(one is other for one, other in zip(first_time, again, strict=True))


@dataclass
class Reading:
    of: str
    values: list[float]


def test_equal_elements_are_equal_in_whatever_order_they_were_built_and_nan_is_nan() -> None:
    """As sets that were restored, values decoded twice, classes that each process makes anew."""
    assert mark({8, 0}) == mark({0, 8})
    assert mark([{"a": 1, "b": 2}]) == mark([{"b": 2, "a": 1}]) != mark([{"a": 2, "b": 1}])
    assert mark(("a", float("nan"))) == mark(("a", float("nan"))) != mark(("a", 0.0))
    assert mark(Reading("a", [float("nan")])) == mark(Reading("a", [float("nan")])) != mark(Reading("b", []))
    assert mark([1]) != mark((1,))
    to = Committed(Expected({"out": [("a", float("nan"))]}))
    for _ in range(2):
        to.check({"out": [[("a", float("nan"))]]}, {}, at_the_end=True)


def test_of_a_reference_functions_may_have_heard_what_no_sink_has() -> None:
    to = Committed(Expected({"": ["a", "b"]}))
    to.check({"out": [["a"]]}, {"hear": ["b", "b"]}, at_the_end=True)
    with pytest.raises(BrokenPromiseError, match="complete: the output lacks 'b'"):
        to.check({"out": [["a"]]}, {"hear": ["a"]}, at_the_end=True)
    with pytest.raises(BrokenPromiseError, match="called: 'hear' was called with 'x'"):
        to.check({"out": [["a"]]}, {"hear": ["b", "x"]}, at_the_end=True)
    with pytest.raises(BrokenPromiseError, match="complete: the output lacks 'b'"):
        Committed(Expected({"": ["a", "b"]})).check({}, {"hear": ["a"]}, at_the_end=True)
