"""Functions of all records with state of the window and of the key."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import Context, KeyedProcess, OutputTag, Pipeline
from actorstream.errors import PlanError, StateAccessError
from actorstream.operators.user_time import datetime_of, time_us
from actorstream.operators.windows.aggregates import processing
from actorstream.operators.windows.assigners import Count, Session, Tumbling
from actorstream.operators.windows.definition import WindowDefinition
from actorstream.operators.windows.records_kept import RUN_RECORDS
from actorstream.operators.windows.triggers import Trigger
from actorstream.operators.windows.window_process import WindowProcess
from actorstream.testing import harness
from tests.operators.windows.rig import Driver, result, us, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from actorstream.operators.windows.assigners import Window
    from actorstream.operators.windows.window_process import WindowContext
    from tests.state.rig import Shelf


class Calls(WindowProcess[str, int, tuple[int, int, list[int]]]):
    """Counts how often it was called for a window, and for a key."""

    kept: WindowContext

    def on_window(
        self, key: str, window: Window, values: Sequence[int], ctx: WindowContext, /
    ) -> Iterable[tuple[int, int, list[int]]]:
        assert key == "a"
        assert window.start < window.end
        self.kept = ctx
        ctx.state["calls"] = ctx.state.get("calls", 0) + 1
        ctx.global_state.setdefault("sums", []).append(sum(values))
        ctx.global_state["calls"] = ctx.global_state.get("calls", 0) + 1
        yield ctx.state["calls"], ctx.global_state["calls"], ctx.global_state["sums"]


def driven(shelf: Shelf, process: Any, windows: Any = None, lateness: int = 0) -> Driver:
    return Driver(WindowDefinition(windows or Tumbling(us(10)), processing(), None, lateness, process=process), shelf)


def test_state_of_the_window_goes_with_it_and_that_of_the_key_stays_t61(shelf: Shelf) -> None:
    """Both come through restarts, and through being changed in place."""
    driver = driven(shelf, Calls, lateness=5)
    driver.records("a", (1, 0), (5, 12))
    assert driver.advance(9) == [result("a", 0, 10, (1, 1, [1]))]
    driver.crash_after_checkpoint()
    assert driver.record("a", 2, 3) == [result("a", 0, 10, (2, 2, [1, 3]))]
    driver.crash_after_checkpoint()
    assert driver.advance(30) == [result("a", 10, 20, (1, 3, [1, 3, 5]))]
    assert driver.stored() == {"keys": [("a", "calls", 3), ("a", "sums", [1, 3, 5])]}


def test_sessions_have_no_state_of_the_window_t61(shelf: Shelf) -> None:
    """Nobody could say which of several would be the merged one's; that of the key they have."""
    driver = driven(shelf, Calls, Session(us(10)))
    driver.record("a", 1, 0)
    with pytest.raises(PlanError, match=r"Calls asks for ctx\.state.*use ctx\.global_state"):
        driver.end()

    class Sum(WindowProcess[str, int, int]):
        def on_window(self, key: str, window: Window, values: Sequence[int], ctx: WindowContext, /) -> list[int]:
            ctx.global_state["sum"] = ctx.global_state.get("sum", 0) + sum(values)
            return [ctx.global_state["sum"]]

    driver = driven(shelf, Sum, Session(us(10)))
    driver.records("a", (1, 0), (2, 5), (3, 50))
    assert values(driver.end()) == [3, 6]


def test_state_is_there_during_the_call_only_t32(shelf: Shelf) -> None:
    """Afterwards there is no key that it would be of."""
    made: list[Calls] = []

    def make() -> Calls:
        made.append(Calls())
        return made[-1]

    driver = driven(shelf, make)
    driver.record("a", 1, 0)
    driver.end()
    (process,) = made
    with pytest.raises(StateAccessError, match="no key"):
        _ = process.kept.state
    with pytest.raises(StateAccessError, match="no key"):
        process.kept.global_state["x"] = 1


class Seen(WindowProcess[str, int, int]):
    """Tells the watermark."""

    def on_window(self, key: str, window: Window, values: Sequence[int], ctx: WindowContext, /) -> list[int]:
        return [time_us(ctx.watermark, "the watermark")]


@pytest.mark.parametrize(
    ("windows", "trigger"),
    [(Count(2), None), (Tumbling(us(100)), Trigger.count(2)), (Session(us(100)), Trigger.count(2))],
)
def test_a_window_that_records_fire_sees_the_watermark(shelf: Shelf, windows: Any, trigger: Any) -> None:
    driver = Driver(WindowDefinition(windows, processing(), trigger, process=Seen), shelf)
    driver.advance(3)
    assert values(driver.records("a", (1, 5), (1, 6))) == [3]


def test_a_window_that_the_clock_fires_sees_the_watermark(shelf: Shelf) -> None:
    trigger = Trigger.every(us(5), domain="processing")
    driver = Driver(WindowDefinition(Tumbling(us(100)), processing(), trigger, process=Seen), shelf)
    driver.advance(3)
    driver.record("a", 1, 5)
    assert values(driver.tick(6)) == [3]


def test_a_window_that_a_timer_fires_sees_the_watermark_of_that_moment(shelf: Shelf) -> None:
    """At the end of a session, at a trigger's timer of either time: however far the watermark has gone meanwhile."""

    def seen(windows: Any, trigger: Any, fire: Any) -> object:
        driver = Driver(WindowDefinition(windows, processing(), trigger, process=Seen), shelf)
        driver.advance(3)
        driver.record("a", 1, 5)
        return values(fire(driver))

    by_event, by_clock = (Trigger.every(us(5), domain=domain) for domain in ("event", "processing"))
    assert seen(Session(us(10)), None, lambda driver: driver.advance(50)) == [14]
    assert seen(Tumbling(us(100)), by_event, lambda driver: driver.advance(50)) == [9]
    assert seen(Session(us(100)), by_clock, lambda driver: driver.tick(6)) == [3]


def test_what_a_window_gives_and_keeps_is_the_receivers_t125(shelf: Shelf) -> None:
    """A list of the window's state may be changed by those behind, and is what it was at the next firing."""

    class Listed(WindowProcess[str, int, list[int]]):
        def on_window(self, key: str, window: Window, values: Sequence[int], ctx: WindowContext, /) -> list[list[int]]:
            ctx.state.setdefault("all", []).append(len(values))
            return [ctx.state["all"]]

    driver = driven(shelf, Listed, lateness=50)
    driver.record("a", 1, 0)
    ((first, _),) = driver.advance(12)
    first.value.clear()
    assert values(driver.record("a", 1, 0)) == [[1, 2]]


def test_a_window_of_many_records_is_processed_whole(shelf: Shelf) -> None:
    """Also those that are in runs of their own, written once."""
    driver = driven(shelf, Calls)
    driver.records("a", *[(1, number % 10) for number in range(3 * RUN_RECORDS)])
    driver.crash_after_checkpoint()
    assert values(driver.advance(9)) == [(1, 1, [3 * RUN_RECORDS])]


def test_a_window_may_give_nothing_or_several_results(shelf: Shelf) -> None:
    """Each is a result of the window; the context tells the time."""

    class Each(WindowProcess[str, int, datetime | int]):
        def on_window(
            self, key: str, window: Window, values: Sequence[int], ctx: WindowContext, /
        ) -> list[datetime | int] | None:
            return [*values, ctx.watermark, ctx.now] if sum(values) else None

    driver = driven(shelf, Each)
    driver.clock.now = 77
    driver.records("a", (1, 0), (2, 5), (0, 12))
    assert values(driver.advance(1_000)) == [1, 2, datetime_of(9), datetime_of(77)]


def test_processes_of_counted_windows(shelf: Shelf) -> None:
    """State of the window is that of one of them."""
    driver = Driver(WindowDefinition(Count(2), processing(), emit="updates", process=Calls), shelf)
    found = [value[:2] for value in values(driver.records("a", (1, 0), (1, 1), (1, 2)))]  # type: ignore[index]  # a tuple
    assert found == [(1, 1), (2, 2), (1, 3)]


def test_what_is_no_process_is_refused(shelf: Shelf) -> None:
    """As soon as it is made."""
    with pytest.raises(PlanError, match="expected a WindowProcess"):
        driven(shelf, object)


EMPTY_TAG: OutputTag[str] = OutputTag("few")


class Few(WindowProcess[str, int, int]):
    """Gives how many there were, and says aside where they were few."""

    def on_window(self, key: str, window: Window, values: Sequence[int], ctx: WindowContext, /) -> Iterator[int]:
        if len(values) < 2:
            ctx.emit_to(EMPTY_TAG, f"{key} from {window.start:%S}")
            ctx.emit_to(OutputTag("nobody's"), values)
        yield len(values)


@pytest.mark.parametrize("windows", [Tumbling(10), Session(5), Count(1)])
async def test_a_window_gives_to_side_outputs_at_its_own_time(windows: Any) -> None:
    """Each time that it fires, with its results, and before a checkpoint as well as behind a crash."""
    pipeline = Pipeline("p")
    source: list[int] = []
    timed = pipeline.source(source).assign_timestamps(float)
    sizes = timed.key_by(lambda _: "k").window(windows, allowed_lateness=0).process(Few)
    few = sizes.side_output(EMPTY_TAG)
    times = few.key_by(lambda text: text).process(Stamped)
    async with harness(pipeline) as h:
        await h.send(source, 1)
        await h.checkpoint()
        await h.crash_and_recover()
        await h.send(source, 21, 22, 41)
        await h.end_input()
        starts = {Tumbling: [0, 40], Session: [1, 41], Count: [0, 0, 0, 0]}[type(windows)]
        ends = {Tumbling: [9.999999, 49.999999], Session: [5.999999, 45.999999], Count: [1, 21, 22, 41]}[type(windows)]
        assert h.outputs(few) == [f"k from {start % 60:02}" for start in starts]
        assert h.outputs(times) == ends
        assert [each.value for each in h.outputs(sizes)] == [1] * 4 if type(windows) is Count else [1, 2, 1]


class Stamped(KeyedProcess[str, str, float]):
    """Shows when records were."""

    def on_element(self, value: str, ctx: Context[str], /) -> Iterator[float]:
        yield ctx.timestamp.timestamp()


def test_a_text_is_no_list_of_results(shelf: Shelf) -> None:
    """It would be taken apart into characters, as that of a flat_map."""

    class Wordy(WindowProcess[str, int, str]):
        def on_window(self, key: str, window: Window, values: Sequence[int], ctx: WindowContext, /) -> Iterable[str]:
            return "words"

    driver = driven(shelf, Wordy)
    driver.record("a", 1, 0)
    with pytest.raises(TypeError, match="gave a str, expected a list of results"):
        driver.end()
