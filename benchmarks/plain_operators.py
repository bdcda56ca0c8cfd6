"""The loops beside which `operators` measures: what one would write by hand, everything bound to local names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.events import Bid

CENTS_CHEAP = 50_000


# ---- the functions, called by both sides


def price(bid: Bid) -> int:
    """Give the number."""
    return bid[2]


def auction(bid: Bid) -> int:
    """Give the key."""
    return bid[0]


def bidder_of(bid: Bid) -> int:
    """Give who it was."""
    return bid[1]


def is_cheap(bid: Bid) -> bool:
    """Keep half of them."""
    return bid[2] < CENTS_CHEAP


def pair_of(bid: Bid) -> tuple[Bid, Bid]:
    """Make two of one."""
    return bid, bid


def look(bid: Bid) -> None:
    """Do nothing with it."""


def turn(bid: Bid, subtasks: int) -> int:
    """Choose one of them."""
    return bid[0] % subtasks


def larger(left: int, right: int) -> int:
    """Give one of two."""
    return left if left >= right else right


def plus_price(total: int, bid: Bid) -> int:
    """Add."""
    return total + bid[2]


class Mean:
    """An average."""

    def create(self) -> tuple[int, int]:
        """Begin."""
        return 0, 0

    def add(self, accumulator: tuple[int, int], value: int, /) -> tuple[int, int]:
        """Add one."""
        return accumulator[0] + value, accumulator[1] + 1

    def merge(self, left: tuple[int, int], right: tuple[int, int], /) -> tuple[int, int]:
        """Add two."""
        return left[0] + right[0], left[1] + right[1]

    def result(self, accumulator: tuple[int, int], /) -> float:
        """Divide."""
        return accumulator[0] / accumulator[1]


# ---- the loops


def _nothing(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put = out.append
    for bid in bids:
        put(bid)
    return out


def _map(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put, fn = out.append, price
    for bid in bids:
        put(fn(bid))
    return out


def _filter(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put, fn = out.append, is_cheap
    for bid in bids:
        if fn(bid):
            put(bid)
    return out


def _flat_map(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put, fn = out.append, pair_of
    for bid in bids:
        for each in fn(bid):
            put(each)
    return out


def _inspect(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put, fn = out.append, look
    for bid in bids:
        fn(bid)
        put(bid)
    return out


def _folding(
    value_of: Callable[[Any, Bid], Any],
    absent: int | None,
    *,
    bare: bool = False,
) -> Callable[[list[Any]], list[Any]]:
    """Make the loop of an operator that calls one function of value and record, as the user's function is called."""

    def loop(bids: list[Any]) -> list[Any]:
        out: list[Any] = []
        put, key, fn = out.append, auction, value_of
        values: dict[int, Any] = {}
        get = values.get
        for bid in bids:
            k = key(bid)
            values[k] = value = fn(get(k, absent), bid)
            put(value if bare else (k, value))
        return out

    return loop


def _count(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put, key = out.append, auction
    counts: dict[int, int] = {}
    get = counts.get
    for bid in bids:
        k = key(bid)
        counts[k] = count = get(k, 0) + 1
        put((k, count))
    return out


def _sum(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put, key, fn = out.append, auction, price
    totals: dict[int, int] = {}
    get = totals.get
    for bid in bids:
        k = key(bid)
        totals[k] = total = get(k, 0) + fn(bid)
        put((k, total))
    return out


def _min(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put, key, fn = out.append, auction, price
    least: dict[int, int] = {}
    get = least.get
    for bid in bids:
        k, number = key(bid), fn(bid)
        held = get(k)
        if held is None or number < held:
            least[k] = held = number
        put((k, held))
    return out


def _max_by(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put, key, fn = out.append, auction, price
    best: dict[int, Bid] = {}
    get = best.get
    for bid in bids:
        k = key(bid)
        held = get(k)
        if held is None or fn(bid) > fn(held):
            best[k] = held = bid
        put((k, held))
    return out


def _top_n(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put, key, fn = out.append, auction, price
    best: dict[int, list[Bid]] = {}
    for bid in bids:
        k = key(bid)
        held = best.setdefault(k, [])
        if len(held) == 3 and fn(bid) <= fn(held[2]):
            continue
        held.append(bid)
        held.sort(key=fn, reverse=True)
        del held[3:]
        put((k, tuple(held)))
    return out


def _reduce(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put, key, fn = out.append, auction, max
    best: dict[int, Bid] = {}
    get = best.get
    for bid in bids:
        k = key(bid)
        held = get(k)
        best[k] = held = bid if held is None else fn(held, bid)
        put((k, held))
    return out


def _map_with_state(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put, key = out.append, auction
    totals: dict[int, int] = {}
    get = totals.get
    for bid in bids:
        k = key(bid)
        total = get(k, 0)
        totals[k] = plus_price(total, bid)
        put(total)
    return out


def _distinct(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put, key = out.append, auction
    seen: set[int] = set()
    for bid in bids:
        k = key(bid)
        if k not in seen:
            seen.add(k)
            put(bid)
    return out


def _mean(bids: list[Any]) -> list[Any]:
    out: list[Any] = []
    put, key, mean = out.append, auction, Mean()
    held: dict[int, tuple[int, int]] = {}
    for bid in bids:
        k = key(bid)
        held[k] = new = mean.add(held[k] if k in held else mean.create(), bid[2])
        put(mean.result(new))
    return out


LOOPS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "(nothing)": _nothing,
    "map": _map,
    "filter": _filter,
    "flat_map": _flat_map,
    "inspect": _inspect,
    "throttle": _nothing,
    "process": _nothing,
    "rebalance": _map,
    "partition_by": _map,
    "count": _count,
    "sum": _sum,
    "min": _min,
    "max_by": _max_by,
    "top_n": _top_n,
    "reduce": _reduce,
    "fold": _folding(plus_price, 0),
    "latest": _folding(lambda _, bid: bidder_of(bid), None),
    "map_with_state": _map_with_state,
    "distinct": _distinct,
    "ValueState": _folding(plus_price, 0, bare=True),
    "ReducingState": _folding(lambda held, bid: bid[2] if held is None else larger(held, bid[2]), None, bare=True),
    "AggregatingState": _mean,
}
