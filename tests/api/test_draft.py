"""The graph while it is written: what the user's words become, without running anything."""

from __future__ import annotations

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.errors import InvariantError, PlanError
from actorstream.graph.nodes import CountSpec, Edge, Forward, NodeId


def test_made_up_names_tell_kind_and_place() -> None:
    """The same program gives the same names in every process: checkpoints are found by them."""
    p = Pipeline("p")
    p.source([1]).map(str).flat_map(list).key_by(str).count().sink(print)
    assert [node.name for node in p.draft.nodes] == ["source-0", "map-1", "flat_map-2", "count-3", "sink-4"]
    assert not any(node.named for node in p.draft.nodes)


def test_what_the_user_says_is_kept() -> None:
    p = Pipeline("p", max_parallelism=64)
    p.source([1], name="in", parallelism=2).map(str, name="text", new_chain=True)
    source, text = p.draft.nodes
    assert (source.name, source.named, source.parallelism, source.new_chain) == ("in", True, 2, False)
    assert (text.name, text.named, text.parallelism, text.new_chain) == ("text", True, None, True)
    assert (p.draft.graph().name, p.draft.graph().max_parallelism) == ("p", 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parallel": 2}, "no option 'parallel': it knows name, new_chain, parallelism"),
        ({"name": 3}, "name is 3, expected a str"),
        ({"parallelism": 0}, "parallelism is 0, expected an int of at least 1"),
        ({"parallelism": True}, "parallelism is True"),
        ({"parallelism": "2"}, "parallelism is '2'"),
        ({"new_chain": "yes"}, "new_chain is 'yes', expected True or False"),
    ],
)
def test_a_misspelt_or_mistyped_option_is_refused_where_it_is_given(options: dict[str, object], message: str) -> None:
    """Ignoring it silently costs an evening."""
    with pytest.raises(PlanError, match=message) as caught:
        Pipeline("shop").source([1]).map(str, **options)  # type: ignore[call-overload]
    assert "map in pipeline 'shop'" in str(caught.value)


def test_a_graph_does_not_change_when_the_pipeline_grows() -> None:
    """A running job has the graph of its start."""
    p = Pipeline("p")
    stream = p.source([1])
    before = p.draft.graph()
    stream.map(str)
    assert len(before.nodes) == 1


def test_an_origin_is_the_inputs_of_whatever_comes_next() -> None:
    p = Pipeline("p")
    a, b = p.source([1]), p.source([2])
    assert a.union(b).origin.inputs == (Edge(NodeId(0), Forward()), Edge(NodeId(1), Forward()))
    assert isinstance(a.key_by(str).count().origin.node.spec, CountSpec)
    with pytest.raises(InvariantError):
        _ = a.union(b).origin.node
