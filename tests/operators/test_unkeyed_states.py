"""States without key over any row of changes, checkpoints, crashes and rescales, beside plain lists and a dict."""

from __future__ import annotations

from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream import (
    BroadcastContext,
    BroadcastProcess,
    BroadcastState,
    Context,
    OperatorListState,
    PlanError,
    ValueState,
)
from actorstream.graph.nodes import Node, NodeId, ProcessSpec
from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.key_groups import KeyGroupRange, range_of
from actorstream.operators import unkeyed_states
from actorstream.operators.broadcast_view import Writable
from actorstream.operators.columns import columns_of
from actorstream.operators.operator_list import OperatorList
from actorstream.operators.process_binding import ProcessBinding
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.stack import LayerStack
from actorstream.state.unkeyed import StoredList, Unkeyed, group_of, read_broadcast, read_lists, slot_of
from actorstream.system.current import current_world
from tests.state.rig import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from actorstream.state.stack import Run

GROUPS = 8


class Score(BroadcastProcess[str, int, int, Any]):
    """One of each: a state by key, a broadcast one and a list, whose values may be changed in place."""

    rules: BroadcastState[int, list[int]] = BroadcastState()
    waiting: OperatorListState[list[int]] = OperatorListState()
    count: ValueState[int] = ValueState(0)

    def on_element(self, value: int, ctx: Context[str], /) -> None:
        """Not called here."""

    def on_broadcast(self, value: int, ctx: BroadcastContext, /) -> None:
        """Not called here."""


def columns() -> list[StateColumn]:
    """Give what the layers of these tests hold."""
    node = Node(NodeId(0), "score", ProcessSpec(Score, Score, 2, "broadcast"), ())
    return [
        StateColumn(StateNumber(number), column.name, column.kind, column.codec)
        for number, column in enumerate(columns_of(node, Score()), 1)
    ]


class Operator:
    """All subtasks of one operator, in one parallelism after the other."""

    def __init__(self, shelf: Shelf, parallelism: int) -> None:
        self._shelf = shelf
        self.subtasks: list[ProcessBinding] = []
        self.states: list[OperatorState] = []
        self.kept: tuple[list[Run], Unkeyed] = [], Unkeyed()
        self.begin(parallelism)

    def begin(self, parallelism: int) -> None:
        """Begin from the newest checkpoint."""
        runs, unkeyed = self.kept
        clock = current_world().clock
        self.subtasks, self.states = [], []
        for number in range(parallelism):
            groups = range_of(number, parallelism, GROUPS)
            state = OperatorState(
                operator=OperatorNumber(1),
                columns=columns(),
                key_groups=groups,
                max_parallelism=GROUPS,
                stack=LayerStack.covering(groups, runs),
                name="score",
            )
            self.states.append(state)
            self.subtasks.append(ProcessBinding("score", Score(), state, clock, (number, parallelism), unkeyed))

    def checkpoint(self, meanwhile: Callable[[], None]) -> Unkeyed:
        """Take one, and read it as a restore does; `meanwhile` happens before what was frozen is encoded."""
        frozen = [(state, state.freeze()) for state in self.states]
        meanwhile()
        for state, generation in frozen:
            self._shelf.finish(state, generation)
        runs = [run for state in self.states for run in state.stack.runs()]
        stack = LayerStack.covering(KeyGroupRange(0, GROUPS), runs)
        rules, waiting = columns()[:2]
        entries = list(read_broadcast(stack, OperatorNumber(1), rules))
        lists = sorted(each for each in read_lists(stack, OperatorNumber(1), waiting) if each is not None)
        self.kept = runs, Unkeyed(len(self.subtasks), {"rules": entries}, {"waiting": lists})
        return self.kept[1]

    def write(self, key: int, value: int | None) -> None:
        """Let every subtask take one record of the broadcast stream."""
        for binding in self.subtasks:
            calls = binding.broadcast
            binding.bind()
            calls.begin()
            rules = calls.writable(binding.process.rules)  # type: ignore[attr-defined]
            if value is None:
                rules.pop(key, None)
            else:
                rules.setdefault(key, []).append(value)  # changed in place (T135)
            calls.end()

    def part(self, subtask: int) -> OperatorList:
        """Give the list of a subtask."""
        return self.subtasks[subtask].process.waiting  # type: ignore[attr-defined, no-any-return]


class Model:
    """The same in plain Python."""

    def __init__(self, parallelism: int) -> None:
        self.rules: dict[int, list[int]] = {}
        self.parts: list[list[list[int]]] = [[] for _ in range(parallelism)]
        self.kept: tuple[dict[int, list[int]], list[list[list[int]]]] | None = None

    def checkpoint(self) -> tuple[dict[int, list[int]], list[list[list[int]]]]:
        """Remember, and give what is remembered."""
        self.kept = {key: [*value] for key, value in self.rules.items()}, [[[*e] for e in part] for part in self.parts]
        return self.kept

    def begin(self, parallelism: int) -> None:
        """Go back, and share the lists out if there is another number of parts."""
        rules, parts = self.kept or ({}, [[] for _ in range(parallelism)])
        self.rules = {key: [*value] for key, value in rules.items()}
        self.parts = [[[*each] for each in part] for part in parts]
        if len(parts) != parallelism:
            everything = [each for part in self.parts for each in part]
            self.parts = [everything[number::parallelism] for number in range(parallelism)]


def go_on(operator: Operator, model: Model) -> None:
    """Change in place what the checkpoint under way is of (T135)."""
    for number, mine in enumerate(model.parts):
        for place, each in enumerate(mine):
            operator.part(number)[place].append(-2)
            each.append(-2)
    for key in list(model.rules)[:2]:
        operator.write(key, -2)
        model.rules[key].append(-2)


def check(seed: int) -> None:
    """Do a row of things to both; AssertionError where they differ."""
    random = Random(seed)
    shelf = Shelf(Path(mkdtemp()))
    try:
        parallelism = random.choice((1, 2, 3, 8))
        operator, model = Operator(shelf, parallelism), Model(parallelism)
        for number in range(random.randint(5, 40)):
            subtask = random.randrange(parallelism)
            part, mine = operator.part(subtask), model.parts[subtask]
            match random.choice(("append", "append", "change", "remove", "rule", "rule", "checkpoint", "crash")):
                case "append":
                    part.append([number])
                    mine.append([number])
                case "change" if mine:
                    part[-1].append(-1)
                    mine[-1].append(-1)
                case "remove" if mine:
                    at = random.randrange(len(mine))
                    del part[at], mine[at]
                case "rule":
                    key, value = random.randrange(5), random.choice((number, number, None))
                    operator.write(key, value)
                    if value is None:
                        model.rules.pop(key, None)
                    else:
                        model.rules.setdefault(key, []).append(value)
                case "checkpoint":
                    right = model.checkpoint()
                    kept = operator.checkpoint(lambda: go_on(operator, model))
                    assert kept.broadcast["rules"] == sorted(right[0].items())
                    stored = {each.slot[0]: each.items for each in kept.lists["waiting"]}
                    assert len(stored) == len(kept.lists["waiting"]), "each list is in one entry"
                    assert [stored.get(each, []) for each in range(parallelism)] == right[1]
                case "crash":
                    parallelism = random.choice((1, 2, 3, 5, 8, parallelism))
                    model.begin(parallelism)
                    operator.begin(parallelism)
                case _:
                    pass
            assert [operator.part(each) for each in range(parallelism)] == model.parts
            for binding in operator.subtasks:
                rules = binding.process.rules  # type: ignore[attr-defined]
                assert list(rules) == sorted(model.rules), "in the order of the keys, in every subtask"
                assert dict(rules) == model.rules
    finally:
        rmtree(shelf.folder)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_subtask_has_all_that_is_broadcast_and_lists_are_shared_out_t33_t124(seed: int) -> None:
    """After any row of rescales: one fold of the rules everywhere, and each element of a list in one place."""
    check(seed)


class United(Score):
    """The same, with a list that all get."""

    waiting: OperatorListState[list[int]] = OperatorListState(rescale="union")


@pytest.mark.parametrize(
    ("owner", "expected"),
    [(Score, [["a", "d"], ["b", "e"], ["c"]]), (United, [["a", "b", "c", "d", "e"]] * 3)],
)
def test_the_rule_by_which_lists_are_shared_out(owner: type[Score], expected: list[list[str]]) -> None:
    """Part behind part, then element n goes to subtask n modulo the parallelism: as Flink's even split, and union."""
    stored = [StoredList((0, 3), ["a", "b", "c"]), StoredList((1, 0), ["d", "e"])]
    found = []
    for number in range(3):
        groups = range_of(number, 3, GROUPS)
        state = OperatorState(
            operator=OperatorNumber(1),
            columns=columns(),
            key_groups=groups,
            max_parallelism=GROUPS,
            stack=LayerStack.covering(groups),
        )
        binding = ProcessBinding(
            "score", owner(), state, current_world().clock, (number, 3), Unkeyed(2, {}, {"waiting": stored})
        )
        found.append(list(binding.process.waiting))  # type: ignore[attr-defined]
    assert found == expected


def test_a_list_that_is_shared_out_in_no_known_way_is_refused() -> None:
    with pytest.raises(PlanError, match="rescale is 'broadcast', expected 'split' or 'union'"):
        OperatorListState(rescale="broadcast")  # type: ignore[arg-type]


@given(parallelism=st.integers(1, 128), subtask=st.integers(0, 127))
def test_a_subtask_keeps_its_lists_among_its_own_key_groups(parallelism: int, subtask: int) -> None:
    """Whoever takes these key groups over finds them there."""
    subtask %= parallelism
    groups = range_of(subtask, parallelism, 128)
    slot = slot_of(subtask, groups, 128)
    assert slot[0] == subtask
    assert group_of(slot, 128) in range(*groups)


# ---- the test proves itself: each of these bugs is found


def _keep_old(
    declaration: OperatorListState[Any], owner: type, state: OperatorState, place: tuple[int, int], restored: Unkeyed
) -> OperatorList:
    with patch.object(type(state.unkeyed[declaration.name]), "delete", lambda *_: None):
        return _list(declaration, owner, state, place, restored)


def _no_copy(self: OperatorList) -> None:
    if self._changed:
        self._changed = False
        self._table.set(self._slot, 0, self._items)


def _unordered(self: Any) -> Iterator[Any]:
    return dict.__iter__(self)


_list, _fill = unkeyed_states._list, Writable.fill
BUGS: dict[str, AbstractContextManager[object]] = {
    "an old entry of a list stays": patch.object(unkeyed_states, "_list", _keep_old),
    "a list is stored as it is, and changed in place afterwards": patch.object(OperatorList, "store", _no_copy),
    "what is read through writable is not stored": patch.object(
        Writable, "__getitem__", lambda self, key: self._view[key]
    ),
    "broadcast state is as it was written": patch(
        "actorstream.operators.broadcast_view.BroadcastView.__iter__", _unordered
    ),
    "what was dealt out is not stored": patch.object(
        OperatorList, "restore", lambda self, items, moved: (self._items.extend(items), moved)[0]
    ),
    "only who keeps it takes what was restored": patch.object(
        Writable, "fill", lambda self, entries: None if self._table is None else _fill(self, entries)
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_in_states_without_key_is_found(bug: str) -> None:
    """Within a bounded number of plans."""
    with BUGS[bug]:
        for seed in range(300):
            try:
                check(seed)
            except AssertionError:
                return
    pytest.fail(f"{bug}: not found in 300 plans")
