"""The workloads of `cost`: for each, a plain loop and a pipeline that do the same work.

Both sides call the same user functions for each record, and both end in
`out.append`. The plain loop is what one would write by hand: one pass, one dict,
everything bound to local names.

    q0  a map that passes on        wc  words of lines, a rolling count for each
    q1  currency conversion         kc  a running sum for each auction, emitted for each bid
    q2  a filter                    kc-ckpt  kc with a durable checkpoint every second
                                    kp  kc as a KeyedProcess with a ValueState

    sum-field    kc, key and price named by `itemgetter`: the plan may write `bid[0]` where the loop calls a function
    count-field  how many bids of each auction so far, key by `itemgetter`
    q3  a join of two kinds of events, with no bound in time    q7  the highest bid of each 10 s
    q5  the auctions with most bids in 10 s, every 2 s          q8  who registers and sells in the same 10 s
    q5-at-hand, q5-slices, q7-at-hand: the same pipelines beside cleverer loops (benchmarks/nexmark/answers.py)
    timer  a timer set, moved never, and fired for each bid

    wc-builtin   wc, words by `str.split`: nothing is left to write out, the loop calls no more functions than the plan
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from actorstream import KeyedProcess, Pipeline, ValueState
from benchmarks.nexmark import answers, queries
from benchmarks.nexmark.generator import DISORDER
from benchmarks.nexmark.steps import time_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream import Context, Stream, Timer
    from benchmarks.events import Bid, Events

Plain: TypeAlias = "Callable[[list[Any]], list[Any]]"
Connect: TypeAlias = "Callable[[Pipeline, list[Any], Callable[[Any], object]], None]"

EURO_IN_DOLLARS = 0.908
AUCTIONS_WATCHED = 4
ALARM_SECONDS = 1.0


# ---- the user functions, called by both sides


def pass_on(bid: Bid) -> Bid:
    """q0: give the bid."""
    return bid


def in_euro(bid: Bid) -> tuple[int, int, float, int]:
    """q1: convert the price."""
    return bid[0], bid[1], bid[2] * EURO_IN_DOLLARS, bid[3]


def is_watched(bid: Bid) -> bool:
    """q2: keep every fourth auction."""
    return bid[0] % AUCTIONS_WATCHED == 0


def words_of(line: str) -> list[str]:
    """wc: split a line."""
    return line.split()


def itself(word: str) -> str:
    """wc: the key of a word."""
    return word


def auction_of(bid: Bid) -> int:
    """kc, kp: the key of a bid."""
    return bid[0]


def add_price(total: int, bid: Bid) -> int:
    """kc: the fold."""
    return total + bid[2]


class RunningSum(KeyedProcess[int, "Bid", tuple[int, int]]):
    """kp: the same sum with state in an attribute."""

    total: ValueState[int] = ValueState(0)

    def on_element(self, bid: Bid, ctx: Context[int], /) -> list[tuple[int, int]]:
        """Add a bid to its auction."""
        self.total += bid[2]
        return [(ctx.key, self.total)]


def time_of_bid(bid: Bid) -> float:
    """timer: when a bid was made."""
    return bid[3] / 1_000_000


class Alarm(KeyedProcess[int, "Bid", tuple[float, int]]):
    """timer: say for each bid that a while is over since."""

    def on_element(self, bid: Bid, ctx: Context[int], /) -> None:
        """Set the alarm."""
        ctx.set_timer(time_of_bid(bid) + ALARM_SECONDS)

    def on_timer(self, timer: Timer, ctx: Context[int], /) -> list[tuple[float, int]]:
        """Say so."""
        return [(timer.at.timestamp(), ctx.key)]


# ---- the plain loops


def _plain_pass_on(bids: list[Bid]) -> list[Any]:
    out: list[Any] = []
    put, fn = out.append, pass_on
    for bid in bids:
        put(fn(bid))
    return out


def _plain_convert(bids: list[Bid]) -> list[Any]:
    out: list[Any] = []
    put, fn = out.append, in_euro
    for bid in bids:
        put(fn(bid))
    return out


def _plain_filter(bids: list[Bid]) -> list[Any]:
    out: list[Any] = []
    put, fn = out.append, is_watched
    for bid in bids:
        if fn(bid):
            put(bid)
    return out


def _plain_word_count(split: Callable[[str], list[str]], lines: list[str]) -> list[Any]:
    out: list[Any] = []
    put, key = out.append, itself
    counts: dict[str, int] = {}
    get = counts.get
    for line in lines:
        for word in split(line):
            k = key(word)
            counts[k] = count = get(k, 0) + 1
            put((k, count))
    return out


def _plain_running_sum(bids: list[Bid]) -> list[Any]:
    out: list[Any] = []
    put, key, add = out.append, auction_of, add_price
    totals: dict[int, int] = {}
    get = totals.get
    for bid in bids:
        k = key(bid)
        totals[k] = total = add(get(k, 0), bid)
        put((k, total))
    return out


def _plain_count(bids: list[Bid]) -> list[Any]:
    out: list[Any] = []
    put, key = out.append, auction_of
    counts: dict[int, int] = {}
    get = counts.get
    for bid in bids:
        k = key(bid)
        counts[k] = count = get(k, 0) + 1
        put((k, count))
    return out


def _plain_timers(bids: list[Bid]) -> list[Any]:
    out: list[Any] = []
    put, time = out.append, time_of_bid
    waiting: list[tuple[float, int]] = []
    for bid in bids:
        at = time(bid)
        while waiting and waiting[0][0] < at:
            put(heappop(waiting))
        heappush(waiting, (at + ALARM_SECONDS, bid[3]))
    while waiting:
        put(heappop(waiting))
    return out


# ---- the pipelines


def _pass_on(pipeline: Pipeline, bids: list[Any], put: Callable[[Any], object]) -> None:
    pipeline.source(bids).map(pass_on).sink(put)


def _convert(pipeline: Pipeline, bids: list[Any], put: Callable[[Any], object]) -> None:
    pipeline.source(bids).map(in_euro).sink(put)


def _filter(pipeline: Pipeline, bids: list[Any], put: Callable[[Any], object]) -> None:
    pipeline.source(bids).filter(is_watched).sink(put)


def _word_count(pipeline: Pipeline, lines: list[Any], put: Callable[[Any], object]) -> None:
    pipeline.source(lines).flat_map(words_of).key_by(itself).count(name="words").sink(put)


def _running_sum(pipeline: Pipeline, bids: list[Any], put: Callable[[Any], object]) -> None:
    pipeline.source(bids, name="bids").key_by(auction_of).fold(0, add_price, name="totals").sink(put, name="out")


def _running_sum_process(pipeline: Pipeline, bids: list[Any], put: Callable[[Any], object]) -> None:
    pipeline.source(bids).key_by(auction_of).process(RunningSum).sink(put)


def _word_count_builtin(pipeline: Pipeline, lines: list[Any], put: Callable[[Any], object]) -> None:
    pipeline.source(lines).flat_map(str.split).key_by(itself).count(name="words").sink(put)


def _sum_by_field(pipeline: Pipeline, bids: list[Any], put: Callable[[Any], object]) -> None:
    pipeline.source(bids).key_by(itemgetter(0)).sum(itemgetter(2), name="totals").sink(put)


def _count_by_field(pipeline: Pipeline, bids: list[Any], put: Callable[[Any], object]) -> None:
    pipeline.source(bids).key_by(itemgetter(0)).count(name="counts").sink(put)


def _timers(pipeline: Pipeline, bids: list[Any], put: Callable[[Any], object]) -> None:
    pipeline.source(bids).assign_timestamps(time_of_bid).key_by(itemgetter(3)).process(Alarm).sink(put)


def _join(pipeline: Pipeline, events: list[Any], put: Callable[[Any], object]) -> None:
    queries.q3(pipeline.source(events)).sink(put)


def _nexmark(query: Callable[[Stream[Any]], Stream[Any]]) -> Connect:
    def connect(pipeline: Pipeline, events: list[Any], put: Callable[[Any], object]) -> None:
        query(pipeline.source(events).assign_timestamps(time_of, out_of_orderness=DISORDER)).sink(put)

    return connect


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing to measure.

    Attributes:
        name: As given to `--only`.
        input: Which of the events it reads.
        plain: Does the work by hand, and gives the output.
        connect: Does it as a pipeline, which gives each record to the function.
        goal: The ratio to the plain loop that we aim at.
        durable_seconds: Checkpoint interval with a store on disk; None: no store, and the final checkpoint only.
    """

    name: str
    input: Callable[[Events], list[Any]]
    plain: Plain
    connect: Connect
    goal: float
    durable_seconds: float | None = None


def _bids_of(events: Events) -> list[Any]:
    return events.bids


def _lines_of(events: Events) -> list[Any]:
    return events.lines


def _nexmark_of(events: Events) -> list[Any]:
    return events.nexmark


WORKLOADS = (
    Workload("q0", _bids_of, _plain_pass_on, _pass_on, 0.85),
    Workload("q1", _bids_of, _plain_convert, _convert, 0.85),
    Workload("q2", _bids_of, _plain_filter, _filter, 0.85),
    Workload("wc", _lines_of, partial(_plain_word_count, words_of), _word_count, 0.70),
    Workload("kc", _bids_of, _plain_running_sum, _running_sum, 0.80),
    Workload("kc-ckpt", _bids_of, _plain_running_sum, _running_sum, 0.70, durable_seconds=1.0),
    Workload("kp", _bids_of, _plain_running_sum, _running_sum_process, 0.60),
    Workload("sum-field", _bids_of, _plain_running_sum, _sum_by_field, 1.00),
    Workload("count-field", _bids_of, _plain_count, _count_by_field, 1.00),
    Workload("q3", _nexmark_of, answers.q3, _join, 0.50),
    Workload("q5", _nexmark_of, answers.q5, _nexmark(queries.q5), 1.00),
    Workload("q5-at-hand", _nexmark_of, answers.q5_with_windows_at_hand, _nexmark(queries.q5), 1.00),
    Workload("q5-slices", _nexmark_of, answers.q5_by_slices, _nexmark(queries.q5), 1.00),
    Workload("q7", _nexmark_of, answers.q7, _nexmark(queries.q7), 0.90),
    Workload("q7-at-hand", _nexmark_of, answers.q7_with_the_window_at_hand, _nexmark(queries.q7), 0.90),
    Workload("q8", _nexmark_of, answers.q8, _nexmark(queries.q8), 0.70),
    Workload("timer", _bids_of, _plain_timers, _timers, 0.09),
    Workload("wc-builtin", _lines_of, partial(_plain_word_count, str.split), _word_count_builtin, 0.70),
)
