"""Which operators share an actor, and that nothing is lost between the actors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import PlanError
from actorstream.graph.chaining import plan_graph
from actorstream.graph.nodes import AssignSpec, Forward, Keyed, NodeId, Rebalance, StatefulSpec
from tests.graph.building import (
    CALL,
    COUNT,
    FORWARD,
    INTERVAL_JOIN,
    KEYED,
    MAP,
    PROCESS,
    REBALANCE,
    SOURCE,
    WINDOW,
    WINDOW_JOIN,
    Building,
)

if TYPE_CHECKING:
    from actorstream.graph.nodes import Partitioning, Spec
    from actorstream.graph.plan import Plan


def plan(building: Building, parallelism: int = 1) -> Plan:
    return plan_graph(building.graph, parallelism=parallelism, has_store=False)


def chains(building: Building, parallelism: int = 1) -> dict[str, list[str]]:
    return {chain.name: [node.name for node in chain.nodes] for chain in plan(building, parallelism).chains}


def test_forward_edges_share_an_actor() -> None:
    building = Building().add("s", SOURCE).add("m", MAP, "s").add("out", CALL, "m")
    assert chains(building) == {"s": ["s", "m", "out"]}


@pytest.mark.parametrize("partitioning", [KEYED, REBALANCE])
def test_an_edge_that_distributes_starts_an_actor_and_what_follows_joins_it(partitioning: Partitioning) -> None:
    building = Building().add("s", SOURCE).add("x", MAP, ("s", partitioning)).add("out", CALL, "x")
    assert chains(building) == {"s": ["s"], "x": ["x", "out"]}
    (exchange,) = plan(building).chain_of[building.id_of("x")].inputs
    assert exchange.partitioning == partitioning


def test_new_chain_starts_an_actor() -> None:
    building = Building().add("s", SOURCE).add("m", MAP, "s", new_chain=True).add("out", CALL, "m")
    assert chains(building) == {"s": ["s"], "m": ["m", "out"]}
    assert plan(building).chains[1].inputs[0].partitioning == Forward()


def test_several_inputs_start_an_actor() -> None:
    """Barriers align at the head of an actor only."""
    building = Building().add("a", SOURCE).add("b", SOURCE).add("m", MAP, "a", "b").add("out", CALL, "m")
    assert chains(building) == {"a": ["a"], "b": ["b"], "m": ["m", "out"]}


def test_a_stream_joined_with_itself_gives_two_exchanges() -> None:
    """Each is a channel of its own: every record comes twice."""
    building = Building().add("s", SOURCE).add("m", MAP, "s", "s")
    sender, receiver = plan(building).chains
    assert [exchange.input for exchange in receiver.inputs] == [0, 1]
    assert sender.outputs == receiver.inputs


def test_another_parallelism_starts_an_actor_and_rebalances() -> None:
    building = Building().add("s", SOURCE, parallelism=1).add("m", MAP, "s").add("out", CALL, "m")
    assert chains(building, parallelism=2) == {"s": ["s"], "m": ["m", "out"]}
    assert plan(building, parallelism=2).chains[1].inputs[0].partitioning == Rebalance()
    assert plan(building, parallelism=2).chains[1].parallelism == 2


def test_a_stream_used_twice_feeds_two_children_of_one_actor() -> None:
    building = Building().add("s", SOURCE).add("a", MAP, "s").add("b", MAP, "s").add("c", MAP, "a")
    assert chains(building) == {"s": ["s", "a", "b", "c"]}
    (chain,) = plan(building).chains
    named = {source: [taker.name for taker, _ in takers] for source, takers in chain.feeds.items()}
    assert named == {0: ["a", "b"], 1: ["c"], 2: [], 3: []}


def inside(building: Building, parallelism: int = 1) -> dict[str, str | None]:
    """Say which operator keeps state in each chain; in brackets where its keys are made in the chain."""
    return {
        chain.name: None
        if chain.stateful is None
        else f"({chain.stateful.name})"
        if chain.keyed_inside
        else chain.stateful.name
        for chain in plan(building, parallelism).chains
    }


@pytest.mark.parametrize("spec", [COUNT, PROCESS])
def test_a_keyed_operator_joins_its_only_sender(spec: Spec) -> None:
    """From one subtask to one there is nothing to distribute, and a hop is a third of a plain sum."""
    building = Building().add("s", SOURCE).add("m", MAP, "s").add("n", spec, ("m", KEYED)).add("out", CALL, "n")
    assert chains(building) == {"s": ["s", "m", "n", "out"]}
    assert inside(building) == {"s": "(n)"}
    (chain,) = plan(building).chains
    assert (chain.inputs, chain.outputs) == ((), ())


def test_a_keyed_operator_of_several_subtasks_starts_an_actor() -> None:
    """Each key has an owner of its own."""
    building = Building().add("s", SOURCE).add("n", COUNT, ("s", KEYED)).add("out", CALL, "n")
    assert chains(building, 2) == {"s": ["s"], "n": ["n", "out"]}
    assert inside(building, 2) == {"s": None, "n": "n"}


@pytest.mark.parametrize(("sender", "receiver"), [(1, 2), (2, 1), (2, 2)])
def test_a_keyed_operator_joins_nothing_where_either_side_has_several_subtasks(sender: int, receiver: int) -> None:
    building = Building().add("s", SOURCE, parallelism=sender).add("n", COUNT, ("s", KEYED), parallelism=receiver)
    assert chains(building) == {"s": ["s"], "n": ["n"]}


def test_a_keyed_operator_with_new_chain_starts_an_actor() -> None:
    building = Building().add("s", SOURCE).add("n", COUNT, ("s", KEYED), new_chain=True)
    assert chains(building) == {"s": ["s"], "n": ["n"]}
    (exchange,) = plan(building).chains[1].inputs
    assert exchange.partitioning == KEYED


def test_a_keyed_operator_with_two_inputs_starts_an_actor() -> None:
    """Barriers align at the head of an actor only; also for one stream that comes twice."""
    building = Building().add("a", SOURCE).add("b", SOURCE).add("n", COUNT, ("a", KEYED), ("b", KEYED))
    assert chains(building) == {"a": ["a"], "b": ["b"], "n": ["n"]}
    twice = Building().add("a", SOURCE).add("n", COUNT, ("a", KEYED), ("a", KEYED))
    assert chains(twice) == {"a": ["a"], "n": ["n"]}


def timed_by(name: str, source: str) -> tuple[str, AssignSpec, str]:
    return name, AssignSpec(float, 0, None, None), source


def test_a_window_join_of_a_stream_with_itself_joins_its_actor() -> None:
    """Both inputs come out of one subtask, in which there is one watermark."""
    building = Building().add("s", SOURCE).add(*timed_by("t", "s")).add("a", MAP, "t").add("b", MAP, "t")
    building.add("j", WINDOW_JOIN, ("a", KEYED), ("b", KEYED)).add("out", CALL, "j")
    assert chains(building) == {"s": ["s", "t", "a", "b", "j", "out"]}
    assert inside(building) == {"s": "(j)"}
    (chain,) = plan(building).chains
    assert [(taker.name, edge.side) for node in (2, 3) for taker, edge in chain.feeds[NodeId(node)]] == [
        ("j", 0),
        ("j", 1),
    ]
    assert chains(building, 2) == {"s": ["s", "t", "a", "b"], "j": ["j", "out"]}


def test_a_union_of_a_stream_with_itself_joins_its_actor_before_a_window() -> None:
    building = Building().add("s", SOURCE).add(*timed_by("t", "s")).add("w", WINDOW, ("t", KEYED), ("t", KEYED))
    assert chains(building) == {"s": ["s", "t", "w"]}
    (chain,) = plan(building).chains
    assert [taker.name for taker, _ in chain.feeds[NodeId(1)]] == ["w", "w"]


def test_a_window_join_of_two_sources_starts_an_actor() -> None:
    building = Building().add("a", SOURCE).add(*timed_by("ta", "a")).add("b", SOURCE).add(*timed_by("tb", "b"))
    building.add("j", WINDOW_JOIN, ("ta", KEYED), ("tb", KEYED))
    assert chains(building) == {"a": ["a", "ta"], "b": ["b", "tb"], "j": ["j"]}


def test_a_window_join_whose_inputs_have_times_of_their_own_starts_an_actor() -> None:
    """It waits for the later one; inside a chain there would be one watermark for both."""
    building = Building().add("s", SOURCE).add(*timed_by("t", "s")).add(*timed_by("u", "s"))
    building.add("j", WINDOW_JOIN, ("t", KEYED), ("u", KEYED))
    assert chains(building) == {"s": ["s", "t", "u"], "j": ["j"]}
    again = Building().add("s", SOURCE).add(*timed_by("t", "s")).add("a", MAP, "t").add(*timed_by("u", "a"))
    again.add("j", WINDOW_JOIN, ("a", KEYED), ("u", KEYED))
    assert chains(again) == {"s": ["s", "t", "a", "u"], "j": ["j"]}


def test_two_inputs_join_nothing_where_rows_are_fetched_before_the_records() -> None:
    """The chain would be cut at two keys, and the order of the two inputs lost."""
    building = Building().add("s", SOURCE).add(*timed_by("t", "s"))
    building.add("j", INTERVAL_JOIN, ("t", KEYED), ("t", KEYED))
    assert chains(building) == {"s": ["s", "t"], "j": ["j"]}


def test_a_window_join_behind_an_operator_with_state_starts_an_actor() -> None:
    building = Building().add("s", SOURCE).add(*timed_by("t", "s")).add("n", COUNT, ("t", KEYED)).add("m", MAP, "n")
    building.add("j", WINDOW_JOIN, ("m", KEYED), ("n", KEYED))
    assert chains(building) == {"s": ["s", "t", "n", "m"], "j": ["j"]}


def test_a_second_operator_with_state_starts_an_actor() -> None:
    """A snapshot is of one operator's state; what follows the second joins that one."""
    building = Building().add("s", SOURCE).add("n", COUNT, ("s", KEYED)).add("m", MAP, "n")
    building.add("again", COUNT, ("m", KEYED)).add("out", CALL, "again")
    assert chains(building) == {"s": ["s", "n", "m"], "again": ["again", "out"]}
    assert inside(building) == {"s": "(n)", "again": "again"}


def test_a_third_operator_with_state_does_not_join_the_second() -> None:
    building = Building().add("s", SOURCE).add("n", COUNT, ("s", KEYED))
    building.add("second", COUNT, ("n", KEYED)).add("third", COUNT, ("second", KEYED))
    assert chains(building) == {"s": ["s", "n"], "second": ["second"], "third": ["third"]}


def test_of_two_keyed_operators_behind_one_stream_the_first_joins() -> None:
    """Which one depends on the order of the pipeline's lines only."""
    building = Building().add("s", SOURCE).add("a", COUNT, ("s", KEYED)).add("b", COUNT, ("s", KEYED))
    building.add("after", MAP, "b")
    assert chains(building) == {"s": ["s", "a"], "b": ["b", "after"]}
    assert inside(building) == {"s": "(a)", "b": "b"}


def test_operators_with_state_behind_two_actors_each_join_their_own() -> None:
    building = Building().add("s", SOURCE).add("t", MAP, ("s", REBALANCE))
    building.add("a", COUNT, ("t", KEYED)).add("b", COUNT, ("s", KEYED))
    assert chains(building) == {"s": ["s", "b"], "t": ["t", "a"]}


def test_a_map_behind_a_keyed_edge_starts_an_actor() -> None:
    """It is the state that may join: a chain whose head is made for keys keeps them apart from the records."""
    building = Building().add("s", SOURCE).add("m", MAP, ("s", KEYED))
    assert chains(building) == {"s": ["s"], "m": ["m"]}


def test_an_actor_in_the_middle_of_which_something_leaves_has_that_output() -> None:
    building = Building().add("s", SOURCE).add("m", MAP, "s")
    building.add("n", COUNT, ("m", KEYED), new_chain=True).add("out", CALL, "m")
    first, second = plan(building).chains
    assert [node.name for node in first.nodes] == ["s", "m", "out"]
    assert [(exchange.sender, exchange.receiver) for exchange in first.outputs] == [(1, 2)]
    assert first.outputs == second.inputs


def test_timestamps_are_carried_to_a_process_and_no_further() -> None:
    """A list of timestamps nobody asks for is a cost on every batch."""
    building = Building().add("s", SOURCE).add("t", SOURCE).add("m", MAP, ("s", REBALANCE))
    building.add("p", PROCESS, ("m", KEYED)).add("after", COUNT, ("p", KEYED)).add("n", COUNT, ("t", KEYED))
    needs = {chain.name: chain.needs_timestamps for chain in plan(building, 2).chains}
    assert needs == {"s": True, "m": True, "p": True, "after": False, "t": False, "n": False}
    joined = {chain.name: chain.needs_timestamps for chain in plan(building).chains}
    assert joined == {"s": True, "m": True, "after": False, "t": False}


def test_channels_are_numbered_input_by_input() -> None:
    """Sender and receiver must agree on the number, or a barrier is counted for the wrong channel."""
    building = Building().add("a", SOURCE, parallelism=3).add("b", SOURCE, parallelism=2)
    building.add("n", COUNT, ("a", KEYED), ("b", KEYED), parallelism=2)
    building.add("m", MAP, "n", "b", "a", parallelism=2)
    the_plan = plan(building)
    n, m = (the_plan.chain_of[building.id_of(name)] for name in "nm")
    assert [the_plan.channel(n, n.inputs[0], i) for i in range(3)] == [0, 1, 2]
    assert [the_plan.channel(n, n.inputs[1], i) for i in range(2)] == [3, 4]
    forward, equal, unequal = m.inputs
    assert [the_plan.channel(m, forward, i) for i in range(2)] == [0, 0]
    assert [the_plan.channel(m, equal, i) for i in range(2)] == [1, 1]
    assert [the_plan.channel(m, unequal, i) for i in range(3)] == [2, 3, 4]


def test_the_checks_come_first() -> None:
    with pytest.raises(PlanError, match="nothing is read"):
        plan(Building())


LOOSE: list[Partitioning] = [FORWARD, FORWARD, REBALANCE]


@st.composite
def buildings(draw: st.DrawFn) -> Building:
    """Any graph that the checks accept: sources, maps with one to three inputs, counts, windows, joins."""
    specs: dict[str, Spec] = {"source": SOURCE, "map": MAP, "count": COUNT, "process": PROCESS}
    specs |= {"times": AssignSpec(float, 0, None, None), "window": WINDOW, "join": WINDOW_JOIN}
    many = ["map", "map", "map", "count", "process", "window"]
    building = Building().add("n0", SOURCE)
    for number in range(1, draw(st.integers(1, 14))):
        names = [f"n{index}" for index in range(number)]
        count = draw(st.integers(0, 3))
        kinds = ["source"] if not count else [*many, "times"] if count == 1 else [*many, "join", "join"]
        kind = draw(st.sampled_from(kinds))
        edges: list[tuple[str, Partitioning]] = []
        for _ in range(count):
            loose = draw(st.sampled_from(LOOSE))
            edges.append((draw(st.sampled_from(names)), loose if kind in {"map", "times"} else KEYED))
        building.add(
            f"n{number}",
            specs[kind],
            *edges,
            parallelism=draw(st.sampled_from([None, None, 1, 2, 3])),
            new_chain=draw(st.booleans()) and draw(st.booleans()),
        )
    return building


@given(buildings(), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_every_edge_is_either_inside_an_actor_or_between_two(building: Building, parallelism: int) -> None:
    """Whatever the graph: no edge is lost or doubled, every actor is a tree with the state of one operator at most.

    Senders come before receivers.
    """
    the_plan = plan(building, parallelism)
    place = {chain.name: index for index, chain in enumerate(the_plan.chains)}
    inside, between = [], []
    for chain in the_plan.chains:
        assert chain.head.id == min(node.id for node in chain.nodes)
        reached = {chain.head.id}
        for node in chain.nodes:
            assert the_plan.chain_of[node.id] is chain
            assert (node.parallelism or parallelism) == chain.parallelism
            inside += [(node.id, taker.id) for taker, _ in chain.feeds[node.id]]
            reached |= {taker.id for taker, _ in chain.feeds[node.id]}
        assert sorted(reached) == [node.id for node in chain.nodes]
        for exchange in chain.outputs:
            receiver = the_plan.chain_of[exchange.receiver]
            assert the_plan.chain_of[exchange.sender] is chain
            assert exchange in receiver.inputs
            assert receiver.head.id == exchange.receiver
            assert place[chain.name] < place[receiver.name]
            if isinstance(exchange.partitioning, Forward):
                assert chain.parallelism == receiver.parallelism
            between.append((exchange.sender, exchange.receiver))
    edges = [(edge.source, node.id) for node in building.graph.nodes for edge in node.inputs]
    assert sorted(inside + between) == sorted(edges)
    for chain in the_plan.chains:
        stateful = [node for node in chain.nodes if isinstance(node.spec, StatefulSpec)]
        assert stateful == ([] if chain.stateful is None else [chain.stateful])
        keyed = {
            node.id for node in chain.nodes[1:] if any(isinstance(edge.partitioning, Keyed) for edge in node.inputs)
        }
        assert keyed == ({chain.stateful.id} if chain.stateful is not None and chain.keyed_inside else set())
        if keyed:
            assert chain.parallelism == 1


@given(buildings())
@settings(max_examples=50, deadline=None)
def test_channels_of_a_subtask_are_numbered_without_gap_or_overlap(building: Building) -> None:
    """As seen from one receiving subtask."""
    the_plan = plan(building)
    for chain in the_plan.chains:
        numbers: list[int] = []
        for exchange in chain.inputs:
            senders = (
                1 if isinstance(exchange.partitioning, Forward) else the_plan.chain_of[exchange.sender].parallelism
            )
            numbers += [the_plan.channel(chain, exchange, index) for index in range(senders)]
        assert numbers == list(range(len(numbers)))
