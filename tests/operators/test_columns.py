"""Which states an operator has, and the codec of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import CodecError, PlanError
from actorstream.graph.nodes import (
    CountSpec,
    FoldSpec,
    LatestSpec,
    MapSpec,
    MapWithStateSpec,
    Node,
    NodeId,
    ProcessSpec,
    ReduceSpec,
    Spec,
    StatefulSpec,
    SumSpec,
)
from actorstream.operators.columns import Column, columns_of
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ListState, MapState, ValueState
from tests.codec.domain import Point  # noqa: TC001  (annotations that are resolved at run time)

if TYPE_CHECKING:
    from collections.abc import Sequence


def of(spec: Spec, process: object | None = None) -> Sequence[Column]:
    return columns_of(Node(NodeId(0), "op", spec, ()), process)


def declared(owner: type) -> dict[str, Column]:
    return {column.name: column for column in of(ProcessSpec(owner, owner), owner())}


def test_rolling_operators_have_one_value() -> None:
    specs: list[Spec] = [
        CountSpec(),
        SumSpec(len),
        ReduceSpec(max),
        FoldSpec(0, max),
        LatestSpec(abs),
        MapWithStateSpec(0, divmod),
    ]

    assert [[(column.name, column.kind) for column in of(spec)] for spec in specs] == [[("value", "value")]] * 6
    assert all(isinstance(spec, StatefulSpec) for spec in specs)


def test_stateless_operator_has_none() -> None:
    assert of(MapSpec(abs)) == []


def test_fold_from_a_scalar_refuses_to_store_another_type() -> None:
    """An accidental float in an int sum is found at the first snapshot, not at the next restore."""
    (column,) = of(FoldSpec(0, max))

    with pytest.raises(CodecError):
        column.codec.encode("text")


def test_fold_from_a_container_keeps_types_by_itself() -> None:
    (column,) = of(FoldSpec((0, set()), max))

    assert column.codec is SELF_DESCRIBING


@pytest.mark.parametrize("initial", [object(), lambda: 0, {1: open}])
def test_initial_value_that_cannot_be_stored_is_found_before_anything_runs(initial: object) -> None:
    with pytest.raises(PlanError, match="op: its initial value cannot be stored"):
        of(FoldSpec(initial, max))


class Everything(KeyedProcess[str, int, int]):
    """A state of each kind."""

    count: ValueState[int] = ValueState(0)
    names: ListState[str] = ListState()
    days: MapState[int, float] = MapState()


def test_annotations_are_the_schema() -> None:
    columns = declared(Everything)

    assert [(column.name, column.kind) for column in columns.values()] == [
        ("count", "value"),
        ("names", "value"),
        ("days", "map"),
    ]
    for name, wrong in {"count": "x", "names": [1], "days": "x"}.items():
        with pytest.raises(CodecError):
            columns[name].codec.encode(wrong)


def test_without_an_annotation_a_default_says_enough_and_a_list_or_map_takes_anything() -> None:
    class Bare(KeyedProcess[str, int, int]):
        count = ValueState(0)
        names = ListState[Any]()
        days = MapState[Any, Any]()

    columns = declared(Bare)

    with pytest.raises(CodecError):
        columns["count"].codec.encode("x")
    assert columns["names"].codec.decode(columns["names"].codec.encode([1, "x"])) == [1, "x"]
    assert columns["days"].codec.decode(columns["days"].codec.encode((1, "x"))) == (1, "x")


def test_factory_without_an_annotation_is_refused() -> None:
    """What a factory makes does not say what may be in it."""

    class Bare(KeyedProcess[str, int, int]):
        cart = ValueState(factory=list[int])

    with pytest.raises(PlanError, match=r"Bare\.cart needs an annotation: cart: ValueState\[\.\.\.\] = "):
        declared(Bare)


def test_annotation_that_cannot_be_resolved_says_where_to_define_it() -> None:
    class Unknown(KeyedProcess[str, int, int]):
        count: ValueState[Nowhere] = ValueState(cast("Any", 0))  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(
        PlanError, match=r"'Nowhere' is not defined; define .*, and import them outside of `if TYPE_CHECKING`"
    ):
        declared(Unknown)


class Opaque:
    """Nothing can store it."""


class Holding(KeyedProcess[str, int, int]):
    """Declares what cannot be stored."""

    held: ValueState[Opaque] = ValueState(factory=Opaque)


def test_annotation_that_has_no_codec_names_the_state() -> None:
    with pytest.raises(PlanError, match=r"Holding\.held \(op\) cannot be stored"):
        declared(Holding)


def test_process_without_state_has_no_columns() -> None:
    class Plain(KeyedProcess[str, int, int]):
        pass

    assert declared(Plain) == {}


class Misspelt(KeyedProcess[str, str, str]):
    """Renames to a field that is not there."""

    point: ValueState[Point | None] = ValueState(None, rename={"z": "w"})


class Uncounted(KeyedProcess[str, str, str]):
    """Has a function for a version that is not older."""

    points: ListState[Point] = ListState(migrate={1: str})


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        (Misspelt, r"Misspelt\.point \(op\): rename=\{'z': 'w'\}: Point\(x: int, y: int = \.\.\.\) or None has no 'w'"),
        (
            Uncounted,
            r"Uncounted\.points \(op\): migrate=\{1: \.\.\.\} with version=1: it has one function for each older",
        ),
    ],
    ids=["rename", "migrate"],
)
def test_evolution_that_cannot_be_meant_is_a_plan_error(owner: type, said: str) -> None:
    """Before anything is stored: a misspelt name would lose a field that has a default."""
    with pytest.raises(PlanError, match=said):
        declared(owner)


def test_columns_know_what_their_declarations_say_of_older_values() -> None:
    """For the restore, which knows what lies in the store."""

    class Changed(KeyedProcess[str, str, str]):
        count: ValueState[int] = ValueState(0, version=2, migrate={1: int})
        parts: MapState[str, Point] = MapState(rename={"w": "x"})
        points: ListState[Point] = ListState()

    columns = declared(Changed)
    assert (columns["count"].evolution.version, columns["parts"].evolution.rename) == (2, {"w": "x"})
    assert [columns[name].evolution.each for name in ("count", "parts", "points")] == [False, False, True]
    keys = columns["parts"].map_key
    assert keys is not None
    assert keys.shape == "str"
