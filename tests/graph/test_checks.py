"""What a graph must not be, and what its author is told."""

from __future__ import annotations

import pytest

from actorstream.errors import PlanError
from actorstream.graph.checks import check_graph
from tests.graph.building import CALL, COUNT, KEYED, MAP, PROCESS, REBALANCE, SOURCE, Building


def refusal(building: Building, *, parallelism: int = 1, has_store: bool = False) -> str:
    with pytest.raises(PlanError) as caught:
        check_graph(building.graph, parallelism=parallelism, has_store=has_store)
    return str(caught.value)


def accept(building: Building, *, parallelism: int = 1, has_store: bool = False) -> None:
    check_graph(building.graph, parallelism=parallelism, has_store=has_store)


def test_an_empty_pipeline_is_refused() -> None:
    """Otherwise a job that does nothing ends at once and looks like a success."""
    assert refusal(Building()) == "pipeline 'test': nothing is read: add a source with pipeline.source(...)"


def test_a_source_that_leads_nowhere_is_fine() -> None:
    """It is what is left while one tries things out; reading it harms nobody."""
    accept(Building().add("lines", SOURCE))


@pytest.mark.parametrize("name", ["a", "a.b-c_d", "9", "x" * 128])
def test_names_that_can_be_folders_are_accepted(name: str) -> None:
    accept(Building().add(name, SOURCE))


@pytest.mark.parametrize("name", ["", ".hidden", "..", "a/b", "a b", "a\n", "zähler", "x" * 129])
def test_names_that_cannot_be_folders_are_refused(name: str) -> None:
    """They become folders of a store and parts of keys: '../x' must never get so far."""
    message = refusal(Building().add(name, SOURCE))
    assert repr(name) in message
    assert "1 to 128 letters" in message


def test_a_bad_name_of_the_pipeline_is_refused() -> None:
    building = Building().add("lines", SOURCE)
    building.graph.name = "a/b"
    assert "the pipeline has the name 'a/b'" in refusal(building)


def test_two_operators_of_one_name_are_refused() -> None:
    """State is found by name: two would read each other's."""
    message = refusal(Building().add("x", SOURCE).add("x", COUNT, ("x", KEYED)))
    assert "two operators have the name 'x', a source and a count" in message
    assert "name=..." in message


def test_a_stateful_operator_needs_a_name_of_its_own_once_there_is_a_store() -> None:
    """A made-up name shifts when the program is edited, and the state is lost: Flink's most repeated regret."""
    building = Building().add("lines", SOURCE).add("count-1", COUNT, ("lines", KEYED), named=False)
    accept(building, has_store=False)
    assert "count 'count-1' keeps state but has no name" in refusal(building, has_store=True)


def test_what_keeps_no_state_needs_no_name() -> None:
    building = Building().add("source-0", SOURCE, named=False).add("sink-1", CALL, "source-0", named=False)
    accept(building, has_store=True)


@pytest.mark.parametrize("degree", [0, -1, 9])
def test_a_parallelism_outside_the_limits_is_refused(degree: int) -> None:
    """More subtasks than key groups would leave some without any."""
    building = Building(max_parallelism=8).add("lines", SOURCE, parallelism=degree)
    assert f"source 'lines' has parallelism {degree}: use 1 to 8" in refusal(building)
    assert f"the job has parallelism {degree}: use 1 to 8" in refusal(
        Building(max_parallelism=8).add("lines", SOURCE), parallelism=degree
    )


@pytest.mark.parametrize("highest", [0, -1, 32_769])
def test_a_max_parallelism_outside_the_limits_is_refused(highest: int) -> None:
    """A key group takes two bytes in every state key."""
    assert f"max_parallelism is {highest}: use 1 to 32768" in refusal(Building(highest).add("lines", SOURCE))


@pytest.mark.parametrize("highest", [1, 32_768])
def test_the_ends_of_max_parallelism_are_allowed(highest: int) -> None:
    accept(Building(highest).add("lines", SOURCE), parallelism=highest)


@pytest.mark.parametrize("spec", [COUNT, PROCESS])
def test_state_by_key_needs_keyed_inputs_all_of_them(spec: object) -> None:
    """One input without a key would put records into any subtask's state."""
    building = Building().add("a", SOURCE).add("b", SOURCE).add("x", spec, ("a", KEYED), ("b", REBALANCE))  # type: ignore[arg-type]
    assert "put key_by before it" in refusal(building)


def test_inputs_must_fit_the_operator() -> None:
    """Only the library can get these wrong; it must not find out when the job runs."""
    assert "does not come before it" in refusal(Building().add("a", SOURCE).add("x", MAP, "later"))
    assert "a sink gives nothing on" in refusal(Building().add("a", SOURCE).add("out", CALL, "a").add("x", MAP, "out"))
    assert "map 'x' has 0 inputs" in refusal(Building().add("a", SOURCE).add("x", MAP))
    assert "source 'b' has 1 inputs" in refusal(Building().add("a", SOURCE).add("b", SOURCE, "a"))


def test_everything_wrong_is_told_at_once() -> None:
    """Mending a pipeline one message at a time is slow."""
    building = Building().add("a b", SOURCE, parallelism=0).add("x", COUNT, ("a b", KEYED), named=False)
    message = refusal(building, has_store=True)
    assert message.startswith("pipeline 'test' has 3 problems:\n- ")
    assert message.count("\n- ") == 3
