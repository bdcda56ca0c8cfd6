"""Evolution: each stored value says its schema, and is read by what that schema needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.codec.evolution import (
    AS_DECLARED,
    SCHEMAS_MAX,
    Evolution,
    EvolvedCodec,
    KnownSchema,
    SchemaRefusedError,
    evolve,
    header_of,
    plain_reader,
    split_header,
)
from actorstream.codec.schema import schema_of
from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.codec.typed import codec_for
from actorstream.errors import CodecError
from tests.codec.domain import Order, Refund
from tests.codec.strategies import examples
from tests.codec.test_plain import composites, scalars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.codec.evolution import Evolved


def known(number: int, annotation: object, version: int = 1) -> KnownSchema:
    """Give the schema of an annotation as it comes out of a manifest, which is JSON."""
    schema = schema_of(annotation)
    return KnownSchema(number, version, schema.fingerprint, json.loads(json.dumps(schema.shape)))


@dataclass
class Total:
    euros: int


@dataclass
class TotalV2:
    cents: int
    note: str = ""


@dataclass
class TotalV3:
    cents: int
    currency: str


def generations(*steps: tuple[object, Evolution]) -> list[Evolved]:
    """Declare one type after the other, each knowing what the ones before it wrote."""
    found: list[Evolved] = []
    schemas: Sequence[KnownSchema] = ()
    for annotation, evolution in steps:
        found.append(evolve(codec_for(annotation), evolution, schemas))
        schemas = [*found[-1].others, found[-1].own]
    return found


def to_cents(total: dict[str, Any]) -> dict[str, Any]:
    """Go from version 1 to 2, in plain values."""
    return {"cents": total["euros"] * 100}


def test_first_schema_costs_nothing() -> None:
    """No header, and the very codec."""
    codec = codec_for(Total)
    evolved = evolve(codec, AS_DECLARED, [])
    assert evolved == (codec, known(0, Total), ())
    assert evolve(codec, AS_DECLARED, [known(0, Total)]).codec is codec


@pytest.mark.parametrize(("annotation", "values"), scalars + composites, ids=lambda v: str(v)[:40])
def test_no_value_begins_as_a_header_does(annotation: object, values: st.SearchStrategy[Any]) -> None:
    """MessagePack never uses the byte c1; neither do we."""
    codec = codec_for(annotation)

    @examples(10)
    @given(values)
    def holds(value: object) -> None:
        data = codec.encode(value)
        assert split_header(data) == (0, data)
        assert split_header(header_of(7) + data) == (7, data)

    holds()


def test_byte_of_the_header_is_none_of_messagepack() -> None:
    """Whatever follows it."""
    with pytest.raises(msgspec.DecodeError):
        msgspec.msgpack.decode(header_of(1) + b"\x01")


def test_values_of_three_generations_are_read_side_by_side() -> None:
    """An untouched value of the first is still there after the third change: layers are not rewritten."""
    first, second, third = generations(
        (Total, AS_DECLARED),
        (TotalV2, Evolution(2, {1: to_cents})),
        (TotalV3, Evolution(3, {1: to_cents, 2: lambda v: TotalV3(v["cents"], v.get("note") or "EUR")})),
    )
    stored = [
        first.codec.encode(Total(1)),
        second.codec.encode(TotalV2(200, "USD")),
        third.codec.encode(TotalV3(300, "CHF")),
    ]
    assert [split_header(data)[0] for data in stored] == [0, 1, 2]
    assert [third.codec.decode(data) for data in stored] == [
        TotalV3(100, "EUR"),
        TotalV3(200, "USD"),
        TotalV3(300, "CHF"),
    ]
    assert [second.codec.decode(data) for data in stored[:2]] == [TotalV2(100), TotalV2(200, "USD")]
    assert third.own == known(2, TotalV3, 3)
    assert third.others == (known(0, Total), known(1, TotalV2, 2))


def test_field_removed_and_added_again_as_another_type_is_not_misread() -> None:
    """Each change was read as it is; only a value's own schema tells the old `note` from the new."""
    with_note = msgspec.defstruct("Memo", [("n", int), ("note", int)])
    without = msgspec.defstruct("Memo", [("n", int)])
    again = msgspec.defstruct("Memo", [("n", int), ("note", str, "none")])
    first, _, third = generations((with_note, AS_DECLARED), (without, AS_DECLARED), (without, AS_DECLARED))
    assert third.own.number == 1
    data = first.codec.encode(with_note(1, 5))
    with pytest.raises(SchemaRefusedError, match=r"value\.note was int and is str now"):
        evolve(codec_for(again), AS_DECLARED, [*third.others, third.own])
    migrated = evolve(
        codec_for(again),
        Evolution(2, {1: lambda v: {"n": v["n"], "note": str(v["note"]) if "note" in v else "none"}}),
        [*third.others, third.own],
    )
    assert migrated.codec.decode(data) == again(1, "5")
    assert migrated.codec.decode(third.codec.encode(without(2))) == again(2, "none")


def test_going_back_to_a_type_that_was_there_takes_its_number() -> None:
    """A rollback of code, where both directions are read as they are."""
    one, two = codec_for(dict[str, int]), codec_for(dict[str, int | None])
    second = evolve(two, AS_DECLARED, [known(0, dict[str, int])])
    assert second.own.number == 1
    with pytest.raises(SchemaRefusedError, match=r"value\[1\] was int or None and is int now"):
        evolve(one, AS_DECLARED, [*second.others, second.own])
    loose = msgspec.defstruct("A", [("a", int), ("b", int, 0)])
    tight = msgspec.defstruct("A", [("a", int)])
    there = evolve(codec_for(loose), AS_DECLARED, [known(0, tight)])
    back = evolve(codec_for(tight), AS_DECLARED, [*there.others, there.own])
    assert back.own.number == 0
    assert back.codec.encode(tight(1)) == codec_for(tight).encode(tight(1))
    assert back.codec.decode(there.codec.encode(loose(1, 2))) == tight(1)


def test_same_type_under_a_newer_version_is_another_schema() -> None:
    """Euros became cents: the bytes look alike, and mean something else."""
    euros, cents = generations((int, AS_DECLARED), (int, Evolution(2, {1: lambda euros: euros * 100})))
    assert cents.codec.decode(euros.codec.encode(5)) == 500
    assert cents.codec.decode(cents.codec.encode(5)) == 5


def test_version_that_goes_down_is_refused() -> None:
    """An older program cannot read what a newer one wrote, even where the bytes look alike."""
    with pytest.raises(
        SchemaRefusedError, match=r"version 2 was stored, and version 1 is declared; .*start the program"
    ):
        evolve(codec_for(int), AS_DECLARED, [known(0, int, 2)])


def test_version_without_a_function_for_what_is_stored_is_refused() -> None:
    """Also for one in the middle."""
    with pytest.raises(SchemaRefusedError, match=r"no function for version 1; .*say migrate=\{1: \.\.\.\}"):
        evolve(codec_for(int), Evolution(2), [known(0, int)])
    with pytest.raises(SchemaRefusedError, match=r"no function for version 2"):
        evolve(codec_for(int), Evolution(3, {1: int}), [known(0, str), known(1, str, 2)])


def test_function_goes_straight_to_the_newest_where_there_is_none_after_it() -> None:
    """{1: f, 2: g} goes 1 -> 2 -> 3; {1: f} alone 1 -> 3."""
    straight = evolve(codec_for(str), Evolution(3, {1: lambda n: f"from {n}"}), [known(0, int)])
    assert straight.codec.decode(codec_for(int).encode(1)) == "from 1"
    stepwise = evolve(codec_for(str), Evolution(3, {1: lambda n: n + 1, 2: lambda n: f"from {n}"}), [known(0, int)])
    assert stepwise.codec.decode(codec_for(int).encode(1)) == "from 2"


def test_elements_of_a_list_are_migrated_one_by_one() -> None:
    """What a ListState keeps is one value, and its function thinks of one element."""
    evolution = Evolution(2, {1: lambda v: TotalV2(v["euros"] * 100)}, each=True)
    evolved = evolve(codec_for(list[TotalV2]), evolution, [known(0, list[Total])])
    assert evolved.codec.decode(codec_for(list[Total]).encode([Total(1), Total(2)])) == [TotalV2(100), TotalV2(200)]
    with pytest.raises(SchemaRefusedError, match="value was int and is a list now"):
        evolve(codec_for(list[TotalV2]), evolution, [known(0, int)])


def test_what_a_function_gives_is_copied() -> None:
    """One list for all keys would be shared by them."""
    shared = [1]
    evolved = evolve(codec_for(list[int]), Evolution(2, {1: lambda _: shared}), [known(0, int)])
    found = evolved.codec.decode(codec_for(int).encode(1))
    assert found == shared
    assert found is not shared


def test_wrong_result_names_function_and_place() -> None:
    """Neither an instance of the type, nor a plain value of it."""
    evolved = evolve(codec_for(TotalV2), Evolution(2, {1: lambda _: {"cents": "1"}}), [known(0, Total)])
    with pytest.raises(
        CodecError, match=r"migrate=\{1: \.\.\.\} gave \{'cents': '1'\}.*not of the declared type.*value\.cents"
    ):
        evolved.codec.decode(codec_for(Total).encode(Total(1)))


def test_error_of_a_function_says_which() -> None:
    """Who has state and key at hand adds them; the author's own traceback is the cause."""
    evolved = evolve(codec_for(TotalV2), Evolution(2, {1: lambda v: v["dollars"]}), [known(0, Total)])
    with pytest.raises(
        CodecError, match=r"migrate=\{1: \.\.\.\}, given .* of version 1, raised KeyError: 'd"
    ) as raised:
        evolved.codec.decode(codec_for(Total).encode(Total(1)))
    assert isinstance(raised.value.__cause__, KeyError)


def test_value_without_a_type_gets_one() -> None:
    """From `object`, whose records are dicts that know their class."""
    evolved = evolve(codec_for(Total), Evolution(2, {1: dict}), [known(0, object)])
    assert evolved.codec.decode(SELF_DESCRIBING.encode(Total(7))) == Total(7)
    back = evolve(codec_for(object), Evolution(2, {1: lambda v: v}), [known(0, object)])
    assert back.codec.decode(SELF_DESCRIBING.encode([Order("a", 1.0)])) == [Order("a", 1.0)]


def test_unknown_schema_is_refused() -> None:
    """A newer program wrote it, or the bytes are damaged: never guessed at."""
    evolved = evolve(codec_for(TotalV2), Evolution(2, {1: to_cents}), [known(0, Total)])
    for number in (2, 300):
        with pytest.raises(CodecError, match=rf"schema {number}, which is not among those that are known"):
            evolved.codec.decode(header_of(number) + b"\x01")
    for cut in (b"", header_of(1), header_of(1)[:2]):
        with pytest.raises(CodecError):
            evolved.codec.decode(cut)


def test_missing_reader_is_asked_for_once() -> None:
    """A log learns of schemas while it is read."""
    asked: list[int] = []

    def learn(number: int) -> Any:
        asked.append(number)
        return lambda data: -codec_for(int).decode(data)

    codec = EvolvedCodec(codec_for(int), 0, {}, learn)
    data = header_of(4) + codec_for(int).encode(5)
    assert [codec.decode(data), codec.decode(data), codec.decode(codec.encode(6))] == [-5, -5, 6]
    assert asked == [4]


PROBLEMS: list[tuple[Evolution, str]] = [
    (Evolution(0), "versions are whole numbers from 1 on"),
    (Evolution(True), "versions are whole numbers"),
    (Evolution("2"), "versions are whole numbers"),  # type: ignore[arg-type]
    (Evolution(2, {2: int}), r"one function for each older version, from 1 to 1"),
    (Evolution(2, {"1": int}), "one function for each older version"),  # type: ignore[dict-item]
    (Evolution(2, {1: 5}), "a function of the stored value was expected"),  # type: ignore[dict-item]
    (Evolution(rename={"euros": "sents"}), r"TotalV2\(cents: int, note: str = \.\.\.\) has no 'sents'"),
]


@pytest.mark.parametrize(("evolution", "said"), PROBLEMS, ids=lambda v: str(v)[:40])
def test_declaration_that_cannot_be_meant_is_a_problem(evolution: Evolution, said: str) -> None:
    """Found before anything is stored; a misspelt renaming would lose a field with a default."""
    problem = evolution.problem(schema_of(TotalV2))
    assert problem is not None
    assert said.replace("\\", "") in problem


def test_right_declaration_is_no_problem() -> None:
    """Also a chain of renamings, and a class of a union."""
    assert Evolution(3, {1: int, 2: int}, {"euros": "sum", "sum": "cents"}).problem(schema_of(TotalV2)) is None
    assert Evolution(rename={"Bill": "Order"}).problem(schema_of(list[Order | Refund])) is None


def test_stored_bytes_of_all_schemas_are_read_plainly() -> None:
    """For tools that have a manifest, and none of the classes."""
    first, second = generations((Total, AS_DECLARED), (TotalV2, Evolution(2, {1: to_cents})))
    read = plain_reader([second.own, *second.others])
    assert read(first.codec.encode(Total(1))) == (0, {"euros": 1})
    assert read(second.codec.encode(TotalV2(5))) == (1, {"cents": 5, "note": ""})
    with pytest.raises(CodecError, match="schema 2, which is not among"):
        read(header_of(2) + b"\x01")


def test_numbers_end() -> None:
    """Two bytes: a clear error, and no wrap."""
    with pytest.raises(CodecError, match="room for no more"):
        evolve(codec_for(int), AS_DECLARED, [known(SCHEMAS_MAX - 1, bool)])


@examples(100)
@given(st.binary(max_size=40))
def test_hostile_bytes_are_refused_or_are_a_value(data: bytes) -> None:
    """Nothing but CodecError comes out of our own part; the function is the user's."""
    evolved = generations((Total, AS_DECLARED), (TotalV2, Evolution(2, {1: to_cents})))[1]
    try:
        found = evolved.codec.decode(data)
    except CodecError:
        return
    assert isinstance(found, TotalV2)
