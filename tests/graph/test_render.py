"""What people read before they trust a pipeline with data, word by word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.connectors.iterables import IterableSource
from actorstream.errors import PlanError
from actorstream.graph.chaining import plan_graph
from actorstream.graph.nodes import CallSpec, SinkSpec
from actorstream.graph.render import describe, function_name, sink_guarantee
from tests.graph.building import CALL, COUNT, KEYED, MAP, REBALANCE, SOURCE, WINDOW_JOIN, Building, reading

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from actorstream.graph.plan import Plan
    from actorstream.model.connect import SinkContext, SinkWriter


class Upload:
    """A sink."""

    def writer(self, ctx: SinkContext, /) -> AbstractAsyncContextManager[SinkWriter[object]]:
        """Not called: nothing runs here."""
        raise NotImplementedError


def example() -> Plan:
    building = (
        Building().add("orders", SOURCE, parallelism=2).add("socket", reading(IterableSource([]), "not replayable"))
    )
    building.add("parse", MAP, "orders", parallelism=2)
    building.add("views", COUNT, ("parse", KEYED), ("socket", KEYED), parallelism=3)
    building.add("alerts", SinkSpec(Upload()), "views", parallelism=3)
    building.add("audit", CallSpec(print, is_async=False), ("views", REBALANCE))
    building.add("debug", CallSpec(lambda _: None, is_async=False), "parse", parallelism=2)
    return plan_graph(building.graph, has_store=True)


TEXT = """\
pipeline test, max parallelism 128
durable: state and positions are in the store
replay: not possible: socket (IterableSource) gives its records once: write them to an EventLog, and read that

chain orders, 2 subtasks
  orders: source SequenceSource: replayable
    parse: map
      =keyed=> views
      debug: sink lambda: at least once

chain socket, 1 subtask
  socket: source IterableSource: not replayable: records in flight at a crash are lost
    =keyed=> views

chain views, 3 subtasks
  views: count
    =rebalance=> audit
    alerts: sink Upload: exactly once (transactional)

chain audit, 1 subtask
  audit: sink print: at least once
"""

MERMAID = """\
---
title: "test (not durable: no store, so state is gone when the process ends)"
---
flowchart LR
  subgraph c0["orders, 2 subtasks"]
    n0["orders<br>source SequenceSource<br>replayable"]
    n2["parse<br>map"]
    n6["debug<br>sink lambda<br>at least once"]
    n0 --> n2
    n2 --> n6
  end
  subgraph c1["socket, 1 subtask"]
    n1["socket<br>source IterableSource<br>not replayable: records in flight at a crash are lost"]
  end
  subgraph c3["views, 3 subtasks"]
    n3["views<br>count"]
    n4["alerts<br>sink Upload<br>exactly once (transactional)"]
    n3 --> n4
  end
  subgraph c5["audit, 1 subtask"]
    n5["audit<br>sink print<br>at least once"]
  end
  n2 == keyed ==> n3
  n1 == keyed ==> n3
  n3 == rebalance ==> n5
"""


def test_text_names_every_operator_partitioning_and_guarantee() -> None:
    """Golden: a change here is a change of what users are told."""
    assert describe(example(), store=True, format="text") == TEXT


def test_mermaid_says_the_same() -> None:
    """Golden, too: the drawing is pasted into Markdown pages."""
    assert describe(example(), store=False, format="mermaid") == MERMAID


def test_a_key_inside_a_chain_is_shown() -> None:
    """With one subtask each there is no exchange, but records still come by key."""
    graph = Building().add("in", SOURCE).add("n", COUNT, ("in", KEYED)).add("out", CALL, "n").graph
    plan = plan_graph(graph, has_store=True)

    assert "\n    n: count (keyed)\n" in describe(plan, store=True, format="text")
    assert "\n    n0 == keyed ==> n1\n" in describe(plan, store=True, format="mermaid")


def test_an_operator_with_two_inputs_in_its_chain_is_shown_at_both() -> None:
    """What follows it is shown once."""
    building = Building().add("in", SOURCE).add("a", MAP, "in").add("b", MAP, "in")
    plan = plan_graph(
        building.add("j", WINDOW_JOIN, ("a", KEYED), ("b", KEYED)).add("out", CALL, "j").graph, has_store=True
    )

    lines = [line.split(":")[0] for line in describe(plan, store=True, format="text").splitlines()]
    assert lines[-6:] == ["  in", "    a", "      j", "        out", "    b", "      j, as above"]
    drawn = describe(plan, store=True, format="mermaid")
    assert "\n    n1 == keyed ==> n3\n" in drawn
    assert "\n    n2 == keyed ==> n3\n" in drawn


def test_a_job_without_a_store_is_called_not_durable() -> None:
    """Where a newcomer forgets the store, this line must tell."""
    assert describe(example(), store=False).splitlines()[1].startswith("not durable: no store")
    assert describe(example(), store=None).splitlines()[1] == "not durable unless run with store=..."


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(PlanError, match="use 'text' or 'mermaid'"):
        describe(example(), store=True, format="svg")  # type: ignore[arg-type]


def test_what_mermaid_takes_for_markup_is_escaped() -> None:
    """A user may call a class or function anything."""
    hostile = type('A"]<b>c', (), {"__call__": lambda *_: None})()
    building = Building().add("s", SOURCE).add("out", CallSpec(hostile, is_async=False), "s")
    text = describe(plan_graph(building.graph, has_store=False), store=None, format="mermaid")
    assert 'n1["out<br>sink A&quot;]&lt;b&gt;c<br>at least once"]' in text


def test_a_chain_of_thousands_of_operators_can_be_drawn() -> None:
    """Generated pipelines are long; no recursion."""
    building = Building().add("m0", SOURCE)
    for n in range(1, 1_500):
        building.add(f"m{n}", MAP, f"m{n - 1}")
    assert len(describe(plan_graph(building.graph, has_store=False), store=None).splitlines()) == 1_505


def test_guarantees_of_sinks() -> None:
    assert sink_guarantee(SinkSpec(Upload())) == "exactly once"
    assert sink_guarantee(CallSpec(print, is_async=False)) == "at least once"


def test_functions_are_named_for_people() -> None:
    assert [function_name(fn) for fn in (print, lambda: None, Upload(), str.split)] == [
        "print",
        "lambda",
        "Upload",
        "split",
    ]
