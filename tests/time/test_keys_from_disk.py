"""A chain makes its keys itself and has to read their state first: timers due meanwhile have keys of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream import Context, KeyedProcess, Pipeline, Timer, ValueState
from actorstream.state.cold_read import COLD_KEYS_MIN
from actorstream.testing import harness

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = 3 * COLD_KEYS_MIN


class Seen(KeyedProcess[str, int, tuple[str, str, int]]):
    """Counts the records of a key, and says so half a second after each."""

    count: ValueState[int] = ValueState(0)

    def on_element(self, value: int, ctx: Context[str], /) -> None:
        self.count += 1
        ctx.set_timer(value + 0.5, f"{key_of(value)} at {value}")

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> Iterator[tuple[str, str, int]]:
        yield ctx.key, timer.name, self.count


def key_of(value: int) -> str:
    return f"k{value % KEYS}"


async def test_a_record_behind_a_timer_keeps_its_key() -> None:
    """The timer of the record before fires first, in the same loop, and its key must not be taken for the record's."""
    pipeline = Pipeline("p")
    source: list[int] = []
    seen = pipeline.source(source).assign_timestamps(float).key_by(key_of).process(Seen, name="seen")
    async with harness(pipeline, batch=2 * KEYS) as h:
        await h.send(source, *range(KEYS))
        await h.checkpoint()
        await h.crash_and_recover()
        h.outputs(seen)
        await h.send(source, *range(KEYS, 2 * KEYS))
        await h.end_input()
        fired = h.outputs(seen)
        assert all(name.startswith(f"{key} at ") for key, name, _ in fired)
        assert fired[-KEYS:] == [(key_of(value), f"{key_of(value)} at {value}", 2) for value in range(KEYS, 2 * KEYS)]
