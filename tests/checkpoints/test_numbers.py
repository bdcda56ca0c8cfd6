from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.checkpoints.numbers import NUMBER_MAX, Numbers
from actorstream.errors import PlanError

NAMES = st.sampled_from("abcd")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("operator"), NAMES, NAMES),
        st.tuples(st.just("state"), NAMES, NAMES),
        st.tuples(st.just("drop operator"), NAMES, NAMES),
        st.tuples(st.just("drop state"), NAMES, NAMES),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_a_number_never_stands_for_two_names(steps: list[tuple[str, str, str]]) -> None:
    """T81: old layers hold numbers only; one that came back would show another's state."""
    numbers = Numbers()
    operators: dict[int, tuple[str, int]] = {}
    states: dict[tuple[int, int], tuple[str, int]] = {}
    lives: dict[tuple[str, ...], int] = {}
    for step, operator, state in steps:
        if step == "operator":
            numbers, number = numbers.number_operator(operator)
            life = (operator, lives.get((operator,), 0))
            assert operators.setdefault(number, life) == life
        elif step == "state":
            numbers, inner = numbers.number_state(operator, state)
            key = (numbers.operators[operator], inner)
            life = (state, lives.get((operator, state), 0))
            assert states.setdefault(key, life) == life
        elif step == "drop operator":
            numbers = numbers.without_operator(operator)
            lives[operator,] = lives.get((operator,), 0) + 1
        else:
            numbers = numbers.without_state(operator, state)
            lives[operator, state] = lives.get((operator, state), 0) + 1
        assert numbers.problem() is None


def test_the_first_numbers_are_1_and_asking_again_changes_nothing() -> None:
    numbers, operator = Numbers().number_operator("views")
    numbers, state = numbers.number_state("views", "count")
    assert (operator, state) == (1, 1)
    assert numbers.number_operator("views") == (numbers, 1)
    assert numbers.number_state("views", "count") == (numbers, 1)


def test_growth_leaves_the_old_dictionary_as_it_was() -> None:
    """A manifest being written must not see what the next plan numbers."""
    before, _ = Numbers().number_state("views", "count")
    copy = replace(before, states={"views": dict(before.states["views"])})
    before.number_state("views", "last")
    before.without_operator("views")
    assert before == copy


def test_a_dropped_name_gets_a_fresh_number() -> None:
    numbers, _ = Numbers().number_state("views", "count")
    assert numbers.without_state("views", "count").number_state("views", "count")[1] == 2
    assert numbers.without_operator("views").number_operator("views")[1] == 2
    assert numbers.without_state("absent", "count") == numbers


def test_running_out_of_two_bytes_is_a_clear_error() -> None:
    with pytest.raises(PlanError, match=f"over {NUMBER_MAX}"):
        Numbers(next_operator=NUMBER_MAX + 1).number_operator("views")


@pytest.mark.parametrize(
    ("numbers", "problem"),
    [
        (Numbers({"a": 1, "b": 1}, {"a": {}, "b": {}}, 2, {"a": 1, "b": 1}), "two operators have one number"),
        (Numbers({"a": 2}, {"a": {}}, 2, {"a": 1}), "not below next_operator 2"),
        (Numbers({"a": 1}, {}, 2, {"a": 1}), "name different operators"),
        (Numbers({"a": 1}, {"a": {"x": 1, "y": 1}}, 2, {"a": 2}), "two states of operator 'a' have one number"),
        (Numbers({"a": 1}, {"a": {"x": 3}}, 2, {"a": 2}), "not below 2"),
    ],
)
def test_a_dictionary_that_breaks_the_rules_is_named(numbers: Numbers, problem: str) -> None:
    assert problem in (numbers.problem() or "")
