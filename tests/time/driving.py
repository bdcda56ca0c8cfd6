"""Runs a pipeline of event time through what a plan says, on the harness, and gives all that came out.

    Send("left", 0, [...])   Watermark(40)   Clock(3)   Checkpoint()   Crash()

A `Manner` says how it is run: how records are cut into batches, how much is fired at once. Nothing that comes out may
depend on it.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from unittest.mock import patch

from hypothesis import strategies as st

from actorstream import Pipeline, WindowResult
from actorstream.runtime import piece_sizes
from actorstream.testing import harness
from tests.firing import fired_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actorstream import Stream
    from actorstream.testing.harness import Harness

SIDES = ("left", "right")
OUT_OF_ORDERNESS = 3


class Event(NamedTuple):
    """A record. `at` is its event time in seconds, `number` its place in the plan."""

    key: str
    value: int
    at: int
    number: int


class Send(NamedTuple):
    """Records come in from one split."""

    side: str
    split: int
    events: list[Event]


class Watermark(NamedTuple):
    """Every source says how far time has come."""

    at: int


class Clock(NamedTuple):
    """So many seconds pass."""

    seconds: int


class Checkpoint(NamedTuple):
    """One is taken."""


class Crash(NamedTuple):
    """The job dies and recovers."""


Step: TypeAlias = "Send | Watermark | Clock | Checkpoint | Crash"
Case: TypeAlias = "Callable[[Stream[Event], Stream[Event]], Mapping[str, Stream[Any]]]"
"""What a pipeline does with its two inputs, and the streams to look at."""


@dataclass(frozen=True)
class Manner:
    """How a plan is run.

    Attributes:
        batch: How many records travel together at most; 0: the seed draws it, for each send anew.
        fired: How many results one round of firing gives at most.
        piece: How many records of a batch the first piece has.
        parallelism: Of all operators, sources included.
        splits: How many each source has; 0: one for each subtask.
        unit: How many seconds the plan's numbers stand for.
    """

    batch: int = 512
    fired: int = 256
    piece: int = 16
    parallelism: int = 1
    seed: int = 0
    unit: float = 1.0
    splits: int = 0


def run(case: Case, steps: Sequence[Step], manner: Manner) -> dict[str, list[Any]]:
    """Give what each stream gave, in order."""
    return asyncio.run(run_async(case, steps, manner))


async def run_async(case: Case, steps: Sequence[Step], manner: Manner) -> dict[str, list[Any]]:
    """The same inside a loop."""
    pipeline = Pipeline("time", max_parallelism=8)
    inputs: dict[str, list[Event]] = {side: [] for side in SIDES}
    left, right = (
        pipeline.source(inputs[side], name=side).assign_timestamps(
            lambda event: event.at * manner.unit,
            out_of_orderness=OUT_OF_ORDERNESS * manner.unit,
            idle_timeout=None,
            name=f"time-of-{side}",
        )
        for side in SIDES
    )
    streams = case(left, right)
    rng = Random(manner.seed)
    with ExitStack() as stack:
        stack.enter_context(fired_at_once(manner.fired))
        stack.enter_context(patch.object(piece_sizes, "SLICE_RECORDS_FIRST", manner.piece))
        async with harness(
            pipeline,
            parallelism=manner.parallelism,
            splits=manner.splits or manner.parallelism,
            batch=manner.batch or 512,
        ) as h:
            for step in steps:
                await _do(h, step, inputs, manner, rng)
            await h.end_input()
            return {name: h.outputs(stream) for name, stream in streams.items()}


async def _do(h: Harness, step: Step, inputs: Mapping[str, list[Event]], manner: Manner, rng: Random) -> None:
    match step:
        case Send(side, split, events):
            left = list(events)
            while left:
                some = rng.randint(1, len(left)) if not manner.batch else len(left)
                await h.send(inputs[side], *left[:some], split=split % (manner.splits or manner.parallelism))
                del left[:some]
        case Watermark(at):
            await h.advance(watermark=at * manner.unit)
        case Clock(seconds):
            await h.advance(clock=seconds * manner.unit)
        case Checkpoint():
            await h.checkpoint()
        case Crash():
            await h.crash_and_recover()


def by_key(outputs: Mapping[str, list[Any]]) -> dict[str, dict[str, list[Any]]]:
    """Give each stream's results of each key: where there are several subtasks there is no other order."""
    sorted_out: dict[str, dict[str, list[Any]]] = {}
    for name, values in outputs.items():
        for value in values:
            sorted_out.setdefault(name, {}).setdefault(_key_of(value), []).append(value)
    return sorted_out


def _key_of(value: Any) -> str:
    match value:
        case Event() | WindowResult():
            return str(value.key)
        case tuple():
            return _key_of(next(each for each in value if each is not None))
        case _:
            return str(value)


# ---- plans


@st.composite
def plans(
    draw: st.DrawFn, *, disturbed: bool = False, sides: Sequence[str] = SIDES, clock: bool = True, splits: int = 3
) -> list[Step]:
    """Draw a plan: records out of order, some of them late, of few keys and times."""
    moves: list[st.SearchStrategy[Any]] = [
        st.tuples(st.just("send"), st.sampled_from(sides), st.integers(0, splits - 1), st.integers(0, 9))
    ] * 3
    moves.append(st.tuples(st.just("watermark"), st.integers(0, 12)))
    if clock:
        moves.append(st.tuples(st.just("clock"), st.integers(1, 12)))
    if disturbed:
        moves += [st.just(("checkpoint",)), st.just(("crash",))]
    drawn = draw(st.lists(st.one_of(moves), min_size=2, max_size=12))
    rng = Random(draw(st.integers(0, 1_000_000)))
    front, told, number = 20, 0, 0
    steps: list[Step] = []
    for move in drawn:
        match move:
            case ("send", str(side), int(split), int(count)):
                events = []
                for _ in range(count + 1):
                    at = max(0, front + rng.choice((-25, -9, -4, -3, -2, -1, 0, 0, 1, 1, 2, 5)))
                    front = max(front, at)
                    events.append(Event(rng.choice("aaabbc"), rng.randint(0, 11), at, number))
                    number += 1
                steps.append(Send(side, split, events))
            case ("watermark", int(ahead)):
                told = max(told, front - 6 + ahead)
                steps.append(Watermark(told))
            case ("clock", int(seconds)):
                steps.append(Clock(seconds))
            case ("checkpoint",):
                steps.append(Checkpoint())
            case _:
                steps.append(Crash())
    return steps
