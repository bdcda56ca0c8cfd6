"""Orders and payments: each is in one pair, or alone on its side output, whichever came first and whatever crashed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from actorstream import EventLog, Pipeline
from actorstream.testing import simulate
from tests.examples.loading import EXAMPLES, load, run_page

if TYPE_CHECKING:
    import pytest

EXAMPLE = load("matching", "matching")


def drawn() -> tuple[list[Any], list[Any]]:
    """Give orders and payments of an afternoon: in time, too late, twice, of nobody, and before their order."""
    rng = random.Random(3)
    orders = [EXAMPLE.Order(f"o{n}", EXAMPLE.at(4 * n)) for n in range(20)]
    minutes = [(4 * n + rng.choice((-35, -20, 3, 25, 30, 31, 60)), f"o{n}") for n in (*range(25), *range(0, 20, 5))]
    times = sorted(minutes, key=lambda each: each[0])
    return orders, [EXAMPLE.Payment(f"p{n}", order, EXAMPLE.at(minute)) for n, (minute, order) in enumerate(times)]


ORDERS, PAYMENTS = drawn()


def matching() -> Pipeline:
    pipeline = Pipeline("matching")
    pairs = EXAMPLE.matched(pipeline.source(ORDERS, name="orders"), pipeline.source(PAYMENTS, name="payments"))
    rows = pairs.map(lambda pair: f"{pair[0].id} {pair[1].id}")
    unpaid = pairs.side_output(EXAMPLE.UNPAID).map(lambda order: f"{order.id} unpaid")
    unknown = pairs.side_output(EXAMPLE.UNKNOWN).map(lambda payment: f"{payment.id} unknown")
    rows.union(unpaid, unknown).sink(EventLog(str, "rows"), name="rows")
    return pipeline


def by_hand() -> list[str]:
    alone, rows = list(PAYMENTS), []
    for order in ORDERS:
        near = [each for each in alone if each.order == order.id and abs(each.at - order.at) <= EXAMPLE.PATIENCE]
        if near:
            alone.remove(near[0])
            rows.append(f"{order.id} {near[0].id}")
        else:
            rows.append(f"{order.id} unpaid")
    return rows + [f"{payment.id} unknown" for payment in alone]


def test_each_half_has_the_same_fate_whatever_crashes() -> None:
    rows = by_hand()
    for kind in ("o0 p", "unpaid", "unknown"):
        assert any(kind in row for row in rows), kind
    simulate(matching, seeds=10, reference=by_hand).check()


def test_the_page_shows_what_the_program_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES / "matching")
    run_page("matching")
