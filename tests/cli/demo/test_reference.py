"""The plain loop itself, by hand: if it were wrong, the demo would prove nothing."""

from __future__ import annotations

import ast
import inspect
from itertools import islice

from actorstream.cli.demo import reference
from actorstream.cli.demo.load import payment_lines
from actorstream.cli.demo.reference import fold


def test_totals_count_and_sum_by_card() -> None:
    expected = fold(["0,a,100,DE,0", "1,b,50,DE,40", "2,a,7,FR,80"])
    assert expected.totals == [("a", 1, 100), ("b", 1, 50), ("a", 2, 107)]
    assert expected.alerts == []


def test_a_large_payment_from_a_new_country_in_haste_scores_100() -> None:
    """Three payments make a card's habits; before that nothing is unusual."""
    usual = [f"{n},a,800,DE,{n * 1000}" for n in range(3)]
    assert fold([*usual, "3,a,9000,FR,2499"]).alerts == [(3, "a", 100, "amount country haste")]
    assert fold([*usual, "3,a,9000,FR,2500"]).alerts == [(3, "a", 80, "amount country")]
    assert fold([*usual, "3,a,9000,DE,2499"]).alerts == [(3, "a", 70, "amount haste")]
    assert fold([*usual, "3,a,9000,DE,2500"]).alerts == []
    assert fold([*usual[:2], "2,a,9000,FR,2000"]).alerts == []


def test_it_shares_no_code_with_the_pipeline() -> None:
    """Two programs that share a function share its mistakes."""
    tree = ast.parse(inspect.getsource(reference))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))
    assert imported == {"__future__", "typing", "collections.abc"}


def test_the_demo_has_alerts_of_every_kind() -> None:
    """A load without alerts would leave half of the pipeline unproved."""
    expected = fold(islice(payment_lines(1), 40_000))
    assert {alert[3] for alert in expected.alerts} == {"amount country", "amount haste", "amount country haste"}
    assert 100 < len(expected.alerts) < 1_000
