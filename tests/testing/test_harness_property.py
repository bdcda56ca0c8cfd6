"""Whatever a test does in between, checkpoints and crashes change nothing that it sees."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream import Context, KeyedProcess, Pipeline, ValueState
from actorstream.testing.harness import harness

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream import Timer


START = datetime(2026, 1, 1, tzinfo=UTC)

SENDS = st.tuples(st.sampled_from(["left", "right"]), st.integers(0, 4), st.integers(1, 60))
WATERMARKS = st.tuples(st.just("watermark"), st.integers(1, 10))
CLOCKS = st.tuples(st.just("clock"), st.integers(1, 60))
QUIET = st.sampled_from([("checkpoint",), ("crash",), ("look",)])
STEPS = st.lists(st.one_of(SENDS, WATERMARKS, CLOCKS, QUIET), max_size=14)


class Sessions(KeyedProcess[int, tuple[int, int], tuple[int, int, str]]):
    """Counts a key's records; a timer of event time tells how many and starts over."""

    seen: ValueState[int] = ValueState(0)

    def on_element(self, element: tuple[int, int], ctx: Context[int]) -> Iterator[tuple[int, int, str]]:
        self.seen += 1
        ctx.set_timer(START + timedelta(seconds=element[1]))
        yield ctx.key, self.seen, "so far"

    def on_timer(self, timer: Timer, ctx: Context[int]) -> Iterator[tuple[int, int, str]]:
        yield ctx.key, self.seen, f"{timer.at:%M:%S}"
        ctx.clear()


class Job:
    def __init__(self) -> None:
        self.pipeline = Pipeline("sessions")
        self.left: list[tuple[int, int]] = []
        self.right: list[tuple[int, int]] = []
        both = self.pipeline.source(self.left).union(self.pipeline.source(self.right))
        self.sessions = both.key_by(lambda element: element[0]).process(Sessions)

    async def run(
        self,
        steps: Sequence[tuple[object, ...]],
        *,
        disturbed: bool,
        parallelism: int,
        batch: int,
        isolate: bool = False,
    ) -> list[tuple[int, int, str]]:
        """Give everything seen, in order; without checkpoints and crashes if undisturbed."""
        seen: list[tuple[int, int, str]] = []
        watermark = 0
        async with harness(self.pipeline, parallelism=parallelism, batch=batch, isolate=isolate) as h:
            for step in steps:
                match step:
                    case ("left" | "right" as side, int(key), int(at)):
                        source = self.left if side == "left" else self.right
                        await h.send(source, (key, at), (key + 1, at))
                    case ("watermark", int(seconds)):
                        watermark += seconds
                        await h.advance(watermark=START + timedelta(seconds=watermark))
                    case ("clock", int(seconds)):
                        await h.advance(clock=seconds)
                    case ("checkpoint",) if disturbed:
                        await h.checkpoint()
                    case ("crash",) if disturbed:
                        await h.crash_and_recover()
                    case ("look",):
                        seen += h.outputs(self.sessions)
                    case _:
                        pass
            await h.end_input()
            return seen + h.outputs(self.sessions)


@settings(max_examples=25, deadline=None)
@given(STEPS, st.sampled_from([1, 3]), st.sampled_from([1, 7, 1000]))
def test_checkpoints_and_crashes_change_nothing_that_a_test_sees(
    steps: list[tuple[object, ...]], parallelism: int, batch: int
) -> None:
    """T136 as well: the undisturbed run has other batches."""
    calm = asyncio.run(Job().run(steps, disturbed=False, parallelism=parallelism, batch=512))
    disturbed = asyncio.run(Job().run(steps, disturbed=True, parallelism=parallelism, batch=batch))

    assert by_key(disturbed) == by_key(calm)
    if parallelism == 1:
        assert disturbed == calm


@settings(max_examples=8, deadline=None)
@given(STEPS)
def test_isolation_changes_nothing_either(steps: list[tuple[object, ...]]) -> None:
    """Where all keep to the rules, each call's detour over a checkpoint leaves no trace."""
    calm = asyncio.run(Job().run(steps, disturbed=False, parallelism=1, batch=512))
    isolated = asyncio.run(Job().run(steps, disturbed=True, parallelism=1, batch=512, isolate=True))

    assert isolated == calm


def by_key(results: Sequence[tuple[int, int, str]]) -> dict[int, list[tuple[int, int, str]]]:
    return {key: [each for each in results if each[0] == key] for key in range(6)}
