"""What one record costs in each operator, in microseconds, beside a plain loop that does the same.

    source ──> operator ──> out.append          `python -m benchmarks operators`

The rules are those of `cost`: the same functions on both sides, all output compared. What a pipeline costs that does
nothing, `source.sink`, is the first line: of the other lines the operator's own part is what is above it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actorstream import AggregatingState, KeyedProcess, Process, ReducingState, ValueState
from benchmarks.cost import measure
from benchmarks.figures import tell
from benchmarks.machine import machine
from benchmarks.plain_operators import (
    LOOPS,
    Mean,
    auction,
    bidder_of,
    is_cheap,
    larger,
    look,
    pair_of,
    plus_price,
    price,
    turn,
)
from benchmarks.workloads import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorstream import Context, ElementContext, KeyedStream, Stream
    from benchmarks.events import Bid, Events
    from benchmarks.readings import Reading


class PassOn(Process["Bid", "Bid"]):
    """process: without key."""

    def on_element(self, bid: Bid, ctx: ElementContext, /) -> Iterable[Bid]:
        """Give it on."""
        return (bid,)


class Total(KeyedProcess[int, "Bid", int]):
    """ValueState."""

    total: ValueState[int] = ValueState(0)

    def on_element(self, bid: Bid, ctx: Context[int], /) -> Iterable[int]:
        """Add."""
        self.total += bid[2]
        return (self.total,)


class Highest(KeyedProcess[int, "Bid", int | None]):
    """ReducingState."""

    highest: ReducingState[int] = ReducingState(larger)

    def on_element(self, bid: Bid, ctx: Context[int], /) -> Iterable[int | None]:
        """Add."""
        self.highest.add(bid[2])
        return (self.highest.get(),)


class Average(KeyedProcess[int, "Bid", float | None]):
    """AggregatingState."""

    mean: AggregatingState[int, tuple[int, int], float] = AggregatingState(Mean())

    def on_element(self, bid: Bid, ctx: Context[int], /) -> Iterable[float | None]:
        """Add."""
        self.mean.add(bid[2])
        return (self.mean.get(),)


STATELESS: dict[str, Callable[[Stream[Any]], Stream[Any]]] = {
    "(nothing)": lambda s: s,
    "map": lambda s: s.map(price),
    "filter": lambda s: s.filter(is_cheap),
    "flat_map": lambda s: s.flat_map(pair_of),
    "inspect": lambda s: s.inspect(look),
    "throttle": lambda s: s.throttle(1e9),
    "process": lambda s: s.process(PassOn),
    "rebalance": lambda s: s.rebalance().map(price),
    "partition_by": lambda s: s.partition_by(turn).map(price),
}
KEYED: dict[str, Callable[[KeyedStream[Any, Any]], Stream[Any]]] = {
    "count": lambda k: k.count(),
    "sum": lambda k: k.sum(price),
    "min": lambda k: k.min(price),
    "max_by": lambda k: k.max_by(price),
    "top_n": lambda k: k.top_n(3, price),
    "reduce": lambda k: k.reduce(max),
    "fold": lambda k: k.fold(0, plus_price),
    "latest": lambda k: k.latest(bidder_of),
    "map_with_state": lambda k: k.map_with_state(0, lambda total, bid: (total + bid[2], total)),
    "distinct": lambda k: k.distinct(),
    "ValueState": lambda k: k.process(Total),
    "ReducingState": lambda k: k.process(Highest),
    "AggregatingState": lambda k: k.process(Average),
}


def _workload(name: str, connect: Callable[[Stream[Any]], Stream[Any]]) -> Workload:
    return Workload(name, _bids, LOOPS[name], lambda p, bids, put: connect(p.source(bids)).sink(put), 0.0)


def _keyed(operator: Callable[[KeyedStream[Any, Any]], Stream[Any]]) -> Callable[[Stream[Any]], Stream[Any]]:
    return lambda stream: operator(stream.key_by(auction))


def _bids(events: Events) -> list[Any]:
    return events.bids


OPERATORS = (
    *(_workload(name, connect) for name, connect in STATELESS.items()),
    *(_workload(name, _keyed(operator)) for name, operator in KEYED.items()),
)


def operators(
    *,
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds; take at least 5 for a figure to keep.")] = 5,
    events: Annotated[int, typer.Option(min=1, help="Records of each run.")] = 200_000,
    only: Annotated[list[str] | None, typer.Option(help="Measure this operator only; may be repeated.")] = None,
) -> None:
    """Measure what a record costs in each operator."""
    known = {each.name: each for each in OPERATORS}
    unknown = [name for name in only or () if name not in known]
    if unknown:
        raise typer.BadParameter(f"there is no operator {unknown[0]!r}: take one of {', '.join(known)}")
    chosen = [each for each in OPERATORS if not only or each.name in only]
    readings = measure(chosen, events=events, rounds=rounds, disk=Path.cwd(), tell=tell)
    tell("")
    typer.echo(as_lines(readings))
    typer.echo(f"\n{machine()}")


def as_lines(readings: Sequence[Reading]) -> str:
    """Give plain text, a line an operator: microseconds a record of ours and of the loop, and their ratio."""
    lines = [f"{'operator':<18}{'µs/record':>10}{'plain':>8}{'ratio':>8}{'min..max':>13}"]
    for reading in readings:
        ours, plain = (1e6 * each / reading.events for each in (reading.our_seconds, reading.plain_seconds))
        span = f"{reading.wall.min:.2f}..{reading.wall.max:.2f}"
        lines.append(f"{reading.workload:<18}{ours:>10.2f}{plain:>8.2f}{reading.wall.median:>8.2f}{span:>13}")
    return "\n".join([*lines, "", "ratio: plain loop's time / ours by the wall clock, median and spread"])
