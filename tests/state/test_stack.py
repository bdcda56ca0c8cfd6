"""Stacks: what is seen is decided by reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.errors import InvariantError
from actorstream.model.key_groups import KeyGroupRange
from actorstream.state.stack import LayerStack

if TYPE_CHECKING:
    from tests.state.rig import Shelf

LOW, HIGH, ALL = KeyGroupRange(0, 4), KeyGroupRange(4, 8), KeyGroupRange(0, 8)


def test_push_puts_a_layer_on_top_of_every_key_group(shelf: Shelf) -> None:
    """Below it each key group keeps the stack of its old owner."""
    one, two, new = (shelf.layer([]) for _ in range(3))
    stack = LayerStack([(LOW, [one]), (HIGH, [two])])
    before = stack.runs()
    stack.push(new)

    assert stack.layers_for(3) == (new, one)
    assert stack.layers_for(4) == (new, two)
    assert stack.layers == 3
    assert before == [(LOW, (one,)), (HIGH, (two,))]


def test_stack_counts_each_layer_once_and_the_caller_keeps_his(shelf: Shelf) -> None:
    """So several stacks share a layer, and the last one closes it."""
    layer = shelf.layer([])
    stacks = [LayerStack([(LOW, [layer]), (HIGH, [])]), LayerStack([(ALL, [layer])])]
    layer.release()
    stacks[0].release()
    stacks[0].release()
    assert not layer.closed
    stacks[1].release()
    assert layer.closed


def test_covering_clips_fills_and_joins(shelf: Shelf) -> None:
    """A restore at another split takes from each old run what it owns now."""
    one, two = shelf.layer([]), shelf.layer([])
    runs = [(KeyGroupRange(5, 9), [two]), (KeyGroupRange(0, 2), [one]), (KeyGroupRange(2, 3), [one])]
    stack = LayerStack.covering(KeyGroupRange(1, 7), runs)
    assert stack.runs() == [
        (KeyGroupRange(1, 3), (one,)),
        (KeyGroupRange(3, 5), ()),
        (KeyGroupRange(5, 7), (two,)),
    ]
    assert stack.key_groups == KeyGroupRange(1, 7)
    assert LayerStack.covering(ALL).runs() == [(ALL, ())]


@pytest.mark.parametrize(
    "runs", [[], [(LOW, []), (KeyGroupRange(5, 8), [])], [(LOW, []), (KeyGroupRange(3, 8), [])], [((4, 4), [])]]
)
def test_runs_with_gaps_overlaps_or_nothing_are_refused(runs: list[tuple[tuple[int, int], list[object]]]) -> None:
    """A key group in no run would lose its state, one in two would have two."""
    with pytest.raises(InvariantError, match="run"):
        LayerStack([(KeyGroupRange(*groups), []) for groups, _ in runs])


def test_replace_puts_one_layer_where_a_run_of_them_stood(shelf: Shelf) -> None:
    """What compaction will do; runs without those layers stay, and nothing is torn apart."""
    a, b, c, d, merged = (shelf.layer([]) for _ in range(5))
    stack = LayerStack([(LOW, [a, b, c]), (HIGH, [d])])
    stack.replace([b, c], merged)
    assert stack.runs() == [(LOW, (a, merged)), (HIGH, (d,))]
    for layer in (a, b, c, d, merged):
        layer.release()
    assert (b.closed, c.closed, merged.closed) == (True, True, False)
    for wrong in ([merged, a], [a, d], [a, merged, d]):
        with pytest.raises(InvariantError, match="side by side"):
            stack.replace(wrong, None)
    stack.replace([a, merged], None)
    assert stack.runs() == [(LOW, ()), (HIGH, (d,))]
