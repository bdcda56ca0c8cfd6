"""Which windows there may be, what they are made of, and which can share slices."""

from __future__ import annotations

from typing import Any

import pytest

from actorstream.errors import PlanError
from actorstream.operators.windows.aggregates import applying, counting, folding, processing
from actorstream.operators.windows.assigners import Count, Global, Session, Sliding, Tumbling, WindowAssigner
from actorstream.operators.windows.definition import Aligned, WindowDefinition, check
from actorstream.operators.windows.triggers import Trigger
from actorstream.operators.windows.window_process import WindowProcess

CLOCK = Tumbling(60, domain="processing")


class Own(Trigger[object]):
    """Says nothing."""


class Unsaid(WindowAssigner[object]):
    """Says nothing."""


class NoMerge(Trigger[object]):
    """Cannot merge."""

    def on_element(self, value: object, window: object, ctx: object, /) -> Any:
        return "fire"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((60, None, 0, "on_close"), r"window\(60\): expected windows such as Tumbling"),
        ((Tumbling, None, 0, "on_close"), "expected windows such as"),
        ((Unsaid(), None, 0, "on_close"), "no `assign`"),
        ((Tumbling(60), None, 0, "always"), "emit is 'always', expected 'on_close' or 'updates'"),
        ((Tumbling(60), Trigger.count(2), 0, "updates"), "leave out one"),
        ((Tumbling(60), Trigger.count, 0, "on_close"), "expected a Trigger"),
        ((Tumbling(60), Own(), 0, "on_close"), "Own has no `on_element`"),
        ((Tumbling(60), Own().purging(), 0, "on_close"), "Own has no `on_element`"),
        ((Session(60), NoMerge(), 0, "on_close"), "NoMerge has no `on_merge`"),
        ((Global(), None, 0, "on_close"), r"never closes.*trigger=Trigger\.count"),
        ((Global(), Trigger.at_watermark(), 0, "on_close"), "no end to fire at"),
        ((Global(), Trigger.at_clock().purging(), 0, "on_close"), "no end to fire at"),
        ((Global(), Trigger.count(2), 5, "on_close"), "allowed_lateness"),
        ((CLOCK, None, 5, "on_close"), "allowed_lateness"),
        ((CLOCK, Trigger.at_watermark(), 0, "on_close"), r"at_watermark\(\) is for windows of event time"),
        ((Tumbling(60), Trigger.at_clock(), 0, "on_close"), r"Tumbling\(\.\.\., domain='processing'\)"),
        ((Count(5), Trigger.count(2), 0, "on_close"), r"take Global\(\)"),
        ((Count(5), None, 5, "on_close"), "allowed_lateness"),
    ],
)
def test_words_that_contradict_each_other_are_refused(words: tuple[Any, Any, int, Any], says: str) -> None:
    """When the pipeline is written; with the remedy."""
    with pytest.raises(PlanError, match=says):
        check(*words)
    windows, trigger, lateness, emit = words
    with pytest.raises(PlanError, match=says):
        WindowDefinition(windows, counting(), trigger, lateness, emit)


@pytest.mark.parametrize(
    "words",
    [
        (Tumbling(60), None, 5, "updates"),
        (Global(), None, 0, "updates"),
        (Count(5), None, 0, "updates"),
        (CLOCK, Trigger.at_clock().purging(), 0, "on_close"),
        (CLOCK, None, 0, "updates"),
        (Session(60), Trigger.every(5), 5, "on_close"),
        (Tumbling(60), NoMerge(), 0, "on_close"),
        (Sliding(5, slide=60), None, 0, "on_close"),
    ],
)
def test_words_that_do_not_are_taken(words: tuple[Any, Any, int, Any]) -> None:
    """Each of these says something."""
    windows, trigger, lateness, emit = words
    definition = WindowDefinition(windows, counting(), trigger, lateness, emit)
    assert definition.inputs == 1
    assert definition.kind == "window-count"


def aligned(windows: Any, aggregation: Any = None, trigger: Any = None, **more: Any) -> Aligned | None:
    return WindowDefinition(windows, aggregation or counting(), trigger, **more).aligned


def test_windows_at_equal_distances_share_slices() -> None:
    """Where they fire by themselves, and accumulators can be merged; with any lateness."""
    assert aligned(Tumbling(60, offset=70)) == (60_000_000, 60_000_000, 10_000_000)
    assert aligned(Sliding(10, slide=4, offset=-1), allowed_lateness_us=5) == (10_000_000, 4_000_000, 3_000_000)
    assert aligned(Sliding(1_000, slide=1)) is not None
    assert aligned(Sliding(60, slide=20), trigger=Trigger.at_watermark()) is not None
    assert aligned(Tumbling(60), folding(0, max, None)) is not None, "a slice is the window: nothing to merge"


def test_other_windows_do_not_share_slices() -> None:
    """Each of these would need something that slices have not."""

    class Mine(Tumbling):
        """May be anything."""

    assert aligned(Sliding(1_001, slide=1)) is None, "too many slices"
    assert aligned(Sliding(10, slide=20)) is None, "records that are in no window"
    assert aligned(Sliding(60, slide=20), folding(0, max, None)) is None
    assert aligned(Tumbling(60), applying(list)) is None
    assert aligned(CLOCK) is None
    assert aligned(Tumbling(60), trigger=Trigger.count(2)) is None
    assert aligned(Tumbling(60), trigger=Trigger.at_watermark().purging()) is None
    assert aligned(Tumbling(60), emit="updates") is None
    assert aligned(Session(60)) is None
    assert aligned(Count(5)) is None
    assert aligned(Mine(60)) is None


def test_who_needs_timestamps_and_who_only_takes_them() -> None:
    """The graph carries them as far as somebody asks."""
    needs = {
        name: (definition.event_time, definition.takes_time)
        for name, definition in {
            "tumbling": WindowDefinition(Tumbling(60), counting()),
            "clock": WindowDefinition(CLOCK, counting()),
            "count": WindowDefinition(Count(5), counting()),
            "global": WindowDefinition(Global(), counting(), Trigger.count(2)),
            "global every": WindowDefinition(Global(), counting(), Trigger.every(2).purging()),
        }.items()
    }
    assert needs == {
        "tumbling": (True, True),
        "clock": (False, False),
        "count": (False, True),
        "global": (False, True),
        "global every": (True, True),
    }


class Nothing(WindowProcess[Any, Any, Any]):
    """Never called."""


@pytest.mark.parametrize(
    ("definition", "names"),
    [
        (WindowDefinition(Tumbling(60), counting()), ["windows", "(timers)"]),
        (WindowDefinition(Session(60), counting()), ["windows", "spans", "(timers)"]),
        (WindowDefinition(Session(60), folding(0, max, None)), ["windows", "records", "spans", "(timers)"]),
        (WindowDefinition(Count(5), applying(list)), ["windows", "records", "number"]),
        (
            WindowDefinition(Global(), processing(), Trigger.count(2), process=Nothing),
            ["windows", "records", "keys", "(timers)"],
        ),
    ],
)
def test_each_has_the_states_that_it_needs(definition: WindowDefinition, names: list[str]) -> None:
    """Their names are in every checkpoint: what is called otherwise is not found again."""
    assert [column.name for column in definition.columns("x")] == names


def test_what_cannot_be_stored_is_refused() -> None:
    """Before anything runs, and with the operator's name."""
    with pytest.raises(PlanError, match="totals: its initial value cannot be stored"):
        WindowDefinition(Tumbling(60), folding(object(), max, None)).columns("totals")
