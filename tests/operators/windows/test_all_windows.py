"""Every kind of window and trigger does what its definition says, whatever comes in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorstream.model.times import TIME_MAX
from actorstream.operators.windows import records_kept
from tests.operators.windows.cases import AGGREGATIONS, Step, definition, spoiled, steps, words_of_windows
from tests.operators.windows.naive import Naive, Record, Words
from tests.operators.windows.rig import Driver, Outcome
from tests.state.rig import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterator


class Both:
    """An operator and the definition of what it does, side by side."""

    def __init__(self, words: Words, aggregate: str, shelf: Shelf, limit: int) -> None:
        make, meaning = AGGREGATIONS[aggregate]

        def value(records: list[Record]) -> object:
            return meaning(records, words)

        self.driver = Driver(definition(words, make()), shelf, limit)
        self.naive = Naive(words, value)
        self.in_any_order = aggregate in {"folded", "shared"}

    def step(self, step: Step) -> None:
        """Do it with both, and compare."""
        driver, naive = self.driver, self.naive
        match step:
            case ("record", key, value, time):
                self.compare(driver.record(key, value, time), naive.record(key, value, time))
                self.compare(driver.advance(driver.watermark), naive.advance(naive.watermark))
                assert driver.late == naive.late
            case ("watermark", watermark):
                self.compare(driver.advance(watermark), naive.advance(watermark))
            case ("tick", now):
                self.compare(driver.tick(now), naive.tick(now))
            case ("restart",):
                driver.crash_after_checkpoint()
            case _:
                driver.checkpoint()

    def compare(self, found: Outcome, expected: Outcome) -> None:
        """Find no difference."""
        assert spoiled(found, in_any_order=self.in_any_order) == spoiled(expected, in_any_order=self.in_any_order)


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("layers"))


@pytest.fixture(scope="module", autouse=True)
def short_runs() -> Iterator[None]:
    """Let windows of a few records have several runs of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records_kept, "RUN_RECORDS", 3)
        yield


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(words_of_windows(), st.sampled_from(sorted(AGGREGATIONS)), steps(), st.sampled_from([1, 2, 64]))
def test_results_are_those_of_the_definition_t135(
    layers: Shelf, words: Words, aggregate: str, inputs: list[Step], limit: int
) -> None:
    """With records out of order, watermarks in steps of any size, freezes and restarts at any place.

    What was given is changed by whoever got it (T125), and what is frozen is not what goes on (T135).
    """
    both = Both(words, aggregate, layers, limit)
    try:
        for step in [*inputs, *([("tick", 10_000)] if words.clock else []), ("watermark", TIME_MAX)]:
            both.step(step)
        both.driver.tick(20_000)
        if words.ends:
            assert both.driver.stored() == {}, "something is left of windows that are gone"
    finally:
        both.driver.state.stack.release()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(words_of_windows(), steps(), st.sampled_from([1, 7, 1_000]), st.data())
def test_the_size_of_steps_does_not_matter_t136(
    layers: Shelf, words: Words, inputs: list[Step], limit: int, data: st.DataObject
) -> None:
    """Batches end in watermarks of their own: more of them change nothing, nor does how much is done at once."""
    whole = Driver(definition(words, AGGREGATIONS["all"][0]()), layers)
    parts = Driver(definition(words, AGGREGATIONS["all"][0]()), layers, limit)
    for step in inputs:
        match step:
            case ("record", key, value, time):
                found = whole.record(key, value, time) + whole.advance(whole.watermark)
                assert parts.record(key, value, time) + parts.advance(parts.watermark) == found
            case ("watermark", watermark):
                between = data.draw(st.lists(st.integers(-60, watermark), max_size=3))
                found = [each for at in [*sorted(between), watermark] for each in parts.advance(at)]
                assert found == whole.advance(watermark)
            case ("tick", now):
                assert whole.tick(now) == parts.tick(now)
            case _:
                pass
    assert whole.late == parts.late
    assert whole.end() == parts.end()
