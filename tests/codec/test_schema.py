"""Schemas: what a manifest keeps, and which changes of a class old bytes survive."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, make_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Literal, NamedTuple, TypedDict

import pytest

from actorstream.codec.schema import Schema, difference, schema_of
from actorstream.codec.typed import codec_for
from tests.codec.domain import Color, Everything, Order, Packed, Point, Profile, Reading, Refund, Shape, Tree

GOLDEN: list[tuple[object, str]] = [
    (int, "e112304b73f079f7"),
    (str, "eb67ad86541f0f34"),
    (datetime, "3c0dc30871c30ab6"),
    (object, "0000000000000000"),
    (Order, "4d2933358e4e239d"),
    (Order | Refund, "88465b820f44d1c3"),
    (Point, "ce230db63381c696"),
    (Profile, "a0cc6043c97aa364"),
    (Tree, "2ede316451ee73d1"),
    (dict[str, list[Order | None]], "b3adce9fcc5291d5"),
    (Color, "dc5a977d8ba3ba2c"),
    (Everything, "d6ce66952eb19e5f"),
]


@pytest.mark.parametrize(("annotation", "fingerprint"), GOLDEN, ids=lambda v: str(v)[:40])
def test_fingerprint_of_an_annotation_never_changes(annotation: object, fingerprint: str) -> None:
    """It is in manifests: a change would make every restore a question."""
    assert schema_of(annotation).fingerprint == fingerprint


@pytest.mark.parametrize("annotation", [Everything, Tree, Order | Refund, Packed, Reading, Shape, Literal[True, 1]])
def test_shape_is_json_and_survives_it(annotation: object) -> None:
    """A manifest is JSON: lists come back as lists, nothing else changes."""
    schema = schema_of(annotation)
    assert schema == codec_for(annotation).schema
    restored = Schema(schema.fingerprint, json.loads(json.dumps(schema.shape)))
    assert restored == schema
    assert difference(restored, Schema("other", schema.shape)) is None


def record(name: str, fields: list[Any]) -> type:
    """Make a dataclass whose class name does not matter."""
    return make_dataclass(name, fields)


class V1(NamedTuple):
    a: int
    b: str


class V2(NamedTuple):
    a: int
    b: str
    c: float = 0.0


class Swapped(NamedTuple):
    b: str
    a: int


class MoreColors(Enum):
    RED = "r"
    BLUE = "b"
    GREEN = "g"


class Loose(TypedDict, total=False):
    name: str
    size: int


@dataclass
class OrderV2:
    """`Order` with a field added, one removed, the rest in another order."""

    amount: float
    id: str
    currency: str = "EUR"


READABLE: list[tuple[object, object]] = [
    (Order, OrderV2),
    (record("A", [("x", int)]), record("B", [("x", int)])),
    (list[Order], list[OrderV2]),
    (dict[str, tuple[int, Order]], dict[str, tuple[int, OrderV2]]),
    (V1, V2),
    (int, int | None),
    (Order, OrderV2 | None),
    (Order | Refund, Order | Refund | Point),
    (Order | Refund, Order | Refund | None),
    (Color, MoreColors),
    (Literal["a"], Literal["a", "b"]),
    (int | str, int | str | float),
    (Profile, Loose),
]


@pytest.mark.parametrize(("old", "new"), READABLE, ids=str)
def test_change_that_old_bytes_survive_is_no_difference(old: object, new: object) -> None:
    """Added with a default, removed, reordered, widened: read as they are."""
    assert difference(schema_of(old), schema_of(new)) is None


UNREADABLE: list[tuple[object, object, str]] = [
    (int, str, "value was int and is str now"),
    (int, float, "value was int and is float now"),
    (int | None, int, "value was int or None and is int now"),
    (list[int], set[int], r"value was list\[int\] and is set\[int\] now"),
    (list[int], list[str], r"value\[item\] was int"),
    (tuple[int, int], tuple[int, int, int], "had 2 parts and has 3 now"),
    (dict[int, str], dict[int, bytes], r"value\[1\] was str"),
    (record("A", [("x", int)]), record("A", [("x", int), ("y", int)]), "value.y was added without a default"),
    (record("A", [("x", int)]), record("A", [("x", str)]), "value.x was int and is str now"),
    (V2, V1, "added at the end"),
    (V1, Swapped, "added at the end"),
    (Order, Order | Refund, "value was Order and is Order or Refund now"),
    (Order | Refund, Order | Point, "may have been a Refund"),
    (MoreColors, Color, "may have been 'g'"),
    (Literal["a", "b"], Literal["a"], "may have been \"'b'\""),
    (object, int, "value was any and is int now"),
    (V1, record("V1", [("a", int), ("b", str)]), "kept by position and is by name"),
]


@pytest.mark.parametrize(("old", "new", "said"), UNREADABLE, ids=str)
def test_change_that_old_bytes_do_not_survive_is_said(old: object, new: object, said: str) -> None:
    """The sentence names the place; the restore adds the state and the remedy."""
    sentence = difference(schema_of(old), schema_of(new))
    assert sentence is not None
    assert re.search(said, sentence)


def test_readable_really_means_read() -> None:
    """The verdict and the codec agree."""
    old, new = codec_for(Order), codec_for(OrderV2)
    assert difference(old.schema, new.schema) is None
    assert new.decode(old.encode(Order("a", 2.0))) == OrderV2(2.0, "a", "EUR")
    assert codec_for(V2).decode(codec_for(V1).encode(V1(1, "x"))) == V2(1, "x", 0.0)
    assert codec_for(Order | Refund | Point).decode(codec_for(Order | Refund).encode(Order("a", 1.0))) == Order(
        "a", 1.0
    )
