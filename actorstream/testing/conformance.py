"""Does your source replay, does your sink commit once? Ask a suite that breaks off every call.

    async def test_orders_come_again() -> None:
        await check_source(lambda: MySource("orders"), expected)

    async def test_rows_are_there_once() -> None:
        await check_sink(lambda place: MySink(f"{place}.db"), lambda place: rows_in(f"{place}.db"), RECORDS)

In a plain test: `asyncio.run(check_sink(...))`. A failure is a `ConformanceError`, which says what was broken and has
the calls that show it. Your connector is real, and so are its files and servers; the job around it is played.

    conformance_sinks.py    what a sink is put through     conformance_targets.py  one life of a target
    conformance_sources.py  what a source is               conformance_calls.py    calls, noted and cut short
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from actorstream.testing.conformance_calls import ConformanceError as ConformanceError
from actorstream.testing.conformance_sinks import SinkScenario as SinkScenario
from actorstream.testing.conformance_sinks import SinkTrial
from actorstream.testing.conformance_sources import SourceTrial

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from actorstream.model.connect import Source
    from actorstream.testing.conformance_sinks import Down
    from actorstream.testing.conformance_targets import Make, ReadBack

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Conformance:
    """What a connector has stood.

    Attributes:
        trials: How many lives or readings each scenario has taken: a crash at every call is one a call and await.
    """

    trials: Mapping[str, int]


async def check_sink(
    make: Make[T],
    read_back: ReadBack[T],
    records: Sequence[T],
    *,
    down: Down | None = None,
    without: Sequence[SinkScenario] = (),
) -> Conformance:
    """Put a sink through crashes at every call and await, commits that come again, aborts, zombies and rescales.

    Args:
        make: Opens the sink on the target at a place, a path in a new folder where nothing is yet; for a target
            elsewhere, derive a name from it. Called for each writer anew, as a new process would. May be async.
            A sink that has an `aclose` is closed with it.
        read_back: Gives what is visible in the target at a place now, in any order. May be async.
        records: What is written: at least 8, all different. For a sink that updates by key: of different keys.
        down: Takes the target at a place down while its block lasts, for "outage": between pre-commit and commit.
        without: Scenarios to leave out, with what the sink then does not promise: "zombie" and "going back" for one
            that knows no attempts.

    Raises:
        ConformanceError: The sink breaks its contract.
        PlanError: The arguments make no sense.
    """
    trial = SinkTrial(make, read_back, records, down)
    await trial.run(without)
    return Conformance(dict(trial.lives))


async def check_source(
    make: Callable[[], Source[T, Any] | Awaitable[Source[T, Any]]],
    expected: Sequence[T] | Mapping[str, Sequence[T]],
    *,
    endless: bool = False,
) -> Conformance:
    """Read a source whole, again from behind every position, and after a break at every await.

    Args:
        make: Opens the source on the same records each time, as a new process would. May be async. A source that has
            an `aclose` is closed with it.
        expected: The records that it has: of all splits together, in any order of splits; or by split.
        endless: Its splits do not end by themselves; then `expected` is by split, and reading stops with its last.

    Raises:
        ConformanceError: The source breaks its contract.
        PlanError: The arguments make no sense.
    """
    trial = SourceTrial(make, expected, endless=endless)
    await trial.run()
    return Conformance(dict(trial.readings))
