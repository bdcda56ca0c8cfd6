"""Which operators records go round in, and that what could not be a loop is refused with a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actorstream.errors import PlanError
from actorstream.graph.chaining import plan_graph
from actorstream.graph.fingerprint import fingerprint
from actorstream.graph.loops import loops_of
from actorstream.graph.nodes import AssignSpec, Edge, Forward, LoopSpec, Rebalance
from actorstream.graph.render import describe
from tests.graph.building import CALL, COUNT, KEYED, MAP, PROCESS, SOURCE, WINDOW, Building, key

LOOP = LoopSpec()


def closed(building: Building, head: str, *back: str) -> Building:
    """Lead edges back from operators to the head of a loop."""
    nodes = building.graph.nodes
    index = building.id_of(head)
    nodes[index] = replace(nodes[index], back=tuple(Edge(building.id_of(name), Forward()) for name in back))
    return building


def simple() -> Building:
    """One loop: less goes back, and is also written."""
    building = Building().add("s", SOURCE).add("loop", LOOP, "s").add("less", MAP, "loop").add("out", CALL, "less")
    return closed(building, "loop", "less")


def members(building: Building) -> dict[str, set[str]]:
    names = {node.id: node.name for node in building.graph.nodes}
    return {names[head]: {names[each] for each in inside} for head, inside in loops_of(building.graph).items()}


def test_members_are_on_a_way_back_to_the_head() -> None:
    assert members(simple()) == {"loop": {"loop", "less"}}


def test_what_enters_in_the_middle_is_no_member() -> None:
    building = Building().add("s", SOURCE).add("t", SOURCE).add("loop", LOOP, "s").add("both", MAP, "loop", "t")
    assert members(closed(building, "loop", "both")) == {"loop": {"loop", "both"}}


def test_a_head_begins_an_actor_and_an_edge_back_never_joins() -> None:
    plan = plan_graph(simple().graph, has_store=False)
    assert [[node.name for node in chain.nodes] for chain in plan.chains] == [["s"], ["loop", "less", "out"]]
    head = plan.chains[1]
    (back,) = head.back
    assert (back.back, back.name, plan.chain_of[back.sender]) == (True, "loop:back0", head)
    assert back in head.outputs
    assert back not in head.inputs
    assert plan.channel(head, back, 0) == 1, "behind the regular ones"
    assert (plan.chains[0].loop, head.loop) == (None, "loop")


def test_an_edge_back_from_another_parallelism_is_spread() -> None:
    building = Building().add("s", SOURCE).add("loop", LOOP, "s").add("sum", COUNT, ("loop", KEYED), parallelism=3)
    plan = plan_graph(closed(building, "loop", "sum").graph, parallelism=2, has_store=False)
    (back,) = plan.chains[1].back
    assert back.partitioning == Rebalance()
    assert plan.channels_of(back) == 3


def test_a_loop_has_times_where_something_in_it_asks_for_them() -> None:
    building = Building().add("s", SOURCE).add("loop", LOOP, "s").add("p", PROCESS, ("loop", KEYED)).add("m", MAP, "p")
    plan = plan_graph(closed(building, "loop", "m").graph, parallelism=2, has_store=False)
    assert {chain.name: chain.needs_timestamps for chain in plan.chains} == {"s": True, "loop": True, "p": True}
    assert {exchange.name for chain in plan.chains for exchange in chain.outputs} == {"loop:0", "loop:back0", "p:0"}
    building = Building().add("s", SOURCE).add("loop", LOOP, "s").add("m", MAP, "loop")
    plan = plan_graph(closed(building, "loop", "m").graph, has_store=False)
    assert not any(chain.needs_timestamps for chain in plan.chains)


def test_a_loop_is_drawn_with_its_edge_back() -> None:
    plan = plan_graph(simple().graph, has_store=False)
    text = describe(plan, None)
    assert "=back, forward=> loop" in text
    assert "replay: not possible: loop is a loop" in text
    assert "n2 -. back, forward .-> n1" in describe(plan, None, "mermaid")


def test_an_edge_back_tells_two_graphs_apart() -> None:
    one = Building().add("s", SOURCE).add("loop", LOOP, "s").add("a", MAP, "loop").add("b", MAP, "a")
    other = Building().add("s", SOURCE).add("loop", LOOP, "s").add("a", MAP, "loop").add("b", MAP, "a")
    assert fingerprint(closed(one, "loop", "a").graph) != fingerprint(closed(other, "loop", "b").graph)


def refusal(building: Building) -> str:
    with pytest.raises(PlanError) as refused:
        plan_graph(building.graph, has_store=False)
    return str(refused.value)


def begun() -> Building:
    return Building().add("s", SOURCE).add("loop", LOOP, "s")


@pytest.mark.parametrize(
    ("building", "reason"),
    [
        (begun().add("m", MAP, "loop"), "loop 'loop': nothing goes back"),
        (closed(begun().add("m", MAP, "loop"), "loop", "loop"), "what goes back is what came in"),
        (
            closed(begun().add("m", MAP, "s"), "loop", "m"),
            "comes from 'm', which is not fed by what the body was given",
        ),
        (closed(begun().add("w", WINDOW, ("loop", KEYED)), "loop", "w"), "'w' is inside loop 'loop'"),
        (
            closed(begun().add("t", AssignSpec(key, 0, None, None), "loop"), "loop", "t"),
            "'t' gives records new times inside loop 'loop'",
        ),
        (
            closed(closed(begun().add("in", LOOP, "loop").add("m", MAP, "in"), "in", "m"), "loop", "m"),
            "loop 'in' is inside loop 'loop'",
        ),
    ],
    ids=["nothing back", "itself", "ignores", "window", "times", "nested"],
)
def test_what_is_no_loop_is_refused(building: Building, reason: str) -> None:
    assert reason in refusal(building)


def test_a_window_may_stand_where_records_leave() -> None:
    building = closed(begun().add("m", MAP, "loop").add("w", WINDOW, ("m", KEYED)), "loop", "m")
    plan_graph(building.graph, has_store=False)


def test_two_loops_may_follow_each_other_but_not_share_an_operator() -> None:
    building = begun().add("m", MAP, "loop").add("next", LOOP, "m").add("n", MAP, "next")
    plan_graph(closed(closed(building, "loop", "m"), "next", "n").graph, has_store=False)
    shared = Building().add("s", SOURCE).add("one", LOOP, "s").add("two", LOOP, "s").add("m", MAP, "one", "two")
    assert "'m' is in two loops, 'one' and 'two'" in refusal(closed(closed(shared, "one", "m"), "two", "m"))
